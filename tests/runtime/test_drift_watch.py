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

from calibration.drift import DriftReference
from calibration.files import save_estimate
from runtime.bus import BusTimeout, ResultClient, ResultServer
from runtime.capture.ring import RingWriter
from runtime.frames import Frame
from tests.calibration.test_camera_drift import CAMERA, ESTIMATE, WIDE, seen
from tests.conftest import REPOSITORY

SERVE = """
import sys
from pathlib import Path
from calibration.errors import WardposeError
from runtime.drift_watch import serve
from runtime.pause import PauseSwitch
ring, calibration, reference, socket, results, pause = sys.argv[1:]
try:
    serve(ring, Path(calibration), Path(reference), Path(socket), results=Path(results), pause=PauseSwitch(Path(pause)),
          keeping=print)
except WardposeError as error:
    sys.exit(str(error))
"""
PATIENT = [250.0, 120.0, 390.0, 200.0]  # in the bed
NURSE = [20.0, 60.0, 90.0, 330.0]


class Box:
    """A ring with frames in it, a live process that says who is in them, a calibration on disk and the watch's
    process."""

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = f"test-drift-{os.getpid()}", folder
        self.calibration, self.socket = folder / "2026-01-01-test.json", folder / "drift.sock"
        self.reference, self.pause = folder / "x.watch", folder / "paused"
        save_estimate(ESTIMATE, self.calibration)
        self.ring = RingWriter(self.name)
        self.live: ResultServer | None = ResultServer(folder / "runtime.sock")
        self.people: list[list[float]] = []
        self.index = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, self.name, str(self.calibration), str(self.reference), str(self.socket),
             str(self.folder / "runtime.sock"), str(self.pause)],
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def show(self, turn_deg: float = 0.0) -> None:
        color = seen(WIDE, np.array([0.0, turn_deg, 0.0]))
        captured = time.monotonic_ns() / 1e9
        self.ring.write(Frame(color, captured, self.index, "test", CAMERA))
        self.index += 1
        if self.live is not None:
            people = [{"box": box} for box in self.people]
            self.live.publish({"state": "live", "captured_at": captured, "people": people})

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

    def wait_for_words(self, words: str, seconds: float = 30.0) -> None:
        """Keep frames coming until the watch says `words`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if words in self.wait_for("starting")["text"]:
                return
        raise AssertionError(f"never said {words!r}")

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.communicate(timeout=60)
        if self.live is not None:
            self.live.close()
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


def test_no_reference_is_taken_while_nobody_says_who_is_in_view(box: Box) -> None:
    assert box.live is not None
    box.live.close()
    box.live = None
    box.start()
    box.wait_for_words("waiting for the live picture")
    assert not box.reference.exists()


def test_no_reference_is_taken_while_somebody_stands_in_view(box: Box) -> None:
    box.people = [PATIENT, NURSE]
    box.start()
    box.wait_for_words("nobody stands in view")
    box.people = [PATIENT]
    box.wait_for_words("2 of 5")
    box.people = [PATIENT, NURSE]
    box.wait_for_words("nobody stands in view")  # and what was gathered is forgotten
    assert not box.reference.exists()
    box.people = [PATIENT]
    box.wait_for_words("1 of 5")


def test_it_says_what_it_keeps_before_it_is_kept_and_nothing_lies_at_a_person(box: Box) -> None:
    box.people = [[250.0, 0.0, 390.0, 300.0]]
    box.start()
    box.wait_for("steady")
    assert box.process is not None
    box.process.terminate()
    said, _ = box.process.communicate(timeout=60)
    assert "spots of the room" in said and "no picture" in said
    points = DriftReference.load(box.reference).background.points
    assert not ((points[:, 0] > 230) & (points[:, 0] < 410) & (points[:, 1] < 320)).any()


def test_a_bump_while_the_box_was_off_is_found_after_the_start(box: Box) -> None:
    box.start()
    box.wait_for("steady")
    assert box.process is not None
    box.process.terminate()
    box.process.communicate(timeout=60)
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
    box.start()
    assert box.process is not None
    _, told = box.process.communicate(timeout=20)
    assert box.process.returncode != 0
    assert "confirm" in told and told.count("\n") == 1
