"""Tuning MoveNet as the ONNX graph it came as, on a graph of its kind small enough for a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calibration.errors import WardposeError
from runtime.codecs import decode_movenet
from runtime.crop import Crops
from runtime.model_info import ModelInfo
from runtime.turn import trunk_turn
from tests.tuning.drawn import FIGURE, draw_people
from tuning.coco_folder import Picture, read_people
from tuning.families.family import ImportWish, TuneSettings
from tuning.families.graph_family import described
from tuning.families.movenet import Movenet
from tuning.families.movenet_training import MovenetRecipe, MovenetSamples, movenet_loss
from tuning.families.person_crops import PersonCrops, PoseAugmentation, affine, upright_turn_deg
from tuning.store.card import ModelCard, read_card
from tuning.store.foreign import read_foreign

SIDE, CELLS = 64, 16
STILL = {
    "flip": 0.0,
    "scale": 0.0,
    "shift": 0.0,
    "colour": 0.0,
    "hide": 0.0,
    "blur": 0.0,
    "rotate": 0.0,
    "any_angle": 0.0,
}
QUICK = TuneSettings(epochs=2, batch=16, threads=1, learning_rate=3e-3, frozen_layers=1)


def tune(folder: Path, data: Path, out: Path, settings: TuneSettings, task: str = "pose") -> ModelCard:
    return Movenet().tune(folder, data, out, settings, None)


def small_movenet() -> onnx.ModelProto:
    """Three convolutions down to a quarter of the side, and MoveNet's four heads."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []

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
        return name

    weights.append(numpy_helper.from_array(np.array(2 / 255, np.float32), "scale"))
    nodes.append(helper.make_node("Mul", ["images", "scale"], ["scaled"]))
    last, channels = "scaled", 3
    for level, stride in enumerate((2, 2, 1)):
        name = convolution(last, f"trunk{level}", channels, 24, stride)
        nodes.append(helper.make_node("Relu", [name], [f"{name}.active"]))
        last, channels = f"{name}.active", 24
    outputs = []
    for name, count in (("heatmap", 17), ("regression", 34), ("centre", 1), ("offset", 34)):
        convolution(last, name, channels, count, 1)
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", count, CELLS, CELLS]))
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "small", [images], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small graph as an imported model folder."""
    folder = tmp_path_factory.mktemp("models")
    onnx.save(small_movenet(), folder / "small.onnx")
    card = Movenet().recognise(read_foreign(folder / "small.onnx"), ImportWish("small"), folder)
    assert card is not None
    from tuning.store.save import save_graph

    save_graph(folder / "small", onnx.load(folder / "model.onnx"), card)
    return folder / "small"


@pytest.fixture(scope="module")
def many_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_people(tmp_path_factory.mktemp("many") / "data", 96, width=100, height=160)


def test_a_movenet_is_recognised_by_its_four_heads(model: Path, tmp_path: Path) -> None:
    card = read_card(model)
    assert card.layout == "movenet" and card.info is not None
    assert (card.info.width, card.info.std, card.info.turned_to_body) == (SIDE, (1.0, 1.0, 1.0), True)
    assert Movenet().knows(card)
    other = small_movenet()
    del other.graph.output[3:]
    onnx.save(other, tmp_path / "other.onnx")
    assert Movenet().recognise(read_foreign(tmp_path / "other.onnx"), ImportWish("o"), tmp_path) is None


# Crops


@settings(max_examples=40, deadline=None)
@given(
    turn=st.floats(-180, 180), x=st.floats(50, 400), y=st.floats(50, 300), w=st.floats(20, 300), h=st.floats(20, 300)
)
def test_a_turned_crop_is_the_runtimes(turn: float, x: float, y: float, w: float, h: float) -> None:
    """The same box at the same turn: training and runtime put a point of the picture at the same place."""
    box = np.array([[x, y, x + w, y + h]])
    crops = Crops.around(box, np.array([np.deg2rad(-turn)]), 1.25, 1.0)
    points = np.random.default_rng(0).uniform(0, 400, (1, 5, 2))
    expected = crops.from_picture(points, (SIDE, SIDE))[0]
    matrix = affine(np.array([x + w / 2, y + h / 2]), np.array([w, h]) * 1.25, turn, False, (SIDE, SIDE))
    np.testing.assert_allclose(points[0] @ matrix[:, :2].T + matrix[:, 2], expected, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(turned=st.floats(-3.1, 3.1))
def test_the_upright_turn_undoes_a_bodys_own(turned: float) -> None:
    rotation = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    keypoints = np.column_stack([FIGURE * (40, 100) @ rotation.T, np.full(17, 2)])
    found = upright_turn_deg(keypoints)
    assert found is not None
    back = np.deg2rad(found)
    undone = keypoints[:, :2] @ np.array([[np.cos(back), -np.sin(back)], [np.sin(back), np.cos(back)]]).T
    down = undone[[11, 12]].mean(0) - undone[[5, 6]].mean(0)
    assert down[1] > 0 and abs(down[0]) < 1e-6 * down[1]
    assert np.cos(trunk_turn(keypoints[:, :2]) + back) == pytest.approx(1)


def test_a_trunk_that_is_not_seen_gives_no_turn() -> None:
    keypoints = np.column_stack([FIGURE * (40, 100), np.full(17, 2.0)])
    hidden = keypoints.copy()
    hidden[11, 2] = 0
    short = keypoints.copy()
    short[[11, 12], 1] = short[[5, 6], 1] + 1
    assert upright_turn_deg(hidden) is None and upright_turn_deg(short) is None


def _turns(pictures: list[Picture], augmentation: PoseAugmentation) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    crops = PersonCrops(pictures, width=SIDE, height=SIDE, seed=0, augmentation=augmentation)
    found = [crops.crop(epoch, index) for epoch in range(4) for index in range(len(crops))]
    turns = np.array([np.rad2deg(trunk_turn(crop.keypoints[:, :2])) for crop in found])
    return turns, np.array([crop.right for crop in found])


def test_crops_turned_to_the_body_stand_within_the_spread_and_wrong_ones_far_off(drawn_people: Path) -> None:
    pictures = [_lying(picture) for picture in read_people(drawn_people / "annotations.json")]
    turns, right = _turns(pictures, PoseAugmentation(**(STILL | {"body": 1.0, "body_spread_deg": 30.0, "wrong": 0.4})))
    assert 0.2 < (~right).mean() < 0.6
    assert np.abs(turns[right]).max() <= 30.001 and np.abs(turns[right]).max() > 20
    assert np.abs(turns[~right]).min() >= 79.999
    assert (turns[~right] > 0).any() and (turns[~right] < 0).any()


def _lying(picture: Picture) -> Picture:
    """The same picture, its keypoints on their side and slimmer: only geometry is asked for here."""
    keypoints = picture.keypoints.copy()
    keypoints[..., :2] = keypoints[..., 1::-1] * (1, 0.2)
    return replace(picture, keypoints=keypoints)


# Losses


def _random_outputs(people: int, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    channels = {"heatmap": 17, "regression": 34, "centre": 1, "offset": 34}
    return {
        name: torch.from_numpy(rng.normal(-1, 1, (people, count, CELLS, CELLS)).astype(np.float32))
        for name, count in channels.items()
    }


def _random_batch(people: int, seed: int = 1) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return {
        "points": torch.from_numpy(rng.uniform(0.6, CELLS - 1.6, (people, 17, 2)).astype(np.float32)),
        "weight": torch.from_numpy((rng.random((people, 17)) < 0.7).astype(np.float32)),
        "right": torch.tensor([True] * (people - 1) + [False]),
    }


def test_the_loss_is_what_its_formulas_say() -> None:
    """Penalty-reduced focal loss and L1 terms, written out cell by cell (Law, Deng 2018; Zhou et al. 2019)."""
    outputs, batch = _random_outputs(3), _random_batch(3)
    recipe = MovenetRecipe(offset=0.5, regression=0.2, wrong=2.0, sigma=1.2)
    terms = movenet_loss(outputs, batch, recipe)
    maps = {name: value.numpy().astype(np.float64) for name, value in outputs.items()}
    points, weight = batch["points"].numpy().astype(np.float64), batch["weight"].numpy()
    heat, fine, guess, nothing, learnt = 0.0, 0.0, 0.0, 0.0, 0.0
    for person in range(3):
        far = [[1 / (np.hypot(y - CELLS / 2, x - CELLS / 2) + 1.8) for x in range(CELLS)] for y in range(CELLS)]
        likely = 1 / (1 + np.exp(-maps["centre"][person, 0])) * np.array(far)
        cy, cx = np.unravel_index(likely.argmax(), likely.shape)
        for joint in range(17):
            p = 1 / (1 + np.exp(-maps["heatmap"][person, joint]))
            if person == 2:
                nothing += -(p**2 * np.log(1 - p)).sum() / 17
                continue
            if not weight[person, joint]:
                continue
            learnt += 1
            px, py = points[person, joint]
            ix, iy = int(px), int(py)
            for y in range(CELLS):
                for x in range(CELLS):
                    if (x, y) == (ix, iy):
                        heat += -((1 - p[y, x]) ** 2) * np.log(p[y, x])
                    else:
                        target = np.exp(-((x - ix) ** 2 + (y - iy) ** 2) / (2 * 1.2**2))
                        heat += -((1 - target) ** 4) * p[y, x] ** 2 * np.log(1 - p[y, x])
            near = [(x, y) for y in range(iy - 1, iy + 2) for x in range(ix - 1, ix + 2) if min(x, y) >= 0]
            for x, y in near:
                offset = maps["offset"][person, 2 * joint : 2 * joint + 2, y, x]
                fine += (abs(offset[0] - (py - y)) + abs(offset[1] - (px - x))) / len(near)
            start = maps["regression"][person, 2 * joint : 2 * joint + 2, cy, cx]
            guess += abs(start[0] - (py - cy)) + abs(start[1] - (px - cx))
    expected = {"heatmap": heat / learnt, "offset": 0.5 * fine / learnt, "regression": 0.2 * guess / learnt,
                "wrong turn": 2.0 * nothing}  # fmt: skip
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(value, rel=1e-4), name


def test_a_keypoint_that_is_not_learnt_moves_nothing() -> None:
    outputs, batch = _random_outputs(2), _random_batch(2)
    batch["right"] = torch.ones(2, dtype=torch.bool)
    batch["weight"][:, 3] = 0
    for value in outputs.values():
        value.requires_grad_()
    sum(movenet_loss(outputs, batch, MovenetRecipe()).values()).backward()  # type: ignore[union-attr]
    for name in ("heatmap", "offset", "regression"):
        gradient = outputs[name].grad
        assert gradient is not None
        per_joint = gradient.reshape(2, 17, -1).abs().sum(-1)
        assert (per_joint[:, 3] == 0).all() and (per_joint[batch["weight"] > 0] > 0).all()


def test_what_the_loss_wants_decodes_to_the_truth() -> None:
    """Maps descended to by the loss alone, read by the runtime's own decoder, give the keypoints back."""
    torch.manual_seed(0)
    outputs = {name: (value * 0.1 - 2).requires_grad_() for name, value in _random_outputs(2).items()}
    outputs = {name: value.detach().requires_grad_() for name, value in outputs.items()}
    batch = _random_batch(2)
    batch["weight"][:], batch["right"] = 1.0, torch.ones(2, dtype=torch.bool)
    optimizer = torch.optim.Adam(list(outputs.values()), lr=0.3)
    for _ in range(300):
        optimizer.zero_grad()
        torch.stack(list(movenet_loss(outputs, batch, MovenetRecipe()).values())).sum().backward()
        optimizer.step()
    decoded, score = decode_movenet(*(outputs[n].detach().numpy() for n in outputs), (SIDE, SIDE))
    np.testing.assert_allclose(decoded, batch["points"].numpy() * SIDE / CELLS, atol=0.8)
    assert score.min() > 0.8


