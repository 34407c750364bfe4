"""The frame ring: what a frame costs to cross, and how soon the display knows that the camera's process is gone."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live import running, wait_until_live
from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.bus import ResultClient
from runtime.capture.ring import RingReader, RingWriter, ring_path
from runtime.frames import Frame

_SOURCE = "simulated:tag_sheet"
_SHOWN_WITHIN_S = 10.0


def run(frames: int = 300, *, detector: Path | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Time `frames` crossings of a 720p frame, then put faults to the real processes, which look for people with the
    ONNX file `detector`; without one, there are no faults.

    write_ms, read_ms: processor time of one frame's writing and reading, medians; copy_ms: of copying its bytes once,
    for comparison. mbytes: one frame's. shown_s: from each fault to the first message to the display that is not live.
    """
    colour = _kinect_frame(np.random.default_rng(0), depth=False)
    whole = _kinect_frame(np.random.default_rng(0), depth=True)
    result: dict[str, Any] = {"color": _crossing(colour, frames), "color_depth_infrared": _crossing(whole, frames)}
    result["shown_s"] = _faults(detector, progress) if detector else {}
    return result


def _kinect_frame(rng: np.random.Generator, *, depth: bool) -> Frame:
    color = rng.integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    jpeg = rng.integers(0, 256, 220_000, dtype=np.uint8)
    if not depth:
        return Frame(color, time.monotonic(), 0, "bench", jpeg=jpeg)
    planes = rng.integers(0, 5000, (2, 576, 640), dtype=np.uint16)
    return Frame(color, time.monotonic(), 0, "bench", depth=planes[0], infrared=planes[1], jpeg=jpeg)


def _crossing(frame: Frame, frames: int) -> dict[str, float]:
    planes = [plane for plane in (frame.color, frame.depth, frame.infrared, frame.jpeg) if plane is not None]
    name = f"bench-{os.getpid()}"
    spent: dict[str, list[float]] = {"write_ms": [], "read_ms": [], "copy_ms": []}
    with RingWriter(name) as writer, RingReader(name) as reader:
        steps: dict[str, Callable[[], Any]] = {
            "write_ms": lambda: writer.write(frame, live=False),
            "read_ms": lambda: reader.read_latest(60_000),
            "copy_ms": lambda: [plane.copy() for plane in planes],
        }
        for _ in range(frames):
            for step, work in steps.items():
                before = time.thread_time()
                work()
                spent[step].append((time.thread_time() - before) * 1e3)
    medians = {step: round(float(np.median(times)), 3) for step, times in spent.items()}
    return medians | {"mbytes": round(sum(plane.nbytes for plane in planes) / 1e6, 2)}


def _faults(detector: Path, progress: Progress | None) -> dict[str, float]:
    """Each fault in turn, on processes of its own kind; the live path comes back after each."""
    shown = {}
    with tempfile.TemporaryDirectory(prefix="wardpose-bench-") as folder, ExitStack() as started:
        ring, socket = f"bench-{os.getpid()}", Path(folder) / "live.sock"
        command = ["runtime.capture.process", "--source", _SOURCE, "--ring", ring]
        capture = started.enter_context(running(command))
        live = ["runtime.live", "--ring", ring, "--detector", str(detector), "--socket", str(socket)]
        live_process = started.enter_context(running(live))
        client = started.enter_context(ResultClient(socket))
        started.callback(lambda: ring_path(ring).unlink(missing_ok=True))

        def until_shown(fault: Callable[[], None]) -> float:
            wait_until_live(client, live_process, progress)
            fault()
            began = time.monotonic()
            while time.monotonic() < began + _SHOWN_WITHIN_S:
                if client.latest(_SHOWN_WITHIN_S)["state"] != "live":
                    return round(time.monotonic() - began, 2)
            raise WardposeError("a fault of the camera was never shown", where="bench ring", mend="report this")

        shown["capture frozen"] = until_shown(lambda: capture.send_signal(signal.SIGSTOP))
        capture.send_signal(signal.SIGCONT)
        shown["capture killed"] = until_shown(capture.kill)
        capture.wait()
        capture = started.enter_context(running(command))
        wait_until_live(client, live_process, progress)
    return shown
