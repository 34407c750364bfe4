"""The carry-over benchmark for pose models: who is judged in which column, and what a tuning brought."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from calibration.errors import WardposeError
from runtime.detections import Detections
from runtime.skeleton import Skeletons
from tests.tuning.drawn import draw_people
from tuning.evaluate.report import pose_figures
from tuning.store.card import ModelCard
from tuning.store.save import save_model
from tuning.study.carry_over import run
from tuning.study.posed_people import read_posed_columns


@pytest.fixture(scope="module")
def random_pose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tuning.families.rtmpose_training import build_pose
    from tuning.train.torch_state import seed_everything, state_of

    seed_everything(0)
    card = ModelCard(
        name="pose", task="pose", architecture="rtmpose-t", layout="simcc", width=64, height=64, sha256="0" * 64
    )
    folder = tmp_path_factory.mktemp("pose") / "pose"
    save_model(folder, state_of(build_pose(card, None)), card)
    return folder


def with_postures(folder: Path, postures: list[str]) -> Path:
    """Drawn pictures whose people are called by these postures and whose nose is hidden."""
    path = draw_people(folder, len(postures)) / "annotations.json"
    content = json.loads(path.read_text())
    for annotation, posture in zip(content["annotations"], postures, strict=True):
        annotation["posture"] = posture
        annotation["keypoints"][2] = 1
    path.write_text(json.dumps(content))
    return path


def test_photographs_are_turned_and_synthetic_people_sorted(tmp_path: Path) -> None:
    photographs = draw_people(tmp_path / "photographs", 2) / "annotations.json"
    synthetic = with_postures(tmp_path / "synthetic", ["supine", "standing", "lateral_left"])
    columns = {
        column.name: column
        for column in read_posed_columns({"photos": (photographs, None), "synthetic": (synthetic, None)})
    }
    assert {name: (column.turn_deg, [p.id for p in column.pictures]) for name, column in columns.items()} == {
        "photos": (0, [1, 2]), "photos: turned 90°": (90, [1, 2]), "photos: turned 180°": (180, [1, 2]),
        "photos: turned 270°": (270, [1, 2]), "synthetic: lying": (0, [1, 3]), "synthetic: others": (0, [2]),
    }  # fmt: skip


def test_a_model_that_knows_the_visible_joints_is_right_about_everybody(tmp_path: Path) -> None:
    path = with_postures(tmp_path / "set", ["supine", "standing"])
    for column in read_posed_columns({"ward": (path, None)}):
        truth = iter([picture.keypoints for picture in column.pictures])

        class Knowing:
            def estimate(self, color: np.ndarray, people: Detections) -> Skeletons:
                keypoints = next(truth)  # noqa: B023
                return Skeletons(keypoints[..., :2].astype(np.float32), np.ones((len(people), 17), np.float32))

        found = pose_figures(Knowing(), column.pictures)
        assert found.people == 1 and found.mean_oks == pytest.approx(1, abs=1e-3)


def test_a_set_without_keypoints_is_refused(tmp_path: Path) -> None:
    path = draw_people(tmp_path / "set", 2) / "annotations.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        annotation["keypoints"] = [0] * 51
    path.write_text(json.dumps(content))
    with pytest.raises(WardposeError, match="no person has keypoints"):
        read_posed_columns({"ward": (path, None)})


def test_a_pose_model_is_scored_before_and_after(tmp_path: Path, random_pose: Path) -> None:
    data = draw_people(tmp_path / "data", 4)
    photographs = draw_people(tmp_path / "photographs", 3, seed=1) / "annotations.json"
    result = run(
        model=random_pose, task="pose", sets={"photos": (photographs, None)}, data=data, held_out=0, alphas=[0.0],
        orders=2, threads=1,
    )  # fmt: skip
    turned = {"photos", "photos: turned 90°", "photos: turned 180°", "photos: turned 270°"}
    assert result["before"].keys() == turned and result["before"]["photos"]["people"] == 3
    figures = result["tuned"]["everything"]["photos"]
    assert figures.keys() >= {"AP", "AP50", "mean_oks", "mean_oks_gained", "low", "high", "p", "spread"}
    untouched = result["tuned"]["everything, alpha 0.0"]["photos"]
    assert untouched["people"] == 3 and 0 <= untouched["p"] <= 1  # its crops are turned now, its weights are the old


def test_a_pose_model_is_no_detector(tmp_path: Path, random_pose: Path) -> None:
    with pytest.raises(WardposeError, match="pose is for the task pose; --task pose"):
        run(model=random_pose, sets={}, data=tmp_path)


def test_held_out_people_are_of_other_wards(tmp_path: Path, random_pose: Path) -> None:
    scenario = tmp_path / "small.toml"
    scenario.write_text('like = "base"\nwidth = 128\nheight = 128\n')
    photographs = draw_people(tmp_path / "photographs", 2, seed=1) / "annotations.json"
    data = draw_people(tmp_path / "data", 4)
    result = run(
        model=random_pose, task="pose", sets={"photos": (photographs, None)}, scenario=str(scenario), data=data,
        held_out=4, threads=1, workers=1, work=tmp_path / "work",
    )  # fmt: skip
    assert {"synthetic: lying", "synthetic: others"} & result["before"].keys()
    assert json.loads((tmp_path / "work" / "held-out" / "dataset.json").read_text())["spec"]["seed"] == 1
