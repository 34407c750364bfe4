"""The watch's process: looks through the real ring, speaks over the real bus, obeys a pause."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.files import save_estimate
from runtime.bus import BusTimeout, ResultClient
from runtime.capture.ring import RingWriter
from runtime.frames import Frame
from tests.calibration.test_camera_drift import CAMERA, ESTIMATE, WIDE, seen
from tests.conftest import REPOSITORY


class Box:
    """A ring with frames in it, a calibration on disk and the watch's process."""

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = f"test-drift-{os.getpid()}", folder
        self.calibration, self.socket = folder / "2026-01-01-test.json", folder / "drift.sock"
        self.reference, self.pause = folder / "x.watch.npz", folder / "paused"
        save_estimate(ESTIMATE, self.calibration)
        self.ring = RingWriter(self.name)
        self.index = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runtime.drift_watch", "--ring", self.name, "--calibration", str(self.calibration),
             "--reference", str(self.reference), "--socket", str(self.socket), "--pause-file", str(self.pause)],
            cwd=REPOSITORY,
        )  # fmt: skip

    def show(self, turn_deg: float = 0.0) -> None:
        color = seen(WIDE, np.array([0.0, turn_deg, 0.0]))
        self.ring.write(Frame(color, time.monotonic(), self.index, "test", CAMERA))
        self.index += 1

    def wait_for(self, state: str, turn_deg: float = 0.0, seconds: float = 60.0) -> dict[str, Any]:
        """Keep frames coming until the watch says `state`."""
        deadline, heard = time.monotonic() + seconds, "nothing"
        with ResultClient(self.socket) as client:
            while time.monotonic() < deadline:
                self.show(turn_deg)
                try:
                    message = client.latest(timeout_s=0.3)
                except BusTimeout:
                    continue
                except Exception:
                    time.sleep(0.2)
                    continue
                heard = f"{message['state']}: {message['text']}"
                if message["state"] == state:
                    return message
        raise AssertionError(f"never {state}; last heard {heard}")

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        self.ring.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.close()


def test_it_takes_a_reference_finds_a_bump_and_obeys_a_pause(box: Box) -> None:
    box.start()
    box.wait_for("steady")
    assert box.reference.stat().st_mode & 0o777 == 0o600
    message = box.wait_for("drifted", turn_deg=1.0)
    assert [change["what"] for change in message["changes"]] == ["camera"]
    assert abs(message["changes"][0]["amount"] - 1.0) < 0.1
    assert message["retune"]
    box.pause.touch()
    box.wait_for("paused", turn_deg=1.0)


def test_a_bump_while_the_box_was_off_is_found_after_the_start(box: Box) -> None:
    box.start()
    box.wait_for("steady")
    assert box.process is not None
    box.process.terminate()
    box.process.wait(10)
    box.start()
    box.wait_for("drifted", turn_deg=2.0)


def test_a_newer_confirmed_calibration_ends_it(box: Box) -> None:
    box.start()
    box.wait_for("starting")
    save_estimate(replace(ESTIMATE, made_at="later"), box.folder / "2026-01-02-test.json")
    assert box.process is not None
    assert box.process.wait(20) == 0


def test_an_unconfirmed_calibration_is_refused(box: Box) -> None:
    save_estimate(replace(ESTIMATE, confirmed=False), box.calibration)
    ended = subprocess.run(
        [sys.executable, "-m", "runtime.drift_watch", "--ring", box.name, "--calibration", str(box.calibration),
         "--reference", str(box.reference), "--socket", str(box.socket)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert "confirm" in ended.stderr and ended.stderr.count("\n") == 1
