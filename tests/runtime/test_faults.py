"""Whatever happens to the camera is shown, said and mended, while the processes beside it go on.

The real capture process, the real live process and the display's hub, as at a bedside. Times are printed (`pytest -s`),
not judged closely: this machine may be busy. `wardpose bench ring` measures them.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from runtime.capture.ring import ring_path
from runtime.display.hub import Hub
from runtime.pause import PauseSwitch
from tests.conftest import REPOSITORY
from tests.runtime.kinect_stand_in import take_apart
from tests.runtime.onnx_graphs import constant_model, info

PERSON = np.array([[32, 32, 20, 10, 0.9]], np.float32).T
SHOWN_WITHIN_S = 5.0


class Box:
    """A capture process on a Kinect's stand-in, a live process, and what a display is told."""

    def __init__(self, folder: Path, kinect: Path, started: ExitStack) -> None:
        self.ring, self.kinect, self._started = f"test-{secrets.token_hex(6)}", kinect, started
        self.behave("")
        detector = constant_model(folder / "d.onnx", [PERSON], info())
        socket = folder / "live.sock"
        self.capture = self.start_capture()
        command = ["--ring", self.ring, "--detector", str(detector), "--socket", str(socket), "--threads", "1"]
        self.live = self._start("runtime.live", *command)
        self._hub = Hub(socket, PauseSwitch(folder / "pause.json"))
        started.callback(self._hub.close)
        self._number = 0

    def behave(self, behaviour: str) -> None:
        (self.kinect / "behaviour").write_text(behaviour)

    def start_capture(self) -> subprocess.Popen[bytes]:
        source = f"kinect:0#python={self.kinect / 'python'}&depth=false"
        return self._start("runtime.capture.process", "--source", source, "--ring", self.ring)

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=REPOSITORY,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "DISPLAY": ":99"},
        )
        self._started.callback(process.wait)
        self._started.callback(process.kill)
        return process

    def until(self, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = 60.0) -> dict[str, Any]:
        """The first message to the display that is wanted."""
        end = time.monotonic() + timeout_s
        while True:
            self._number, message = self._hub.after(self._number, 0.2)
            if wanted(message):
                return message
            assert time.monotonic() < end, f"never shown; last: {message}"

    def until_live(self) -> None:
        self.until(lambda message: message["state"] == "live" and len(message["people"]) == 1)

    def until_lost(self, since_s: float, what: str) -> dict[str, Any]:
        message = self.until(lambda message: message["state"] != "live", SHOWN_WITHIN_S)
        print(f"{what}: shown after {time.monotonic() - since_s:.2f} s: {message['message']}")
        assert message["people"] == []
        return message


@pytest.fixture(scope="module")
def kinect(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return take_apart(shared_data / "kinect" / "recording.mkv", tmp_path_factory.mktemp("kinect"))


@pytest.fixture(scope="module")
def box(kinect: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """One box for all: each test leaves it live again, which is the point."""
    with ExitStack() as started:
        box = Box(tmp_path_factory.mktemp("box"), kinect, started)
        box.until_live()
        yield box
    for path in ring_path(box.ring).parent.glob(f"*wardpose-{box.ring}*"):
        path.unlink()


def test_a_killed_capture_process_is_shown_and_its_successor_too(box: Box) -> None:
    box.capture.kill()
    assert "dead or hangs" in box.until_lost(time.monotonic(), "capture killed")["message"]
    box.capture.wait()
    box.capture = box.start_capture()
    box.until_live()


def test_a_frozen_capture_process_is_shown_and_its_return_too(box: Box) -> None:
    box.capture.send_signal(signal.SIGSTOP)
    assert "dead or hangs" in box.until_lost(time.monotonic(), "capture frozen")["message"]
    box.capture.send_signal(signal.SIGCONT)
    box.until_live()


def test_a_frozen_live_process_is_shown(box: Box) -> None:
    box.live.send_signal(signal.SIGSTOP)
    assert "stopped answering" in box.until_lost(time.monotonic(), "live frozen")["message"]
    box.live.send_signal(signal.SIGCONT)
    box.until_live()


@pytest.mark.parametrize(("behaviour", "said"), [("stuck", "stalled"), ("lost", "retrying"), ("garbage", "retrying")])
def test_a_camera_that_fails_is_said_to_and_tried_again(box: Box, behaviour: str, said: str) -> None:
    box.behave(behaviour)
    (worker,) = psutil.Process(box.capture.pid).children()
    worker.kill()  # the next one is the one that fails after three frames
    box.until_lost(time.monotonic(), "worker killed")
    message = box.until(lambda message: message["state"] != "live" and said in message["message"])
    print(f"{behaviour}: last picture {message['age_ms']} ms old when shown: {message['message']}")
    assert "kinect" in message["message"]
    box.behave("")
    box.until_live()
    assert box.capture.poll() is None and box.live.poll() is None


@pytest.mark.parametrize("spoiled", ["header", "frames", "removed", "replaced", "emptied"])
def test_a_spoiled_ring_is_made_anew(box: Box, spoiled: str) -> None:
    path = ring_path(box.ring)
    if spoiled == "removed":
        path.unlink()
    elif spoiled == "replaced":
        other = path.with_name(path.name + ".other")
        other.write_bytes(os.urandom(10_000))
        other.rename(path)
    elif spoiled == "emptied":
        os.truncate(path, 0)
    else:
        with path.open("r+b") as file:
            file.seek(0 if spoiled == "header" else 2048)
            file.write(os.urandom(2000 if spoiled == "header" else 1 << 20))
    until = time.monotonic() + 1.0
    while time.monotonic() < until:  # whatever is shown meanwhile, it is no mixture: the person is whole or absent
        box.until(lambda message: True)
    box.until_live()
    assert box.capture.poll() is None and box.live.poll() is None
