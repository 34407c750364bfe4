"""A YOLO pose model: it begins with a detector's weights, learns keypoints, and is read back by the runtime."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.errors import WardposeError
from runtime.detections import Detections
from runtime.engines.engine import open_engine
from runtime.pose import PoseEstimator
from tuning.base import make_base
from tuning.export import export_onnx
from tuning.store.card import ModelCard, read_card
from tuning.store.weights import read_weights

CARD = ModelCard(
    name="tiny", task="pose", architecture="yolo11n-pose", layout="yolo-pose", width=96, height=96, sha256="0" * 64
)


@pytest.fixture(scope="module")
def trained(drawn_people: Path, random_detector: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pose") / "person-pose"
    make_base("pose", drawn_people, folder, epochs=1, size=96, batch=4, threads=1, start=random_detector)
    return folder


def test_it_takes_over_what_fits_of_a_detector(random_detector: Path) -> None:
    from tuning.families.yolo_models import build_pose

    start = read_weights(random_detector, read_card(random_detector))
    state = build_pose(CARD, None, start=start).state()
    shared = [name for name in state if name in start]
    assert len(shared) > 400
    assert all(np.allclose(state[name], start[name], atol=1e-6) for name in shared)
    assert any(".cv4." in name for name in state), "the keypoint branch is its own"


def test_weights_of_another_family_are_refused() -> None:
    from tuning.families.yolo_models import build_pose

    with pytest.raises(WardposeError, match="no tensor of the model to start from fits"):
        build_pose(CARD, None, start={"stem.weight": np.zeros((3, 3), np.float32)})


def test_the_card_says_what_it_began_with_and_what_it_saw(trained: Path) -> None:
    card = read_card(trained)
    assert card.architecture == "yolo11n-pose" and card.layout == "yolo-pose"
    assert card.made["from"].startswith("random's weights")
    assert "no photograph" in card.made["seen"]


def test_training_moves_the_keypoint_branch(trained: Path, random_detector: Path) -> None:
    from tuning.families.yolo_models import build_pose

    start = read_weights(random_detector, read_card(random_detector))
    before, after = build_pose(CARD, None, start=start).state(), read_weights(trained, read_card(trained))
    branch = [name for name in before if ".cv4." in name and name.endswith("conv.weight")]
    assert branch and any(np.abs(before[name] - after[name]).max() > 1e-4 for name in branch)


def test_its_export_answers_like_the_trained_model(trained: Path, tmp_path: Path) -> None:
    report = export_onnx(trained, tmp_path / "pose.onnx", width=128, height=96)
    assert (report.width, report.height) == (128, 96) and report.max_error < 1e-3


def test_the_runtime_reads_it_for_the_people_found(trained: Path, drawn_people: Path, tmp_path: Path) -> None:
    export_onnx(trained, tmp_path / "pose.onnx")
    picture = next((drawn_people / "images").iterdir())
    color = np.ascontiguousarray(cv2.imread(str(picture))[..., ::-1])
    height, width = color.shape[:2]
    people = Detections(np.array([[0, 0, width, height]], np.float32), np.array([0.9], np.float32))
    skeletons = PoseEstimator(open_engine(tmp_path / "pose.onnx", prefer="onnxruntime-cpu")).estimate(color, people)
    assert skeletons.keypoints.shape == (1, 17, 2)
