"""The detector beside the poses: one frame at a time, nothing lost but what is no longer wanted."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.detect import PersonDetector
from runtime.detect_beside import DetectorBeside, opened_to_step_back
from runtime.detections import Detections
from runtime.engines.engine import InferenceEngine
from runtime.engines.onnx_engine import OnnxEngine
from runtime.frames import Frame
from tests.conftest import REPOSITORY
from tests.runtime.onnx_graphs import constant_model, info

WAIT_S = 60.0


class Held(PersonDetector):
    """A detector that answers when it is let, or fails."""

    def __init__(self, engine: InferenceEngine) -> None:
        super().__init__(engine)
        self.let, self.fails = threading.Event(), False

    def detect(self, color: NDArray[np.uint8]) -> Detections:
        assert self.let.wait(WAIT_S)
        if self.fails:
            raise RuntimeError("out of memory")
        return super().detect(color)


@pytest.fixture
def held(tmp_path: Path) -> Held:
    one = np.array([[32, 32, 20, 10, 0.9]], np.float32).T
    return Held(OnnxEngine(constant_model(tmp_path / "d.onnx", [one], info()), threads=1))


def _frame(at: float) -> Frame:
    return Frame(np.zeros((64, 64, 3), np.uint8), at, 0, "black")


def test_the_detector_gives_way_to_whoever_else_wants_its_core(held: Held) -> None:
    seen: list[int] = []

    class Telling(Held):
        def detect(self, color: NDArray[np.uint8]) -> Detections:
            seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super().detect(color)

    telling, beside = Telling(held.engine), DetectorBeside()
    telling.let.set()
    beside.offer(telling, _frame(1.0))
    beside.wait(WAIT_S)
    beside.end()
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert seen == [min(mine + 10, 19)]


def test_a_second_frame_is_refused_until_the_first_is_done(held: Held) -> None:
    beside = DetectorBeside()
    assert beside.offer(held, _frame(1.0))
    assert not beside.offer(held, _frame(2.0))
    assert beside.take() is None
    held.let.set()
    beside.wait(WAIT_S)
    found = beside.take()
    assert found is not None
    assert (found.time_s, len(found.detections), len(found.looks)) == (1.0, 1, 1)
    assert beside.take() is None
    assert beside.offer(held, _frame(3.0))
    beside.end()


def test_what_the_detector_raises_is_raised_where_it_is_taken(held: Held) -> None:
    beside = DetectorBeside()
    held.fails = True
    held.let.set()
    beside.offer(held, _frame(1.0))
    beside.wait(WAIT_S)
    with pytest.raises(RuntimeError, match="out of memory"):
        beside.take()
    assert beside.take() is None
    beside.end()


def test_after_a_pause_neither_a_frame_nor_whom_it_showed_is_left(held: Held) -> None:
    beside, frame = DetectorBeside(), _frame(1.0)
    pixels = weakref.ref(frame.color)
    beside.offer(held, frame)
    beside.forget()
    del frame
    held.let.set()
    beside.wait(WAIT_S)
    assert beside.take() is None
    gc.collect()
    assert pixels() is None
    assert beside.offer(held, _frame(2.0))  # and it works on
    beside.wait(WAIT_S)
    assert beside.take() is not None
    beside.end()


def test_when_it_has_ended_the_engine_is_called_no_more(held: Held) -> None:
    """A process that ended meanwhile would be aborted by the engine's library."""
    beside = DetectorBeside()
    beside.offer(held, _frame(1.0))
    threading.Timer(0.2, held.let.set).start()
    beside.end(WAIT_S)
    assert held.let.is_set() and not any(thread.name == "detector" for thread in threading.enumerate())


# In a process of its own: other tests' threads come and go here.
OPENS = """
import os, sys, time
from pathlib import Path
from runtime.detect_beside import opened_to_step_back
from runtime.engines.onnx_engine import OnnxEngine
import onnxruntime
before = set(os.listdir("/proc/self/task"))
engine = opened_to_step_back(lambda: OnnxEngine(Path(sys.argv[1]), threads=3))
time.sleep(0.5)  # the thread that opened it has ended by then
started = set(os.listdir("/proc/self/task")) - before
print(len(started), *{os.getpriority(os.PRIO_PROCESS, int(task)) for task in started})
print(os.getpriority(os.PRIO_PROCESS, 0), engine.name)
"""


def test_the_threads_of_the_detectors_engine_step_back_too_and_whoever_opened_it_does_not(tmp_path: Path) -> None:
    model = constant_model(tmp_path / "d.onnx", [np.zeros((5, 2), np.float32)], info())
    own = os.getpriority(os.PRIO_PROCESS, 0)
    said = subprocess.run(
        [sys.executable, "-c", OPENS, str(model)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(said[0]) >= 2
    assert said[1:] == [str(min(own + 10, 19)), str(own), "onnxruntime-cpu"]


def test_an_engine_that_cannot_be_opened_says_so_as_ever(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="no such model file"):
        opened_to_step_back(lambda: OnnxEngine(tmp_path / "none.onnx"))
