"""A YOLO pose model somebody brings: told by its weights, tuned, exported, and read by the runtime."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.detections import Detections
from runtime.engines.engine import open_engine
from runtime.pose import PoseEstimator
from tuning.export import export_onnx
from tuning.families.family import TuneSettings, tune
from tuning.import_model import import_model
from tuning.store.card import ModelCard, read_card
from tuning.store.weights import read_weights, write_safetensors

CARD = ModelCard(
    name="tiny", task="pose", architecture="yolo11n-pose", layout="yolo-pose", width=96, height=96, sha256="0" * 64
)


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A yolo11n-pose with random weights, imported from a file of tensors."""
    from tuning.families.yolo_models import build_pose
    from tuning.train.torch_state import seed_everything

    folder = tmp_path_factory.mktemp("brought")
    seed_everything(0)
    write_safetensors(folder / "pose.safetensors", build_pose(CARD, None).state())
    import_model(folder / "pose.safetensors", folder, "imported", width=96, height=96)
    return folder / "imported"


@pytest.fixture(scope="module")
def tuned(brought: Path, drawn_people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "tuned"
    tune(brought, drawn_people, out, TuneSettings(batch=8, threads=1, frozen_layers=0), task="pose")
    return out


def test_its_weights_tell_what_it_is(brought: Path) -> None:
    card = read_card(brought)
    assert (card.task, card.architecture, card.layout) == ("pose", "yolo11n-pose", "yolo-pose")


def test_training_moves_the_keypoint_branch(brought: Path, tuned: Path) -> None:
    before, after = (read_weights(folder, read_card(folder)) for folder in (brought, tuned))
    branch = [name for name in before if ".cv4." in name and name.endswith("conv.weight")]
    assert branch and any(np.abs(before[name] - after[name]).max() > 0 for name in branch)
    assert read_card(tuned).parent == "imported"


def test_its_export_answers_like_the_trained_model(tuned: Path, tmp_path: Path) -> None:
    report = export_onnx(tuned, tmp_path / "pose.onnx", width=128, height=96)
    assert (report.width, report.height) == (128, 96) and report.max_error < 1e-3


def test_the_runtime_reads_it_for_the_people_found(tuned: Path, drawn_people: Path, tmp_path: Path) -> None:
    export_onnx(tuned, tmp_path / "pose.onnx")
    picture = next((drawn_people / "images").iterdir())
    color = np.ascontiguousarray(cv2.imread(str(picture))[..., ::-1])
    height, width = color.shape[:2]
    people = Detections(np.array([[0, 0, width, height]], np.float32), np.array([0.9], np.float32))
    skeletons = PoseEstimator(open_engine(tmp_path / "pose.onnx", prefer="onnxruntime-cpu")).estimate(color, people)
    assert skeletons.keypoints.shape == (1, 17, 2)


def test_pillow_is_left_as_it_was() -> None:
    from PIL import Image

    from tuning.families.ultralytics_adapter import ultralytics

    ultralytics()
    assert Image.open.__module__ == "PIL.Image"  # its own asks for another package where a picture is broken
