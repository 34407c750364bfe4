"""Tuning NanoDet as the ONNX graph it came as, on a graph of its kind small enough for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.errors import WardposeError
from runtime.capture.photograph import read_photograph
from runtime.detect import PersonDetector, letterbox
from runtime.engines.engine import open_engine
from runtime.model_info import ModelInfo
from tests.tuning.drawn import draw_people
from tuning.coco_folder import read_people
from tuning.families.detection_samples import DetectionAugmentation, DetectionSamples, placed, quarter_turned
from tuning.families.family import ImportWish, TuneSettings
from tuning.families.graph_family import described
from tuning.families.nanodet import RECIPE, Nanodet
from tuning.store.card import ModelCard, read_card
from tuning.store.foreign import read_foreign
from tuning.store.save import save_graph

CLASSES, BINS = 3, 11
QUICK = TuneSettings(epochs=2, batch=4, threads=1, learning_rate=0.05, frozen_layers=1, width=96, height=64)
PLAIN = DetectionAugmentation(margin=0, flip=0, scale=(1, 1), quarter_turn=0, contrast=0, brightness=0, colour=0)


def small_nanodet(width: int = 96, height: int = 64) -> onnx.ModelProto:
    """Four convolutions of stride 2 and up, a head for each of three grids, NanoDet's six outputs."""
    rng = np.random.default_rng(0)
    nodes, weights, outputs = [], [], []

    def convolution(source: str, name: str, inputs: int, channels: int, stride: int) -> str:
        weight = rng.normal(0, (2 / (9 * inputs)) ** 0.5, (channels, inputs, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"{name}.weight"))
        weights.append(numpy_helper.from_array(np.zeros(channels, np.float32), f"{name}.bias"))
        nodes.append(
            helper.make_node(
                "Conv", [source, f"{name}.weight", f"{name}.bias"], [name], kernel_shape=[3, 3], strides=[stride] * 2,
                pads=[1, 1, 1, 1],
            )
        )  # fmt: skip
        nodes.append(helper.make_node("LeakyRelu", [name], [f"{name}.active"], alpha=0.1))
        return f"{name}.active"

    last, channels = "images", 3
    for level, stride in enumerate((2, 4, 8, 16, 32)):
        last = convolution(last, f"trunk{level}", channels, 8, 2)
        channels = 8
        if stride < 8:
            continue
        cells = (width // stride) * (height // stride)
        convolution(last, f"head{stride}", 8, CLASSES + 4 * BINS, 1)
        shape = numpy_helper.from_array(np.array([1, CLASSES + 4 * BINS, cells]), f"shape{stride}")
        split = numpy_helper.from_array(np.array([CLASSES, 4 * BINS]), f"split{stride}")
        weights += [shape, split]
        nodes.append(helper.make_node("Reshape", [f"head{stride}", f"shape{stride}"], [f"flat{stride}"]))
        nodes.append(
            helper.make_node(
                "Split", [f"flat{stride}", f"split{stride}"], [f"logits_{stride}", f"distances_{stride}"], axis=1
            )
        )
        nodes.append(helper.make_node("Sigmoid", [f"logits_{stride}"], [f"scores_{stride}"]))
        outputs.append((stride, cells))
    nodes = [node for node in nodes if not (node.op_type == "LeakyRelu" and node.input[0].startswith("head"))]
    values = [
        helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, [1, size, cells])
        for name, size in (("scores", CLASSES), ("distances", 4 * BINS))
        for stride, cells in outputs
    ]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, height, width])
    graph = helper.make_graph(nodes, "small", [image], values, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture(scope="module")
def nanodet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    info = ModelInfo(
        name="small", task="detect", layout="nanodet", width=96, height=64, mean=(103.53, 116.28, 123.675),
        std=(57.375, 57.12, 58.395), channels="bgr", classes=CLASSES, person_class=1,
    )  # fmt: skip
    card = ModelCard(
        name="small", task="detect", format="onnx", architecture="nanodet", layout="nanodet", width=96, height=64,
        classes=CLASSES, built_classes=CLASSES, person_class=1, weights="model.onnx", sha256="0" * 64, info=info,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "small"
    save_graph(folder, described(small_nanodet(), info), card)
    return folder


@pytest.fixture(scope="module")
def tuned(nanodet: Path, drawn_people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "tuned"
    Nanodet().tune(nanodet, drawn_people, out, QUICK, None)
    return out


def test_a_foreign_nanodet_is_recognised_by_its_six_outputs(tmp_path: Path) -> None:
    onnx.save(small_nanodet(), str(tmp_path / "foreign.onnx"))
    card = Nanodet().recognise(read_foreign(tmp_path / "foreign.onnx"), ImportWish("mine", person_class="0"), tmp_path)
    assert card is not None and card.info is not None
    assert (card.layout, card.width, card.height, card.classes) == ("nanodet", 96, 64, CLASSES)
    assert card.info.channels == "bgr" and card.info.mean == (103.53, 116.28, 123.675)


def weights(folder: Path) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    model = onnx.load(str(folder / "model.onnx"))
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_only_the_weights_after_the_frozen_convolutions_move(nanodet: Path, tuned: Path) -> None:
    before, after = weights(nanodet), weights(tuned)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert before.keys() == after.keys()
    assert {"trunk1.weight", "trunk4.weight", "head8.weight", "head8.bias"} <= changed
    assert not {"trunk0.weight", "trunk0.bias", "shape8", "split8"} & changed


def test_other_classes_than_people_are_left_as_they_were(nanodet: Path, tuned: Path) -> None:
    before, after = weights(nanodet)["head8.weight"], weights(tuned)["head8.weight"]
    np.testing.assert_array_equal(before[[0, 2]], after[[0, 2]])
    assert (before[1] != after[1]).any() and (before[CLASSES:] != after[CLASSES:]).any()


def test_the_tuned_model_runs_and_its_card_says_how_it_was_made(tuned: Path, drawn_people: Path) -> None:
    card = read_card(tuned)
    assert card.name == "tuned" and card.parent == "small" and card.format == "onnx"
    assert card.made["family"] == "nanodet" and card.made["samples"] == 24 and card.made["steps"] == 12
    assert card.made["recipe"]["learning_rate"] == 0.05 and card.made["recipe"]["frozen_convolutions"] == 1
    engine = open_engine(tuned / "model.onnx", prefer="onnxruntime-cpu", threads=1)
    assert engine.info.name == "tuned" and engine.info.layout == "nanodet"
    PersonDetector(engine).detect(read_photograph(drawn_people / "images/000000.jpg"))


def test_a_longer_training_finds_the_drawn_people(
    nanodet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime.detections import iou_matrix

    data = draw_people(tmp_path / "data", 8, seed=3)
    settings = QUICK.model_copy(update={"epochs": 60, "frozen_layers": 0, "learning_rate": 0.02})
    monkeypatch.setattr("tuning.families.nanodet.RECIPE", RECIPE.model_copy(update={"augmentation": PLAIN}))
    Nanodet().tune(nanodet, data, tmp_path / "out", settings, None)

    def overlap(folder: Path) -> float:
        detector = PersonDetector(
            open_engine(folder / "model.onnx", prefer="onnxruntime-cpu", threads=1), confidence=0.01
        )
        found = [
            iou_matrix(picture.boxes, detector.detect(read_photograph(picture.path)).xyxy[:1]).max(initial=0.0)
            for picture in read_people(data / "annotations.json")
        ]
        return float(np.mean(found))

    assert overlap(tmp_path / "out") > max(0.5, overlap(nanodet) + 0.2)


def test_the_same_seed_gives_the_same_weights(nanodet: Path, drawn_people: Path, tuned: Path, tmp_path: Path) -> None:
    assert Nanodet().tune(nanodet, drawn_people, tmp_path / "tuned", QUICK, None).sha256 == read_card(tuned).sha256


def test_alpha_zero_is_the_untuned_model(nanodet: Path, drawn_people: Path, tmp_path: Path) -> None:
    Nanodet().tune(nanodet, drawn_people, tmp_path / "a", QUICK.model_copy(update={"alpha": 0.0}), None)
    for name, value in weights(tmp_path / "a").items():
        np.testing.assert_array_equal(value, weights(nanodet)[name], err_msg=name)


def test_pictures_that_show_nobody_are_refused(nanodet: Path, tmp_path: Path) -> None:
    data = draw_people(tmp_path / "data", 2, people=0)
    with pytest.raises(WardposeError, match="shows nobody"):
        Nanodet().tune(nanodet, data, tmp_path / "out", QUICK, None)


def test_a_cancelled_tuning_leaves_no_model(nanodet: Path, drawn_people: Path, tmp_path: Path) -> None:
    def cancel(done: int, total: int, note: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Nanodet().tune(nanodet, drawn_people, tmp_path / "out" / "a", QUICK, cancel)
    assert not (tmp_path / "out" / "a").exists()


def test_a_loss_that_is_no_number_stops_the_tuning(nanodet: Path, drawn_people: Path, tmp_path: Path) -> None:
    model, card = onnx.load(str(nanodet / "model.onnx")), read_card(nanodet)
    spoilt = next(tensor for tensor in model.graph.initializer if tensor.name == "head8.bias")
    spoilt.CopyFrom(numpy_helper.from_array(np.full(CLASSES + 4 * BINS, np.nan, np.float32), spoilt.name))
    save_graph(tmp_path / "spoilt", model, card)
    with pytest.raises(WardposeError, match="not finite at step 1"):
        Nanodet().tune(tmp_path / "spoilt", drawn_people, tmp_path / "out", QUICK, None)
    assert not (tmp_path / "out" / "a").exists()


def test_unaugmented_samples_are_what_the_runtime_feeds(nanodet: Path, tmp_path: Path) -> None:
    info = read_card(nanodet).info
    assert info is not None
    data = draw_people(tmp_path / "data", 1, width=192, height=128)
    (picture,) = read_people(data / "annotations.json")
    batch = DetectionSamples([picture], info, seed=0, augmentation=None).batch(0, [0])
    expected, place = letterbox(read_photograph(picture.path), info)
    # Two implementations of the same interpolation round differently: by one level of 255 here and there.
    assert np.abs(batch["images"] - expected).max() < 1.5 / 57
    np.testing.assert_allclose(place.boxes_to_picture(batch["boxes"]), picture.boxes, atol=1e-3)


def test_boxes_are_widened_by_the_margin_and_cut_at_the_edges(nanodet: Path, tmp_path: Path) -> None:
    info = read_card(nanodet).info
    assert info is not None
    data = draw_people(tmp_path / "data", 1, width=192, height=128)
    (picture,) = read_people(data / "annotations.json")
    wide = DetectionSamples([picture], info, seed=0, augmentation=PLAIN.model_copy(update={"margin": 0.25}))
    (found,) = wide.sample(0, 0)[1]
    left, top, right, bottom = picture.boxes[0] / 2
    size = np.array([right - left, bottom - top])
    expected = np.array([[left, top] - 0.25 * size, [right, bottom] + 0.25 * size]).ravel()
    assert found == pytest.approx(np.clip(expected, 0, [96, 64, 96, 64]))


@pytest.mark.parametrize("turns", [1, -1])
@pytest.mark.parametrize("zoom", [0.5, 1.3])
def test_boxes_go_where_their_people_go(turns: int, zoom: float) -> None:
    info = ModelInfo(name="n", task="detect", layout="nanodet", width=96, height=64)
    picture, box = np.zeros((90, 120, 3), np.uint8), np.array([[30.0, 20, 70, 40]])
    picture[20:40, 30:70] = 255
    turned, boxes = quarter_turned(picture, box, turns)
    drawn, boxes = placed(np.ascontiguousarray(turned), boxes, info, zoom, np.array([0.5, 0.5]))
    rows, columns = np.nonzero(drawn[..., 0] > 127)
    assert boxes[0] == pytest.approx([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], abs=1.0)


def test_what_is_random_in_a_sample_depends_on_seed_epoch_and_index_alone(nanodet: Path, drawn_people: Path) -> None:
    info, pictures = read_card(nanodet).info, read_people(drawn_people / "annotations.json")
    assert info is not None
    samples = [
        DetectionSamples(pictures, info, seed=seed, augmentation=DetectionAugmentation(quarter_turn=0.5, colour=0.2))
        for seed in (0, 0, 1)
    ]
    samples[0].batch(0, [3, 1])
    first, again, other = (s.sample(0, 5)[0] for s in samples)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and (first != samples[0].sample(1, 5)[0]).any()