def test_a_samples_points_are_the_pictures_keypoints(drawn_people: Path) -> None:
    pictures = read_people(drawn_people / "annotations.json")
    samples = MovenetSamples(pictures, width=SIDE, height=SIDE, seed=0, cells=CELLS, recipe=MovenetRecipe())
    batch = samples.batch(0, [0, 5])
    assert batch["images"].shape == (2, 3, SIDE, SIDE) and batch["images"].max() > 1
    crop = samples.crop(0, 5)
    np.testing.assert_allclose(batch["points"][1] * SIDE / CELLS, crop.keypoints[:, :2], atol=1e-4)
    np.testing.assert_array_equal(batch["images"][1], crop.color.transpose(2, 0, 1))


def test_hidden_keypoints_count_as_the_recipe_says(drawn_people: Path) -> None:
    pictures = read_people(drawn_people / "annotations.json")
    for picture in pictures:
        picture.keypoints[:, 9, 2] = 1
    still = PoseAugmentation(**STILL)
    for hidden in (0.0, 0.3):
        recipe = MovenetRecipe(hidden=hidden, augmentation=still)
        batch = MovenetSamples(pictures, width=SIDE, height=SIDE, seed=0, cells=CELLS, recipe=recipe).batch(0, [0])
        assert batch["weight"][0, 9] == pytest.approx(hidden) and batch["weight"][0, 0] == 1


