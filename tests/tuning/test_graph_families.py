"""Detectors that came as ONNX, told apart by what they answer, and tuned as the graphs they are."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import linear_sum_assignment

from calibration.errors import WardposeError
from runtime.capture.photograph import read_photograph
from runtime.detect import PersonDetector
from runtime.detections import iou_matrix
from runtime.detector_layouts import decode_boxes
from runtime.engines.onnx_engine import OnnxEngine
from runtime.model_info import ModelInfo
from tests.tuning.drawn_graphs import BINS, YoloLike, Yolov6Like, YoloxLike, draw_graph
from tuning.coco_folder import read_people
from tuning.families.detection_losses import cell_grid, iou
from tuning.families.detection_samples import DetectionAugmentation, DetectionSamples
from tuning.families.family import ImportWish, TuneSettings
from tuning.families.graph_detector import DetectorRecipe
from tuning.families.graph_detector_training import box_distributions, sides_of, train_detector_graph, yolo_loss
from tuning.families.graph_family import GraphFamily, described
from tuning.families.onnx_graph import OnnxGraph, load_graph
from tuning.families.yolo_onnx import YoloOnnx
from tuning.families.yolov6 import Yolov6
from tuning.families.yolox import Yolox
from tuning.families.yolox_training import assign_simota, offset_boxes, yolov6_loss, yolox_loss
from tuning.store.card import ModelCard, read_card, sha256_of, write_card
from tuning.store.foreign import read_foreign

CLASSES, PERSON = 3, 0
FAMILIES: dict[str, tuple[Any, GraphFamily, str]] = {
    "yolox": (YoloxLike, Yolox(), "yolox"),
    "yolox in pixels": (partial(YoloxLike, pixels=True), Yolov6(), "yolov6"),
    "yolov6": (Yolov6Like, Yolov6(), "yolov6"),
    "yolov6 with distributions": (partial(Yolov6Like, bins=BINS), Yolov6(), "yolov6"),
    "yolo": (YoloLike, YoloOnnx(), "yolo"),
}
ALL = tuple(family() for family in (Yolox, Yolov6, YoloOnnx))
QUICK = TuneSettings(width=96, height=64, batch=8, threads=1, learning_rate=2e-3, frozen_layers=2, epochs=2)


def taken_in(form: str, folder: Path) -> Path:
    """The folder of a model of this form, as an import leaves it."""
    module, family, _ = FAMILIES[form]
    folder.mkdir(parents=True)
    foreign = read_foreign(draw_graph(folder / "foreign.onnx", module(CLASSES)))
    card = family.recognise(foreign, ImportWish("drawn"), folder)
    assert card is not None
    write_card(folder, card.model_copy(update={"sha256": sha256_of(folder / card.weights)}))
    return folder


@pytest.mark.parametrize("form", FAMILIES)
def test_a_family_takes_its_own_detectors_and_no_others(form: str, tmp_path: Path) -> None:
    module, family, layout = FAMILIES[form]
    foreign = read_foreign(draw_graph(tmp_path / "foreign.onnx", module(CLASSES)))
    taken = {
        known.name: fields
        for known in ALL
        if (fields := known.fields(foreign, ImportWish("any"))) is not None and fields["layout"] in known.layouts
    }
    assert list(taken) == [family.name]
    assert taken[family.name]["layout"] == layout and taken[family.name]["classes"] == CLASSES


def _loss(form: str, graph: OnnxGraph, info: ModelInfo) -> Any:
    recipe = DetectorRecipe()
    if form == "yolox":
        return partial(yolox_loss, info=info, recipe=recipe)
    distributions = box_distributions(graph)
    graph.watched = tuple(name for name, _ in distributions)
    return partial(yolo_loss if form == "yolo" else yolov6_loss, info=info, recipe=recipe, distributions=distributions)


def _opened(form: str, folder: Path) -> tuple[OnnxGraph, ModelInfo]:
    card = read_card(taken_in(form, folder))
    assert card.info is not None
    return OnnxGraph(load_graph(folder / card.weights)), card.info


@pytest.mark.parametrize("form", FAMILIES)
def test_training_lowers_the_loss_and_leaves_frozen_layers_and_other_classes_alone(
    form: str, drawn_people: Path, tmp_path: Path
) -> None:
    graph, info = _opened(form, tmp_path / "m")
    loss, before = _loss(form, graph, info), graph.state()
    pictures = read_people(drawn_people / "annotations.json")
    samples = DetectionSamples(pictures, info, seed=0, augmentation=None)
    batch = {key: torch.as_tensor(value) for key, value in samples.batch(0, list(range(8))).items()}

    def total() -> float:
        with torch.no_grad():
            return float(sum(loss(graph, batch).values()))

    first = total()
    recipe = DetectorRecipe(epochs=10, batch=8, learning_rate=5e-3, frozen_convolutions=2, warmup_steps=0)
    train_detector_graph(graph, info, pictures, TuneSettings(threads=1), recipe, loss)
    assert total() < 0.8 * first
    after = graph.state()
    for weight in graph.convolutions[:2]:
        np.testing.assert_array_equal(after[weight], before[weight])
    kinds = [name for name in before if name.startswith("kind.")]
    assert len(kinds) >= 4  # the exporter lets equal biases share one tensor
    for name in kinds:
        np.testing.assert_array_equal(after[name][1:], before[name][1:])
        assert not np.array_equal(after[name][0], before[name][0])


@pytest.mark.parametrize("form", FAMILIES)
def test_what_is_learnt_is_what_the_runtime_sees(form: str, drawn_people: Path, tmp_path: Path) -> None:
    """Trained on a handful of drawn figures, the file that comes out finds them better than the one that went in."""
    graph, info = _opened(form, tmp_path / "m")
    pictures = read_people(drawn_people / "annotations.json")[:4]
    plain = DetectionAugmentation(flip=0, scale=(1, 1), contrast=0, brightness=0)
    recipe = DetectorRecipe(epochs=60, batch=4, learning_rate=3e-3, frozen_share=0.0, augmentation=plain)

    def overlap() -> float:
        """Of the best box with its figure, on average."""
        onnx.save(described(graph.written(), info), str(tmp_path / "now.onnx"))
        detector = PersonDetector(OnnxEngine(tmp_path / "now.onnx", threads=1), confidence=1e-4, nms_iou=0.5)
        overlaps = []
        for picture in pictures:
            best = detector.detect(read_photograph(picture.path)).xyxy[:1]
            overlaps.append(float(iou_matrix(best, picture.boxes).max(initial=0)))
        return float(np.mean(overlaps))

    before = overlap()
    train_detector_graph(graph, info, pictures, TuneSettings(threads=1), recipe, _loss(form, graph, info))
    assert overlap() > before + 0.1


@pytest.mark.parametrize("form", ["yolox", "yolo"])
def test_tuning_writes_a_model_that_runs(form: str, drawn_people: Path, tmp_path: Path) -> None:
    folder, family = taken_in(form, tmp_path / "m"), FAMILIES[form][1]
    card = family.tune(folder, drawn_people, tmp_path / "tuned", QUICK, None)
    assert card.parent == "drawn" and (card.width, card.height) == (96, 64)
    again = family.tune(folder, drawn_people, tmp_path / "again" / "tuned", QUICK, None)
    assert again.sha256 == card.sha256
    info = OnnxEngine(tmp_path / "tuned" / card.weights, threads=1).info
    assert (info.layout, info.classes, info.name) == (form, CLASSES, "tuned")


def test_tuning_at_another_size_gives_a_model_of_that_size(drawn_people: Path, tmp_path: Path) -> None:
    wide = QUICK.model_copy(update={"width": 128, "height": 96})
    card = YoloOnnx().tune(taken_in("yolo", tmp_path / "m"), drawn_people, tmp_path / "tuned", wide, None)
    assert (card.width, card.height) == (128, 96)
    assert OnnxEngine(tmp_path / "tuned" / card.weights, threads=1).info.width == 128


def test_a_cancelled_tuning_leaves_no_model(drawn_people: Path, tmp_path: Path) -> None:
    def cancel(done: int, total: int, note: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Yolox().tune(taken_in("yolox", tmp_path / "m"), drawn_people, tmp_path / "out" / "a", QUICK, cancel)
    assert not (tmp_path / "out" / "a").exists()


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stop_at=st.integers(1, 6))
def test_an_interrupted_tuning_goes_on_to_the_same_weights(drawn_people: Path, tmp_path: Path, stop_at: int) -> None:
    place = tmp_path / f"{stop_at}-{len(list(tmp_path.iterdir()))}"
    folder, family = taken_in("yolox", place / "m"), Yolox()
    asked = QUICK.model_copy(update={"epochs": 2, "batch": 8})
    whole = family.tune(folder, drawn_people, place / "whole" / "tuned", asked, None)
    seen: list[int] = []

    def progress(done: int, total: int, note: str) -> None:
        seen.append(done)
        if len(seen) == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        family.tune(folder, drawn_people, place / "tuned", asked, progress)
    assert not (place / "tuned").exists()
    resumed = family.tune(folder, drawn_people, place / "tuned", asked, progress)
    assert resumed.sha256 == whole.sha256 and resumed.made["loss"] == pytest.approx(whole.made["loss"])
    assert seen == list(range(1, 7))
    assert [path.name for path in place.iterdir() if path.name.startswith(".")] == []


def test_another_tuning_of_that_name_begins_anew(drawn_people: Path, tmp_path: Path) -> None:
    folder, family, first = taken_in("yolox", tmp_path / "m"), Yolox(), []
    asked = QUICK.model_copy(update={"batch": 8})

    def cancel(done: int, total: int, note: str) -> None:
        first.append(done)
        if len(first) == 2:
            raise KeyboardInterrupt

    for other in (asked, asked.model_copy(update={"seed": 7})):
        first.clear()
        with pytest.raises(KeyboardInterrupt):
            family.tune(folder, drawn_people, tmp_path / "tuned", other, cancel)
        assert first == [1, 2]
        assert len(list((tmp_path / ".tuned.training").iterdir())) == 1


def test_a_training_of_a_graph_goes_on_from_its_checkpoint(drawn_people: Path, tmp_path: Path) -> None:
    pictures = read_people(drawn_people / "annotations.json")
    recipe = DetectorRecipe(epochs=2, batch=8, learning_rate=1e-3)

    def train(folder: str, stop_at: int | None) -> Any:
        def progress(done: int, total: int, note: str) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        graph, info = _opened("yolox", tmp_path / f"{folder}{stop_at}")
        loss, settings = _loss("yolox", graph, info), TuneSettings(threads=1)
        checkpoint = tmp_path / f"{folder}.safetensors"
        train_detector_graph(graph, info, pictures, settings, recipe, loss, checkpoint, progress)
        return graph.state()

    whole = train("whole", None)
    with pytest.raises(KeyboardInterrupt):
        train("part", 4)
    resumed = train("part", None)
    for name, value in whole.items():
        np.testing.assert_allclose(resumed[name], value, atol=1e-6, err_msg=name)


def test_a_loss_that_is_no_number_stops_the_tuning(drawn_people: Path, tmp_path: Path) -> None:
    graph, info = _opened("yolox", tmp_path / "m")
    broken = {name: np.full_like(value, np.nan) for name, value in graph.state().items()}
    graph.load_state(broken)
    loss, pictures = _loss("yolox", graph, info), read_people(drawn_people / "annotations.json")
    with pytest.raises(WardposeError, match="the loss is not finite at step 1, epoch 1: box"):
        train_detector_graph(graph, info, pictures, QUICK, DetectorRecipe(batch=8), loss)


def test_boxes_are_decoded_as_the_runtime_does(tmp_path: Path) -> None:
    graph, info = _opened("yolox", tmp_path / "m")
    with torch.no_grad():
        raw = graph(torch.rand(1, 3, 64, 96) * 255)[graph.outputs[0]]
    expected, _ = decode_boxes([raw.numpy()], info)
    actual = offset_boxes(raw[..., :4], cell_grid(96, 64))[0].numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("form", ["yolo", "yolov6 with distributions"])
def test_the_distributions_behind_the_boxes_are_found(form: str, tmp_path: Path) -> None:
    graph, info = _opened(form, tmp_path / "m")
    found = box_distributions(graph)
    graph.watched = tuple(name for name, _ in found)
    with torch.no_grad():
        answer = graph(torch.rand(2, 3, 64, 96))
    sides = sides_of(answer, found)
    assert sides is not None
    grid = cell_grid(96, 64)
    assert sides.shape == (2, len(grid.centre), 4, BINS)
    distance = (sides.softmax(-1) * torch.arange(BINS)).sum(-1)[1] * grid.stride
    expected = torch.cat([grid.centre - distance[:, :2], grid.centre + distance[:, 2:]], 1)
    boxes, _ = decode_boxes([answer[graph.outputs[0]][1:].numpy()], info)
    np.testing.assert_allclose(expected.numpy(), boxes, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**31))
def test_simota_gives_every_person_cells_and_no_cell_two_people(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = cell_grid(96, 64)
    corner = rng.uniform(0, (60, 30), (count, 2))
    people = torch.tensor(np.hstack([corner, corner + rng.uniform(12, 34, (count, 2))]), dtype=torch.float32)
    jitter = torch.tensor(rng.normal(0, 6, (len(grid.centre), 4)), dtype=torch.float32)
    boxes = torch.cat([grid.centre - 14, grid.centre + 14], 1) + jitter
    score = torch.tensor(rng.uniform(0.05, 0.95, len(boxes)), dtype=torch.float32)
    given_ = assign_simota(score, boxes, people, grid)
    answering = given_.person >= 0
    assert given_.person.max() < count
    overlap = iou(boxes[answering], people[given_.person[answering]])
    torch.testing.assert_close(given_.quality[answering], overlap)
    assert not given_.quality[~answering].any()
    # As many cells as the ten best overlaps sum up to, at least one, unless another person took them.
    all_overlaps = iou(boxes[None], people[:, None])
    for person in range(count):
        most = max(int(all_overlaps[person].topk(10).values.sum()), 1)
        assert int((given_.person == person).sum()) <= most + count


def test_simota_prefers_the_cell_that_scores_and_fits() -> None:
    grid = cell_grid(96, 64)
    people = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    boxes = torch.cat([grid.centre - 4, grid.centre + 4], 1)
    best = int(((grid.centre - 24).abs().sum(1) + grid.stride[:, 0]).argmin())
    boxes[best] = people[0]
    score = torch.full((len(boxes),), 0.1)
    score[best] = 0.9
    given_ = assign_simota(score, boxes, people, grid)
    assert (given_.person >= 0).nonzero().flatten().tolist() == [best]
    # The optimal transport it approximates, for one person and one cell, is the cheapest cell.
    cost = -score.log() - 3 * (iou(boxes, people) + 1e-8).log()
    _, cell = linear_sum_assignment(cost[None].numpy())
    assert cell[0] == best


def test_a_picture_of_nobody_teaches_that_nobody_is_there() -> None:
    given_ = assign_simota(torch.rand(126), torch.rand(126, 4), torch.zeros(0, 4), cell_grid(96, 64))
    assert (given_.person == -1).all() and not given_.quality.any()


def test_a_detector_that_chooses_its_boxes_inside_says_why_it_cannot_be_tuned(
    drawn_people: Path, tmp_path: Path
) -> None:
    model = onnx.load(str(draw_graph(tmp_path / "m.onnx", YoloLike(1))))
    graph = model.graph
    graph.node.extend([
        helper.make_node("Transpose", ["output"], ["rows"], perm=[0, 2, 1]),
        helper.make_node("Slice", ["rows", "four", "five", "two"], ["score"]),
        helper.make_node("TopK", ["score", "k"], ["value", "place"], axis=1),
        helper.make_node("Squeeze", ["place", "both"], ["which"]),
        helper.make_node("Gather", ["rows", "which"], ["best"], axis=1),
        helper.make_node("Split", ["best", "parts"], ["first", "size", "sure"], axis=2),
        helper.make_node("Add", ["first", "size"], ["last"]),
        helper.make_node("Concat", ["first", "last", "sure", "class"], ["chosen"], axis=2),
    ])  # fmt: skip
    arrays = {"four": [4], "five": [5], "two": [2], "k": [10], "both": [0, 2], "parts": [2, 2, 1]}
    graph.initializer.append(numpy_helper.from_array(np.zeros((1, 10, 1), np.float32), "class"))
    graph.initializer.extend([numpy_helper.from_array(np.array(v, np.int64), k) for k, v in arrays.items()])
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("chosen", TensorProto.FLOAT, [1, 10, 6]))
    onnx.save(model, str(tmp_path / "end.onnx"))
    folder = tmp_path / "end"
    folder.mkdir()
    family = YoloOnnx()
    card = family.recognise(read_foreign(tmp_path / "end.onnx"), ImportWish("end"), folder)
    assert card is not None and card.layout == "yolo-end2end"
    write_card(folder, card.model_copy(update={"sha256": sha256_of(folder / card.weights)}))
    PersonDetector(OnnxEngine(folder / card.weights, threads=1)).detect(np.zeros((64, 96, 3), np.uint8))
    with pytest.raises(WardposeError, match=r"chooses its boxes inside \(TopK\)"):
        family.tune(folder, drawn_people, tmp_path / "tuned", QUICK, None)
    assert not (tmp_path / "tuned").exists()


def test_data_without_people_are_refused(drawn_people: Path, tmp_path: Path) -> None:
    import json

    data = shutil.copytree(drawn_people, tmp_path / "data")
    content = json.loads((data / "annotations.json").read_text())
    (data / "annotations.json").write_text(json.dumps({**content, "annotations": []}))
    with pytest.raises(WardposeError, match="shows nobody"):
        Yolox().tune(taken_in("yolox", tmp_path / "m"), data, tmp_path / "tuned", QUICK, None)


def test_a_real_yolox_is_told_and_learns_from_a_few_pictures(
    shared_data: Path, drawn_people: Path, tmp_path: Path
) -> None:
    foreign = read_foreign(shared_data / "weights/yolox_nano.onnx")
    fields = Yolox().fields(foreign, ImportWish("any"))
    assert fields is not None and (fields["layout"], fields["classes"], fields["person_class"]) == ("yolox", 80, 0)
    folder = tmp_path / "m"
    folder.mkdir()
    card = Yolox().recognise(foreign, ImportWish("nano", width=160, height=128), folder)
    assert isinstance(card, ModelCard) and card.info is not None
    graph, loss = (
        OnnxGraph(load_graph(folder / card.weights)),
        partial(yolox_loss, info=card.info, recipe=DetectorRecipe()),
    )
    samples = DetectionSamples(read_people(drawn_people / "annotations.json"), card.info, seed=0, augmentation=None)
    batch = {key: torch.as_tensor(value) for key, value in samples.batch(0, [0, 1, 2, 3]).items()}
    optimiser = torch.optim.AdamW(graph.parameters(), 1e-4, weight_decay=0.0)
    totals = []
    for _ in range(6):
        total = torch.stack(list(loss(graph, batch).values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
    assert totals[-1] < totals[0]
