"""The detector on a thread of its own: while it looks for people in one frame, their poses are estimated in the next.

Inference leaves Python's lock alone, so that detector and pose model work on two cores at once; a frame then waits for
its poses only. The boxes are those of a frame before, moved on by the tracker.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.appearance import appearance
from runtime.detect import PersonDetector
from runtime.detections import Detections
from runtime.frames import Frame

Opened = TypeVar("Opened")
# How far the detector steps back where both want a core: a frame waits for its poses, and not for the next boxes.
_NICE = 10


def opened_to_step_back(open_engine: Callable[[], Opened]) -> Opened:
    """What `open_engine` returns or raises, called where the threads that it starts step back as the detector's does.

    A thread takes over the priority of the one that starts it: an engine's own would outdo the poses in its place.
    """
    with ThreadPoolExecutor(1, initializer=_step_back) as aside:
        return aside.submit(open_engine).result()


def _step_back() -> None:
    mine = threading.get_native_id()  # on Linux a thread has a priority of its own
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, mine, min(os.getpriority(os.PRIO_PROCESS, mine) + _NICE, 19))


class Hung(WardposeError):
    """The detector does not answer and will not: only another process helps."""


@dataclass(frozen=True, slots=True)
class Found:
    """Whom `detector` found in a frame of that time and shape, how they look (`runtime.appearance`), and in how many
    milliseconds. The frame itself is not held."""

    detector: PersonDetector
    time_s: float
    shape: tuple[int, ...]
    detections: Detections
    looks: NDArray[np.float32]
    ms: float


class DetectorBeside:
    """Takes one frame at a time. `offer`, `take` and `wait` are for one thread and block no longer than they say.

    The thread begins with the first frame and ends with `end`, or with the process.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._job: tuple[PersonDetector, Frame] | None = None
        self._found: Found | Exception | None = None
        self._thread: threading.Thread | None = None
        self._ended = self._unwanted = False

    def offer(self, detector: PersonDetector, frame: Frame) -> bool:
        """Look for people in a frame, unless another one is still being looked at; returns whether it is."""
        with self._changed:
            if self._job is not None:
                return False
            self._job = (detector, frame)
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="detector", daemon=True)
            self._thread.start()
        return True

    @property
    def busy(self) -> bool:
        """Whether a frame is being looked at."""
        return self._job is not None

    def take(self) -> Found | None:
        """What was found since the last call; raises what the detector raised."""
        with self._changed:
            found, self._found = self._found, None
        if isinstance(found, Exception):
            raise found
        return found

    def forget(self) -> None:
        """Whatever was found, or will be in the frame that is being looked at, is nobody's business any more."""
        with self._changed:
            self._found, self._unwanted = None, self._job is not None

    def wait(self, timeout_s: float) -> None:
        """Return when nothing is being looked at any more, or after so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._job is None, timeout_s)

    def end(self, timeout_s: float = 2.0) -> None:
        """Let the thread end when it is done with its frame, and wait so long for it: a process that ends in the midst
        of an engine's call is aborted by the engine's library."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        _step_back()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._job is not None or self._ended)
                if self._job is None or self._ended:
                    return
                detector, frame = self._job
            found: Found | Exception
            try:
                began = time.perf_counter()
                detections = detector.detect(frame.color)
                looks = appearance(frame.color, detections)
                ms = (time.perf_counter() - began) * 1e3
                found = Found(detector, frame.timestamp_s, frame.color.shape, detections, looks, ms)
            except Exception as error:  # it is raised again on the thread that works on the frames
                found = error
            del frame
            with self._changed:
                self._found, self._job = (None if self._unwanted else found), None
                self._unwanted = False
                self._changed.notify_all()
            del found