# Tuning


def test_tuning_gives_the_same_graph_with_new_numbers(model: Path, many_people: Path, tmp_path: Path) -> None:
    card = tune(model, many_people, tmp_path / "tuned", QUICK, task="pose")
    before, after = (onnx.load(folder / "model.onnx") for folder in (model, tmp_path / "tuned"))
    assert [n.op_type for n in before.graph.node] == [n.op_type for n in after.graph.node]
    old, new = ({t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (before, after))
    changed = {name for name in old if not np.array_equal(old[name], new[name])}
    assert "heatmap.weight" in changed and not any(name.startswith("trunk0") for name in changed)
    assert card.parent == "small" and card.made["recipe"]["sigma"] == MovenetRecipe().sigma


def test_a_tuned_models_confidence_is_fitted_on_pictures_held_out(
    model: Path, many_people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.families.movenet._HELD_OUT", 0.6)  # so small a model is seldom right
    card = tune(model, many_people, tmp_path / "tuned", QUICK.model_copy(update={"epochs": 30}))
    report = card.made["confidence"]
    assert card.made["samples"] == 38 and report["joints"] > 1500
    assert card.info is not None and len(card.info.confidence) >= 2
    assert report["error_after"] < min(0.05, report["error_before"])


def test_a_set_too_small_for_a_confidence_keeps_what_was_known(model: Path, tmp_path: Path) -> None:
    card = tune(model, draw_people(tmp_path / "data", 16, width=100, height=160), tmp_path / "tuned", QUICK)
    assert "too few" in card.made["confidence"]["kept"]
    assert card.info is not None and card.info.confidence == ()


def test_training_lowers_the_loss(model: Path, many_people: Path, tmp_path: Path) -> None:
    few, many = (
        tune(model, many_people, tmp_path / f"e{epochs}", QUICK.model_copy(update={"epochs": epochs})).made["loss"]
        for epochs in (1, 6)
    )
    assert many < few


def test_tuning_repeats_bit_for_bit(model: Path, many_people: Path, tmp_path: Path) -> None:
    first, second = (tune(model, many_people, tmp_path / name, QUICK).sha256 for name in ("a", "b"))
    names = [numpy_helper.to_array(t) for t in onnx.load(tmp_path / "a" / "model.onnx").graph.initializer]
    again = [numpy_helper.to_array(t) for t in onnx.load(tmp_path / "b" / "model.onnx").graph.initializer]
    assert first != second  # each carries its own name
    for one, other in zip(names, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_training_that_diverges_leaves_nothing(model: Path, many_people: Path, tmp_path: Path) -> None:
    broken = onnx.load(model / "model.onnx")
    for tensor in broken.graph.initializer:
        if tensor.name == "heatmap.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.full(17, np.nan, np.float32), tensor.name))
    from tuning.store.save import save_graph

    info = read_card(model).info
    assert isinstance(info, ModelInfo)
    save_graph(tmp_path / "broken", described(broken, info), read_card(model))
    with pytest.raises(WardposeError, match="loss is not finite at step 1, epoch 1: heatmap"):
        tune(tmp_path / "broken", many_people, tmp_path / "tuned", QUICK)
    assert not (tmp_path / "tuned").exists()


def test_people_without_keypoints_are_nothing_to_learn_from(model: Path, tmp_path: Path) -> None:
    import json

    folder = draw_people(tmp_path / "data", 12)
    content = json.loads((folder / "annotations.json").read_text())
    for annotation in content["annotations"]:
        annotation["keypoints"] = [0] * 51
    (folder / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(WardposeError, match="no person has keypoints"):
        tune(model, folder, tmp_path / "tuned", QUICK)
