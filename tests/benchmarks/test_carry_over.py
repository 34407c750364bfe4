"""The carry-over benchmark sorts real people into columns, and tells before from after."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibration.errors import WardposeError
from runtime.detections import Detections
from synth.pose.bank import PoseBank
from synth.sample import make_sample
from synth.scenario import Scenario, load_scenario
from tests.tuning.drawn import draw_people
from tuning.store.card import ModelCard, read_card, verify_weights
from tuning.store.save import save_graph
from tuning.store.weights import read_weights
from tuning.study.ablations import ABLATIONS, PERFECT_SENSOR, PHYSICS, without
from tuning.study.carry_over import run
from tuning.study.gains import Score, gained
from tuning.study.mixed import mix
from tuning.study.real_people import read_columns, score


def with_postures(folder: Path, postures: list[str]) -> Path:
    """Drawn pictures whose people are as high as wide where they lie, and called by these postures in turn."""
    path = draw_people(folder, len(postures)) / "annotations.json"
    content = json.loads(path.read_text())
    for annotation, posture in zip(content["annotations"], postures, strict=True):
        annotation["posture"] = posture
        if posture == "fall":
            x, y, _, height = annotation["bbox"]
            annotation["bbox"] = [x, y, height + 1, height]
    path.write_text(json.dumps(content))
    return path


def test_people_are_sorted_by_posture_and_the_rest_ignored(tmp_path: Path) -> None:
    path = with_postures(tmp_path / "set", ["fall", "walking", "sitting", "fall"])
    columns = {column.name: column.pictures for column in read_columns({"ward": (path, None)})}
    assert {name: len(pictures) for name, pictures in columns.items()} == {
        "ward: lying, wide boxes": 2,
        "ward: lying": 2,
        "ward: others": 2,
    }
    assert [picture.id for picture in columns["ward: others"]] == [2, 3]


def test_a_part_that_nobody_is_of_is_no_column(tmp_path: Path) -> None:
    path = with_postures(tmp_path / "set", ["fall"])
    assert [column.name for column in read_columns({"ward": (path, None)})] == [
        "ward: lying, wide boxes",
        "ward: lying",
    ]


def test_a_cat_among_the_annotations_puts_nobody_elses_posture_on_a_person(tmp_path: Path) -> None:
    path = with_postures(tmp_path / "set", ["fall", "walking"])
    content = json.loads(path.read_text())
    content["categories"].append({"id": 17, "name": "cat"})
    content["annotations"].insert(
        1, {"id": 9, "image_id": 2, "category_id": 17, "bbox": [0, 0, 9, 9], "posture": "lying"}
    )
    path.write_text(json.dumps(content))
    columns = {column.name: [p.id for p in column.pictures] for column in read_columns({"ward": (path, None)})}
    assert columns == {"ward: lying, wide boxes": [1], "ward: lying": [1], "ward: others": [2]}


def test_a_held_out_part_is_a_column_of_its_own(tmp_path: Path) -> None:
    path = draw_people(tmp_path / "set", 3) / "annotations.json"
    content = json.loads(path.read_text())
    for image, split in zip(content["images"], ("train2017", "val2017", "train2017"), strict=True):
        image["split"] = split
    path.write_text(json.dumps(content))
    columns = {column.name: [p.id for p in column.pictures] for column in read_columns({"photos": (path, None)})}
    assert columns == {"photos": [1, 2, 3], "photos: val2017": [2]}


def test_a_detector_that_knows_the_truth_scores_full_marks(tmp_path: Path) -> None:
    columns = read_columns({"ward": (with_postures(tmp_path / "set", ["fall", "walking"]), None)})
    truth = iter([picture.boxes for column in columns[1:] for picture in column.pictures])

    class Knowing:
        def detect(self, color: np.ndarray) -> Detections:
            return Detections(next(truth).astype(np.float32), np.ones(1, np.float32))

    figures = score(Knowing(), columns)
    for found in figures.values():
        assert (found.AP, found.person_score) == pytest.approx((1, 1), abs=1e-3)


@pytest.mark.parametrize("ingredient", ABLATIONS)
def test_every_ingredient_can_be_left_out(tmp_path: Path, ingredient: str) -> None:
    whole = load_scenario("base").model_copy(update={"backgrounds": str(tmp_path)})
    less = without(ingredient, whole, tmp_path)
    assert less is not None and Scenario.model_validate(less.model_dump()) == less != whole


def test_what_a_scenario_lacks_is_not_left_out(tmp_path: Path) -> None:
    assert without("without photo backgrounds", load_scenario("base"), tmp_path) is None


def test_unsettled_poses_are_a_bank_like_any_other(tmp_path: Path) -> None:
    less = without(PHYSICS, Scenario(name="ward", raised_share=0.0), tmp_path)
    assert less is not None and less.pose_bank is not None
    loose, settled = PoseBank(Path(less.pose_bank)), PoseBank()
    assert set(loose.posture) == set(settled.posture)
    assert not np.allclose(loose.joints[:5], settled.joints[:5], atol=0.1)


def test_shadows_can_be_switched_off() -> None:
    bright = {"width": 96, "height": 64, "light_presets": {"daylight": 1.0}, "sensor": PERFECT_SENSOR}
    lit, flat = (
        make_sample(Scenario(name="light", shadows=s, **bright), 3, 0).color.astype(int) for s in (True, False)
    )
    assert (flat - lit).max() > 20 and np.quantile(flat - lit, 0.1) >= -2, (
        "brighter where shadows lay, and nowhere darker"
    )


def test_one_epoch_is_scored_before_and_after(tmp_path: Path, random_detector: Path) -> None:
    data = draw_people(tmp_path / "data", 4)
    sets = {"drawn": (draw_people(tmp_path / "held out", 4, seed=1) / "annotations.json", None)}
    result = run(model=random_detector, sets=sets, data=data, alphas=[0.0], size=96, threads=1)
    assert result["before"]["drawn"]["people"] == 4
    assert result["tuned"]["everything"]["drawn"].keys() >= {"AP50", "person_score", "person_score_gained", "p"}
    assert result["tuned"]["everything"]["drawn"]["spread"] == 0
    untouched = result["tuned"]["everything, alpha 0.0"]["drawn"]
    assert untouched["AP50"] == result["before"]["drawn"]["AP50"] and untouched["p"] == 1


def scored(people: list[float], ap50: float) -> Score:
    return Score({"AP50": ap50, "person_score": float(np.mean(people))}, dict(enumerate(people)), "person_score")


def test_runs_in_several_orders_count_by_each_persons_mean() -> None:
    before = [scored([0.0, 0.0, 0.8, 0.0], 0.5)]
    after = [scored([0.9, 0.0, 0.8, 0.8], 0.7), scored([0.9, 0.8, 0.0, 0.0], 0.6)]
    found = gained(before, after)
    assert found["person_score"] == pytest.approx(0.525)
    assert found["person_score_gained"] == pytest.approx(0.325)
    assert found["AP50_gained"] == pytest.approx(0.15)
    assert found["spread"] == pytest.approx(0.2 / 2**0.5, abs=1e-4)


def test_another_order_is_another_training(tmp_path: Path, random_detector: Path) -> None:
    data = draw_people(tmp_path / "data", 4)
    sets = {"drawn": (draw_people(tmp_path / "held out", 4, seed=1) / "annotations.json", None)}
    work = tmp_path / "work"
    run(model=random_detector, sets=sets, data=data, orders=2, size=96, threads=1, work=work)
    first, second = (read_weights(folder, read_card(folder)) for folder in (work / "tuned", work / "tuned-1"))
    assert any(not np.array_equal(first[name], second[name]) for name in first)
    for other in ({"data": draw_people(tmp_path / "other", 2)}, {"data": data, "seed": 1}):
        with pytest.raises(WardposeError, match="holds what another model, other pictures or another seed came to"):
            run(model=random_detector, sets=sets, size=96, threads=1, work=work, **other)


def test_a_graph_lies_between_two_as_weights_do(tmp_path: Path) -> None:
    folders = {}
    for name, weight in (("before", 1.0), ("tuned", 3.0)):
        values = numpy_helper.from_array(np.full((1, 3, 1, 1), weight, np.float32), "weight")
        picture, output = (
            helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, channels, 32, 32])
            for n, channels in (("images", 3), ("output", 1))
        )
        node = helper.make_node("Conv", ["images", "weight"], ["output"])
        graph = helper.make_graph([node], "one", [picture], [output], [values])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        card = ModelCard(
            name=name, task="detect", format="onnx", architecture="one", layout="yolox", width=32, height=32,
            sha256="0" * 64,
        )  # fmt: skip
        save_graph(tmp_path / name, model, card)
        folders[name] = tmp_path / name
    mix(folders["before"], folders["tuned"], 0.25, tmp_path / "mixed")
    card = read_card(tmp_path / "mixed")
    written = onnx.load(str(verify_weights(tmp_path / "mixed", card)))
    np.testing.assert_allclose(numpy_helper.to_array(written.graph.initializer[0]), 1.5)
    with pytest.raises(WardposeError, match="alpha 2 is not within"):
        mix(folders["before"], folders["tuned"], 2, tmp_path / "beyond")
