"""How often the detector runs, by the load that the frames tell of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.cadence import LONGEST_S, DetectionCadence
from runtime.detect import PersonDetector
from runtime.detections import Detections
from runtime.engines.onnx_engine import OnnxEngine
from runtime.frames import Frame
from runtime.pipeline import LivePipeline
from runtime.track import Tracker
from tests.runtime.onnx_graphs import constant_model, info


def _detects(cadence: DetectionCadence, index: int, fps: float = 30.0) -> bool:
    due = cadence.due(index, 1 / fps)
    if due:
        cadence.detected(index)
    return due


def test_a_box_that_keeps_up_detects_in_every_frame() -> None:
    cadence = DetectionCadence()
    assert all(_detects(cadence, index) for index in range(500))


@pytest.mark.parametrize(("fps", "every"), [(30, 6), (15, 3), (10, 2), (5, 1)])
def test_a_box_that_skips_frames_detects_less_often_and_more_often_when_it_keeps_up_again(fps: int, every: int) -> None:
    cadence = DetectionCadence()
    for step in range(400):
        _detects(cadence, 2 * step, fps)
    assert cadence.every == every == int(LONGEST_S * fps)
    due = [_detects(cadence, 800 + step, fps) for step in range(30)]
    assert sum(due) == 30 // every
    for step in range(12000):
        _detects(cadence, 830 + step, fps)
    assert cadence.every == 1


def test_a_detector_that_is_busy_is_due_until_it_takes_a_frame() -> None:
    cadence = DetectionCadence()
    assert [cadence.due(index, 1 / 30) for index in range(3)] == [True] * 3


def test_a_source_that_begins_anew_is_no_load() -> None:
    cadence = DetectionCadence()
    for start in (0, 10_000, 5, 70_000):
        for step in range(15):
            assert _detects(cadence, start + step)


def test_between_two_detections_people_move_on_under_their_numbers() -> None:
    tracker = Tracker()
    for step in range(10):
        x = 10.0 * step
        box = Detections(np.array([[x, 20, x + 40, 90]], np.float32), np.array([0.7], np.float32))
        ids = tracker.update(box, step / 20).track_id
    between = tracker.between(10 / 20, 640, 360)
    assert ids is not None
    assert between.track_id is not None
    assert between.track_id.tolist() == ids.tolist()
    np.testing.assert_allclose(between.xyxy[0], [100, 20, 140, 90], atol=4)
    assert len(tracker.between(0.1, 640, 360)) == 0  # a clock that jumped back
    tracker.update(Detections.empty(), 0.55)
    assert len(tracker.between(0.6, 640, 360)) == 0


def test_frames_without_a_detection_have_the_same_people(tmp_path: Path) -> None:
    answer = np.array([[32, 32, 20, 10, 0.9]], np.float32).T
    engine = OnnxEngine(constant_model(tmp_path / "d.onnx", [answer], info()), threads=1)
    pipeline = LivePipeline(PersonDetector(engine))
    stages = []
    for step in range(120):
        result = pipeline.process(Frame(np.zeros((64, 64, 3), np.uint8), step / 15, 2 * step, "black"))
        stages.append("detect" in result.stages_ms)
        assert result.detections.track_id is not None
        assert result.detections.track_id.tolist() == [1]
    assert 0.3 < np.mean(stages[-30:]) < 0.4
