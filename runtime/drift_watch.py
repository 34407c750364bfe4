"""The process that watches whether camera and bed are where they were calibrated.

    python -m runtime.drift_watch --ring NAME --calibration X.json --reference X.npz --socket PATH

It looks every two seconds, at low priority, and keeps no picture. Where no reference was taken yet, the first looks
become it: from then on it is watched. A newer confirmed calibration in the same folder ends the process, for whoever
started it to start it anew on that one. While somebody beside the bed has paused the live picture, nothing is looked
at.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calibration.camera_drift import WIDTH
from calibration.drift import LOOK_EVERY_S, DriftMonitor, DriftReference, Look, Verdict, take_reference
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.files import load_estimate
from runtime.bus import ResultServer
from runtime.capture.ring import RingReader
from runtime.capture.source import StaleFrame
from runtime.frames import Frame
from runtime.notify import notify
from runtime.pause import Paused, PauseSwitch

REFERENCE_LOOKS = 5
_MAX_AGE_MS = 1000.0
_NICENESS = 10


def look_of(frame: Frame) -> Look:
    """What of a frame is looked at."""
    return Look(frame.color, frame.depth, frame.depth_camera, frame.color_from_depth)


class DriftWatch:
    """The loop. `run` blocks until `stop`; every pass ends in a message, so that silence means the process is gone."""

    def __init__(
        self, reader: RingReader, calibration: Path, reference: Path, socket: Path, pause: PauseSwitch | None = None
    ) -> None:
        self._reader, self._calibration, self._reference_file = reader, calibration, reference
        self._estimate = _confirmed(calibration)
        self._pause = pause
        self._stop = threading.Event()
        self._taken: list[Look] = []
        self._monitor: DriftMonitor | None = None
        if reference.exists():
            self._monitor = DriftMonitor(DriftReference.load(reference), self._estimate)
        self._server = ResultServer(socket)

    def stop(self) -> None:
        """End `run` within a look. Safe from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        notify("READY=1")
        try:
            while not self._stop.is_set() and not newer_is_confirmed(self._calibration):
                began = time.monotonic()
                message = self._step()
                self._server.publish({"looked_at": time.time(), **message})
                notify("WATCHDOG=1", f"STATUS={message['state']}: {message['text']}")
                self._wait_until(began + LOOK_EVERY_S)
        finally:
            notify("STOPPING=1")
            self._server.close()

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0 and not self._stop.wait(min(left, 1.0)):
            notify("WATCHDOG=1")

    def _step(self) -> dict[str, Any]:
        try:
            if self._pause is not None:
                self._pause.require_off()
            frame = self._reader.read_latest(_MAX_AGE_MS)
        except Paused as error:
            self._taken.clear()  # no picture is kept over a pause
            return _told("paused", f"{error.what}, so nothing is looked at")
        except StaleFrame as error:
            return _told("no-signal", error.what)
        height, width = frame.color.shape[:2]
        camera = self._estimate.camera
        if abs(width * camera.height - height * camera.width) > max(width, camera.width):
            return _told(
                "blind", f"the pictures are {width}×{height}, the calibration is of {camera.width}×{camera.height}"
            )
        if self._monitor is None:
            return self._take(look_of(frame))
        return message_of(self._monitor.look(look_of(frame), time.monotonic()))

    def _take(self, look: Look) -> dict[str, Any]:
        self._taken.append(look)
        if len(self._taken) < REFERENCE_LOOKS:
            return _told("starting", f"looking at the room: {len(self._taken)} of {REFERENCE_LOOKS}")
        try:
            reference = take_reference(self._taken, self._estimate)
            reference.save(self._reference_file)
        except WardposeError as error:
            return _told("blind", error.what)
        finally:
            self._taken.clear()
        self._monitor = DriftMonitor(reference, self._estimate)
        return _told("steady", "watching from now on")


def newer_is_confirmed(calibration: Path) -> bool:
    """Whether its folder has a newer confirmed calibration; their names begin with the time they were made."""
    for path in calibration.parent.glob("*.json"):
        if path.name > calibration.name:
            with contextlib.suppress(WardposeError):
                if load_estimate(path).confirmed:
                    return True
    return False


def _confirmed(calibration: Path) -> CalibrationEstimate:
    estimate = load_estimate(calibration)
    if not estimate.confirmed:
        raise WardposeError(
            "nobody has confirmed which end is the head", where=str(calibration), mend="wardpose calibrate confirm"
        )
    return estimate


def message_of(verdict: Verdict) -> dict[str, Any]:
    """A verdict as it goes over the bus."""
    if verdict.changes:
        text = "; ".join(change.text for change in verdict.changes)
        message = _told("drifted", text)
    elif verdict.blind:
        message = _told("blind", f"nothing of the room around the bed is recognised at {WIDTH} px")
    else:
        message = _told("steady", "camera and bed are where they were calibrated")
    return message | {
        "changes": [{"what": c.what, "amount": c.amount, "text": c.text} for c in verdict.changes],
        "camera_deg": verdict.camera_deg,
        "retune": bool(verdict.changes) and verdict.leaves_posterior,
    }


def _told(state: str, text: str) -> dict[str, Any]:
    return {"state": state, "text": text, "changes": [], "camera_deg": None, "retune": False}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m runtime.drift_watch", description=__doc__.splitlines()[0])
    parser.add_argument("--ring", required=True, help="name of the frame ring to read")
    parser.add_argument("--calibration", required=True, type=Path, help="the confirmed calibration")
    parser.add_argument("--reference", required=True, type=Path, help="what the room looked like; taken if missing")
    parser.add_argument("--socket", required=True, type=Path, help="Unix socket to serve verdicts on")
    parser.add_argument("--pause-file", type=Path, help="nothing is looked at while this file exists")
    options = parser.parse_args(arguments)
    os.nice(_NICENESS)
    pause = None if options.pause_file is None else PauseSwitch(options.pause_file)
    try:
        with RingReader(options.ring) as reader:
            watch = DriftWatch(reader, options.calibration, options.reference, options.socket, pause)
            for ending in (signal.SIGTERM, signal.SIGINT):
                signal.signal(ending, lambda *_: watch.stop())
            watch.run()
    except WardposeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
