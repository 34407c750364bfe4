"""Models and engines that change under a running pipeline, and what else happens to one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.errors import WardposeError
from runtime.bed_view import BedView
from runtime.detect import PersonDetector
from runtime.engine_choice.selection import EngineWish
from runtime.engines.chain import EngineChain
from runtime.engines.engine import REFERENCE
from runtime.engines.onnx_engine import OnnxEngine
from runtime.frames import Frame
from runtime.message import live_message, state_of
from runtime.pipeline import LivePipeline
from runtime.pose import PoseEstimator
from runtime.renewal import ModelFiles, Renewal
from tests.runtime.onnx_graphs import constant_model, info
from tests.runtime.test_bed_view import ABOVE, CAMERA

ONE = np.array([[32, 32, 20, 10, 0.9]], np.float32).T
TWO = np.array([[16, 16, 20, 10, 0.9], [48, 40, 20, 10, 0.8]], np.float32).T
WAIT_S = 60.0


def _pose(path: Path, name: str = "middle") -> Path:
    x, y = np.zeros((17, 96), np.float32), np.zeros((17, 128), np.float32)
    x[:, 48], y[:, 64] = 0.8, 0.8
    return constant_model(path, [x, y], info(name=name, task="pose", layout="simcc", width=48, height=64))


def _frame(index: int = 0, size: tuple[int, int] = (64, 64), **more: Any) -> Frame:
    return Frame(np.zeros((*size, 3), np.uint8), index / 10, index, "black", **more)


def _eventually(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_new_models_are_taken_over_between_two_frames_and_the_people_keep_their_numbers(tmp_path: Path) -> None:
    old = ModelFiles(constant_model(tmp_path / "a.onnx", [ONE], info(name="old")), None)
    new = ModelFiles(constant_model(tmp_path / "b.onnx", [TWO], info(name="new")), _pose(tmp_path / "p.onnx"))
    renewal = Renewal(old, EngineWish(threads=1))
    pipeline = renewal.open()
    pipeline.process(_frame(0))
    assert not renewal.next(pipeline)
    renewal.ask(new)
    _eventually(lambda: renewal.next(pipeline))
    result = pipeline.process(_frame(1))
    assert live_message("live", result=result, pipeline=pipeline)["models"] == {"detector": "new", "pose": "middle"}
    assert len(result.detections) == 2
    renewal.ask(old)
    _eventually(lambda: renewal.next(pipeline))
    assert pipeline.pose is None


def test_models_that_cannot_be_used_leave_things_as_they_are_and_say_why(tmp_path: Path) -> None:
    files = ModelFiles(constant_model(tmp_path / "a.onnx", [ONE], info()), None)
    renewal = Renewal(files, EngineWish(threads=1))
    pipeline = renewal.open()
    with pytest.raises(WardposeError, match="no such model file"):
        renewal.ask(ModelFiles(tmp_path / "absent.onnx", None))
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    renewal.ask(ModelFiles(tmp_path / "broken.onnx", None))
    _eventually(lambda: renewal.trouble)
    assert not renewal.next(pipeline)
    assert "stay as they are" in renewal.trouble
    renewal.ask(files)  # and the next ones that can be are taken
    _eventually(lambda: renewal.next(pipeline))
    assert renewal.trouble == ""


class Failing:
    """An engine that answers some frames and then raises."""

    def __init__(self, engine: OnnxEngine, good: int) -> None:
        self._engine, self._left = engine, good
        self.name, self.info, self.why = "failing", engine.info, ()

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("an illegal memory access was encountered")
        return self._engine.run(batch)


def test_an_engine_that_fails_costs_no_frame_and_the_message_says_so(tmp_path: Path) -> None:
    reference = OnnxEngine(constant_model(tmp_path / "a.onnx", [ONE], info()), threads=1)
    pipeline = LivePipeline(PersonDetector(EngineChain((Failing(reference, 2), reference))))
    used = []
    for index in range(4):
        result = pipeline.process(_frame(index))
        assert len(result.detections) == 1
        message = live_message("live", result=result, pipeline=pipeline)
        used.append(message["engines"]["detector"])
    assert used == ["failing", "failing", REFERENCE, REFERENCE]
    assert message["engines_refused"] == [
        "failing: failed while in use (RuntimeError: an illegal memory access was encountered)"
    ]
    assert [row["name"] for row in message["engines_told"] if row["used"]] == [REFERENCE]


class Hanging(Failing):
    """An engine that answers some frames and then never again."""

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        try:
            return super().run(batch)
        except RuntimeError:
            threading.Event().wait()
            raise


def test_an_engine_that_never_answers_hands_over_and_the_message_says_so(tmp_path: Path) -> None:
    reference = OnnxEngine(constant_model(tmp_path / "a.onnx", [ONE], info()), threads=1)
    pipeline = LivePipeline(PersonDetector(EngineChain((Hanging(reference, 1), reference))))
    for index in range(3):
        result = pipeline.process(_frame(index))
        assert len(result.detections) == 1
    refused = live_message("live", result=result, pipeline=pipeline)["engines_refused"]
    assert [why.split(" has not answered for ")[0] for why in refused] == ["failing: failed while in use (it"]
    assert pipeline.engine == REFERENCE


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[NDArray[np.float32]], LivePipeline]:
    """A pipeline with a bed, whose detector sees given people in every picture."""
    folder = tmp_path_factory.mktemp("models")
    pose = OnnxEngine(_pose(folder / "p.onnx"), threads=1)

    def make(answer: NDArray[np.float32]) -> LivePipeline:
        path = constant_model(folder / f"d{answer.shape[1]}{answer.any()}.onnx", [answer], info())
        detector = PersonDetector(OnnxEngine(path, threads=1), max_people=30)
        return LivePipeline(detector, PoseEstimator(pose), bed=BedView(CAMERA, ABOVE, Bed()))

    return make


def _crowd(count: int) -> NDArray[np.float32]:
    place = np.arange(count)  # a 16:9 picture covers the rows 14 to 50 of the input
    columns = [6 + 10 * (place % 6), 18 + 7 * (place // 6), np.full(count, 8), np.full(count, 6), np.full(count, 0.9)]
    return np.array(columns, np.float32)


@pytest.mark.parametrize("count", [0, 1, 30])
def test_nobody_and_thirty_people_give_a_message_that_is_whole(
    whole: Callable[[NDArray[np.float32]], LivePipeline], count: int
) -> None:
    pipeline = whole(_crowd(count) if count else np.zeros((5, 1), np.float32))
    for index in range(3):
        result = pipeline.process(_frame(index, (360, 640)))
        message = live_message("live", result=result, pipeline=pipeline)
    assert len(result.detections) == len(result.skeletons) == count
    assert message["patient"]["probability"].keys() == {"in-bed", "on-edge", "out-of-bed", "nobody"}
    assert sum(message["patient"]["probability"].values()) == pytest.approx(1, abs=0.01)
    assert sum(person["role"] == "patient" for person in message["people"]) <= 1


@st.composite
def _stream(draw: st.DrawFn) -> list[Frame]:
    """Frames whose size, depth, brightness and clock jump about."""
    frames = []
    for index in range(draw(st.integers(1, 6))):
        height, width = draw(st.sampled_from([(64, 64), (360, 640), (720, 1280), (1, 1), (480, 33)]))
        light = draw(st.sampled_from([0, 128, 255]))
        depth = draw(st.sampled_from([None, 0, 900, 65535]))
        plane = None if depth is None else np.full((12, 16), depth, np.uint16)
        now = draw(st.floats(-1e6, 1e6) | st.just(index / 10))
        frames.append(Frame(np.full((height, width, 3), light, np.uint8), now, index, "made", depth=plane))
    return frames


@settings(max_examples=25)
@given(_stream())
def test_sizes_light_depth_and_clocks_that_jump_leave_every_message_whole(
    whole: Callable[[NDArray[np.float32]], LivePipeline], frames: list[Frame]
) -> None:
    pipeline = whole(TWO)
    for frame in frames:
        result = pipeline.process(frame)
        message = live_message("live", result=result, pipeline=pipeline)
        assert (message["height"], message["width"]) == frame.color.shape[:2]
        assert state_of(message, frame.timestamp_s).age_s == 0.0
        for person in message["people"]:
            assert np.isfinite(person["box"]).all()
            assert np.isfinite(person["keypoints"]).all()
        if message["patient"] is not None:
            assert message["patient"]["for_s"] >= 0


def test_depth_that_is_no_whole_number_of_millimetres_is_refused_at_the_door() -> None:
    with pytest.raises(ValueError, match="depth must be"):
        _frame(depth=np.full((4, 4), np.nan))


@pytest.fixture
def one_core() -> Iterator[None]:
    """All of this process's threads on one core from here on, as when a cpuset takes the others away."""
    before = os.sched_getaffinity(0)

    def move(cores: set[int]) -> None:
        for thread in os.listdir("/proc/self/task"):
            try:
                os.sched_setaffinity(int(thread), cores)
            except ProcessLookupError:
                continue

    yield move({min(before)})
    move(before)


def test_a_core_taken_away_changes_no_answer(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    engine = OnnxEngine(constant_model(tmp_path / "a.onnx", [TWO], info()), threads=2)
    before = engine.run(np.zeros((1, 3, 64, 64), np.float32))[0]
    request.getfixturevalue("one_core")
    np.testing.assert_array_equal(engine.run(np.zeros((1, 3, 64, 64), np.float32))[0], before)


def test_asking_again_and_again_opens_only_what_was_asked_last(tmp_path: Path) -> None:
    files = [ModelFiles(constant_model(tmp_path / f"{n}.onnx", [ONE], info(name=f"m{n}")), None) for n in range(5)]
    renewal = Renewal(files[0], EngineWish(threads=1))
    pipeline = renewal.open()
    askers = [threading.Thread(target=renewal.ask, args=(one,)) for one in files]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    renewal.ask(files[3])
    _eventually(lambda: renewal.next(pipeline) and pipeline.detector.engine.info.name == "m3")
    time.sleep(0.2)
    renewal.next(pipeline)
    assert pipeline.detector.engine.info.name == "m3"
