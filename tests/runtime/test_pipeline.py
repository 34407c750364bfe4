"""Frames through the whole live path."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np

from runtime.frames import Frame
from runtime.pipeline import LivePipeline
from tests.runtime.onnx_graphs import constant_model, info
from tests.runtime.test_detect import YOLOX_NANO


def _pose(path: Path) -> Path:
    x, y = np.zeros((17, 96), np.float32), np.zeros((17, 128), np.float32)
    x[:, 48], y[:, 64] = 0.8, 0.8
    described = info(name="middle", task="pose", layout="simcc", width=48, height=64)
    return constant_model(path / "pose.onnx", [x, y], described)


def test_a_moving_photograph_gives_the_same_people_frame_after_frame(shared_data: Path, tmp_path: Path) -> None:
    detector = tmp_path / "yolox.onnx"
    shutil.copy(shared_data / "weights" / "yolox_nano.onnx", detector)
    (tmp_path / "yolox.onnx.json").write_text(YOLOX_NANO.model_dump_json())
    pipeline = LivePipeline.open(detector, _pose(tmp_path), prefer="onnxruntime-cpu", confidence=0.5)
    photo = cv2.imread(str(shared_data / "photos" / "demo" / "zidane.jpg"))
    assert photo is not None
    photo = photo[..., ::-1]
    for index in range(6):
        shifted = np.ascontiguousarray(np.roll(photo, 6 * index, axis=1))
        result = pipeline.process(Frame(shifted, index / 15, index, "photo"))
        ids = result.detections.track_id
        assert ids is not None
        assert sorted(ids.tolist()) == [1, 2]
        assert len(result.skeletons) == 2
    middle = (result.detections.xyxy[:, :2] + result.detections.xyxy[:, 2:]) / 2
    np.testing.assert_allclose(result.skeletons.keypoints[:, 0], middle, atol=8)
    assert list(result.stages_ms) == ["detect", "track", "pose", "smooth"]
    assert (result.frame_index, result.width, result.height) == (5, 1280, 720)


def test_without_a_pose_model_there_are_boxes_only(tmp_path: Path) -> None:
    answer = np.array([[32, 32, 20, 10, 0.9]], np.float32).T
    pipeline = LivePipeline.open(constant_model(tmp_path / "d.onnx", [answer], info()), prefer="onnxruntime-cpu")
    result = pipeline.process(Frame(np.zeros((64, 64, 3), np.uint8), 0.0, 0, "black"))
    assert (len(result.detections), len(result.skeletons)) == (1, 0)
    assert list(result.stages_ms) == ["detect", "track"]
    assert pipeline.engine == "onnxruntime-cpu"


def test_an_empty_room_is_an_empty_result(tmp_path: Path) -> None:
    answer = np.zeros((5, 3), np.float32)
    detector = constant_model(tmp_path / "d.onnx", [answer], info())
    pipeline = LivePipeline.open(detector, _pose(tmp_path), prefer="onnxruntime-cpu")
    result = pipeline.process(Frame(np.zeros((64, 64, 3), np.uint8), 0.0, 0, "black"))
    assert (len(result.detections), len(result.skeletons)) == (0, 0)
