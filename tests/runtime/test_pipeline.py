"""Frames through the whole live path."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.camera import CameraModel
from runtime.attention import Attention
from runtime.bed_view import BedView
from runtime.detect import PersonDetector
from runtime.detect_beside import Hung
from runtime.detections import Detections
from runtime.engines.engine import InferenceEngine, open_engine
from runtime.engines.verdicts import cores
from runtime.frames import Frame
from runtime.pipeline import LivePipeline
from runtime.pose import PoseEstimator
from runtime.smooth import OneEuroSmoother
from runtime.turn_search import LOOKS_A_FRAME
from tests.runtime.onnx_graphs import colour_model, constant_model, info
from tests.runtime.test_detect import YOLOX_NANO
from tests.runtime.test_turn import COLOURS, person_picture, turned_person


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


class CountingEngine:
    """An engine that counts the crops it was given."""

    def __init__(self, engine: InferenceEngine) -> None:
        self._engine, self.crops = engine, 0
        self.name, self.info, self.why = engine.name, engine.info, engine.why

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        self.crops += len(batch)
        return self._engine.run(batch)


class Silent(PersonDetector):
    """A detector that does not answer until it is let."""

    def __init__(self, engine: InferenceEngine, answers: threading.Event) -> None:
        super().__init__(engine)
        self._answers = answers

    def detect(self, color: NDArray[np.uint8]) -> Detections:
        self._answers.wait(60)
        return super().detect(color)


class Pace(Attention):
    """On a box on which a look takes so many seconds, whatever it takes on this one."""

    def __init__(self, look_s: float) -> None:
        super().__init__()
        self._each_s = look_s

    def took(self, looks: int, seconds: float) -> None:
        super().took(looks, self._each_s * looks)


class Counting(PersonDetector):
    """A detector that counts in how many frames it was asked for people."""

    looks = 0

    def detect(self, color: NDArray[np.uint8]) -> Detections:
        self.looks += 1
        return super().detect(color)


class Noting(PersonDetector):
    """A detector that notes on which threads it works."""

    threads: set[str]

    def detect(self, color: NDArray[np.uint8]) -> Detections:
        self.threads.add(threading.current_thread().name)
        return super().detect(color)


def stirring(picture: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    """Something moves beside the person in each frame."""
    picture[70:100, 70:100] = 60 * (index % 2)
    return picture


@pytest.fixture
def turning(tmp_path: Path) -> LivePipeline:
    """A pipeline that finds one person in the middle of a 400 × 400 picture."""
    box = np.array([[32, 32, 44, 44, 0.9]], np.float32).T
    detector = PersonDetector(open_engine(constant_model(tmp_path / "d.onnx", [box], info())))
    described = info(task="pose", layout="heatmap-dark", width=192, height=192, std=(1, 1, 1), aim="body")
    engine = CountingEngine(open_engine(colour_model(tmp_path / "p.onnx", described, COLOURS)))
    return LivePipeline(detector, PoseEstimator(engine), smoother=OneEuroSmoother(rest_hz=1e4))


def test_a_person_who_turns_over_is_followed_and_searched_for_in_the_first_frame_only(turning: LivePipeline) -> None:
    assert turning.pose is not None
    engine = turning.pose.engine
    assert isinstance(engine, CountingEngine)
    crops = []
    for index in range(24):
        points = turned_person(0.1 * index)
        before = engine.crops
        result = turning.process(Frame(person_picture(points), index / 15, index, "turning"))
        crops.append(engine.crops - before)
        # The discs of the face hide one another, and the legs stand near the line that parts left from right.
        assert np.linalg.norm(result.skeletons.keypoints[0] - points, axis=1)[5:13].max() < 12
    assert crops[0] > 4
    assert crops[1:] == [1] * 23


@pytest.mark.parametrize("turn", [0.0, 1.4, -2.2])
def test_at_pace_no_frame_waits_for_somebody_new_and_soon_they_are_right(turning: LivePipeline, turn: float) -> None:
    assert turning.pose is not None
    engine, points = turning.pose.engine, turned_person(turn)
    assert isinstance(engine, CountingEngine)
    whole = turning.process(Frame(person_picture(points), 0.0, 0, "whole"))
    searched = engine.crops
    pace = LivePipeline(turning.detector, turning.pose, smoother=OneEuroSmoother(rest_hz=1e4), at_pace=True)
    pace.attention = Pace(0.001)
    crops = []
    for index in range(10):
        before = engine.crops
        result = pace.process(Frame(stirring(person_picture(points), index), index / 2, index, "pace"))
        crops.append(engine.crops - before)
    assert max(crops) == 1 + LOOKS_A_FRAME
    assert sum(crops) - len(crops) == searched == 12
    for found in (whole, result):
        assert np.linalg.norm(found.skeletons.keypoints[0] - points, axis=1)[5:13].max() < 12


def test_at_pace_people_take_turns_where_a_frame_has_time_for_one_look(tmp_path: Path, turning: LivePipeline) -> None:
    # Two people, each of them found for sure, in frames that come faster than two looks take.
    boxes = np.array([[16, 32, 22, 44, 0.9], [48, 32, 22, 44, 0.9]], np.float32).T
    detector = PersonDetector(open_engine(constant_model(tmp_path / "two.onnx", [boxes], info())))
    assert turning.pose is not None
    engine = turning.pose.engine
    assert isinstance(engine, CountingEngine)
    pipeline = LivePipeline(detector, turning.pose, at_pace=True)
    pipeline.attention = Pace(0.02)
    crops, ages = [], []
    for index in range(40):
        before = engine.crops
        picture = stirring(person_picture(turned_person(0.0)), index)
        result = pipeline.process(Frame(picture, index / 30, index, "two"))
        crops.append(engine.crops - before)
        assert result.skeletons_age_s is not None
        ages.append(result.skeletons_age_s.max(initial=0.0))
        assert len(result.skeletons) == len(result.detections)
    pipeline.end()
    assert np.mean(crops[2:]) <= 1.2
    assert 0 < max(ages) <= 0.25 + 1 / 30


def test_at_pace_nobody_is_looked_at_again_for_nothing(turning: LivePipeline) -> None:
    assert turning.pose is not None
    engine, points = turning.pose.engine, turned_person(1.0)
    assert isinstance(engine, CountingEngine)
    turning.at_pace, turning.attention = True, Pace(0.001)
    crops = []
    for index in range(60):
        before = engine.crops
        shown = points if index < 50 else points + 3
        result = turning.process(Frame(person_picture(shown), index / 30, index, "asleep"))
        crops.append(engine.crops - before)
        assert result.skeletons_age_s is not None
        assert result.skeletons_age_s.max() == 0
    turning.end()
    assert sum(crops[20:50]) <= 6  # five times a second, once it is known how they lie
    assert crops[50] == 1
    assert np.linalg.norm(result.skeletons.keypoints[0] - points - 3, axis=1)[5:13].max() < 12


@pytest.mark.parametrize("fps", [10, 30])
def test_at_pace_people_are_looked_for_five_times_a_second_while_nothing_moves(turning: LivePipeline, fps: int) -> None:
    counting = Counting(turning.detector.engine)
    turning.at_pace, turning.detector = True, counting
    picture, other = person_picture(turned_person(0.0)), person_picture(turned_person(0.0) + 40)
    for index in range(3 * fps):
        result = turning.process(Frame(picture, index / fps, index, "asleep"))
        turning._beside.wait(60)  # as on a box whose detector is done before the next frame
        assert index < 2 or len(result.detections) == 1
    assert 3 * 4 <= counting.looks <= 3 * 5 + 2
    before = counting.looks
    for index in range(3 * fps, 3 * fps + 4):
        turning.process(Frame(picture if (index - fps) % 2 else other, index / fps, index, "awake"))
        turning._beside.wait(60)
    assert counting.looks - before >= 4
    turning.end()


def test_where_frames_come_fast_people_are_looked_for_beside_their_poses(turning: LivePipeline) -> None:
    turning.at_pace, turning.attention = True, Pace(0.001)
    noting = Noting(turning.detector.engine)
    noting.threads, turning.detector, shown = set(), noting, []
    for index in range(30):
        points = turned_person(0.05 * index)
        result = turning.process(Frame(person_picture(points), index / 30, index, "fast"))
        shown.append(result.detections.track_id)
    assert [ids is not None and ids.tolist() == [1] for ids in shown] == [True] * 30
    assert noting.threads == ({"detector", "MainThread"} if cores() > 1 else {"MainThread"})
    assert np.linalg.norm(result.skeletons.keypoints[0] - points, axis=1)[5:13].max() < 12
    turning.end()


def test_a_detector_that_never_answers_ends_the_live_path(
    turning: LivePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cores() == 1:
        pytest.skip("there is no second core to look for people on")
    monkeypatch.setattr("runtime.pipeline._HUNG_S", 0.05)
    turning.at_pace = True
    for index in range(2):
        turning.process(Frame(person_picture(turned_person(0.0)), index / 30, index, "fast"))
    answers = threading.Event()
    turning.detector = Silent(turning.detector.engine, answers)
    with pytest.raises(Hung, match="has not answered"):
        for index in range(2, 60):
            turning.process(Frame(person_picture(turned_person(0.0)), index / 30, index, "fast"))
    answers.set()
    turning.end()


def test_the_beds_axis_spares_a_new_person_in_it_half_of_the_search(turning: LivePipeline) -> None:
    # Straight above a bed whose head end is on the left: somebody in it lies with the head to the left.
    camera = CameraModel(400, 400, 300, 300, 199.5, 199.5)
    from_bed = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2.0], [0, 0, 0, 1]])
    turning.bed = BedView(camera, from_bed, Bed())
    assert turning.pose is not None
    engine = turning.pose.engine
    assert isinstance(engine, CountingEngine)
    points = turned_person(-np.pi / 2)
    result = turning.process(Frame(person_picture(points), 0.0, 0, "lying"))
    assert np.linalg.norm(result.skeletons.keypoints[0] - points, axis=1)[5:13].max() < 12
    assert engine.crops == 2 + 2 * 2


def test_somebody_found_twice_is_shown_once(tmp_path: Path, turning: LivePipeline) -> None:
    boxes = np.array([[32, 32, 44, 44, 0.9], [32, 38, 36, 26, 0.6]], np.float32).T
    twice = PersonDetector(open_engine(constant_model(tmp_path / "two.onnx", [boxes], info())))
    pipeline = LivePipeline(twice, turning.pose)
    points = turned_person(0.0)
    for index in range(3):
        result = pipeline.process(Frame(person_picture(points), index / 15, index, "standing"))
    assert len(twice.detect(person_picture(points))) == 2
    assert len(result.detections) == len(result.skeletons) == 1


def test_a_doubtful_box_counts_only_with_a_skeleton_that_bears_it_out(tmp_path: Path, turning: LivePipeline) -> None:
    # Somebody, and beside them a doubtful box in which the pose model finds no joint.
    boxes = np.array([[32, 32, 44, 44, 0.5], [4, 58, 8, 8, 0.5]], np.float32).T
    for doubts, shown in (({"doubtful": 0.3, "certain": 0.9}, 1), ({}, 2), ({"doubtful": 0.3, "certain": 0.4}, 2)):
        described = info().model_copy(update={"threshold": 0.4, **doubts})
        detector = PersonDetector(
            open_engine(constant_model(tmp_path / f"{shown}{len(doubts)}.onnx", [boxes], described))
        )
        pipeline = LivePipeline(detector, turning.pose)
        result = pipeline.process(Frame(person_picture(turned_person(0.0)), 0.0, 0, "doubtful"))
        assert len(result.detections) == len(result.skeletons) == shown
