"""The loop that watches whether camera and bed are where they were calibrated.

It looks every two seconds and keeps no picture. Where no reference was taken yet, looks at which
nobody stands in view become it (`watch_reference`); from then on it is watched. A newer confirmed calibration in the
same folder ends it, for whoever started it to start it anew on that one. While somebody beside the bed has paused the
live picture, nothing is looked at.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from calibration.drift import LOOK_EVERY_S, DriftMonitor, DriftReference, Verdict
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.files import load_estimate
from calibration.spots import WIDTH
from runtime.bus import ResultServer
from runtime.capture.ring import RingReader
from runtime.capture.source import StaleFrame
from runtime.notify import notify
from runtime.pause import Paused, PauseSwitch
from runtime.watch_reference import ReferenceTaker, look_of


class DriftWatch:
    """The loop. `run` blocks until `stop`; every pass ends in a message, so that silence means the process is gone."""

    def __init__(
        self, reader: RingReader, calibration: Path, reference: Path, socket: Path, *, results: Path,
        pause: PauseSwitch | None = None, keeping: Callable[[str], None] = lambda what: None,
    ) -> None:  # fmt: skip
        """results: the socket on which the live process says who is in the picture. pause: the site's. keeping: told,
        before a reference is kept, what it holds; whatever it raises is told, and nothing is kept.

        Raises WardposeError where the calibration is not confirmed or the reference can't be read.
        """
        self._reader, self._calibration, self._reference_file = reader, calibration, reference
        self._estimate = _confirmed(calibration)
        self._pause, self._keeping = pause, keeping
        self._stop = threading.Event()
        self._taker = ReferenceTaker(reader, results, self._estimate)
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
            self._taker.close()
            self._server.close()

    def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0 and not self._stop.wait(min(left, 1.0)):
            notify("WATCHDOG=1")

    def _step(self) -> dict[str, Any]:
        try:
            if self._pause is not None:
                self._pause.require_off()
            frame = self._reader.read_latest()
        except Paused as error:
            self._taker.forget()  # nothing of a picture is kept over a pause
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
            return self._take()
        return message_of(self._monitor.look(look_of(frame), time.monotonic()))

    def _take(self) -> dict[str, Any]:
        try:
            taken = self._taker.look()
            if isinstance(taken, str):
                return _told("starting", taken)
            self._keeping(contents(taken))
            taken.save(self._reference_file)
        except StaleFrame as error:
            return _told("no-signal", error.what)
        except WardposeError as error:
            return _told("blind", error.what)
        self._monitor = DriftMonitor(taken, self._estimate)
        return _told("steady", "watching from now on")


def contents(reference: DriftReference) -> str:
    """What a reference holds, in words."""
    rim = "nothing of the bed"
    if reference.bed is not None:
        rim = f"{len(reference.bed.pieces)} straight pieces of the bed's rim"
    return f"{len(reference.background.points)} spots of the room, {rim}; no picture"


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


def serve(
    ring: str, calibration: Path, reference: Path, socket: Path, *, results: Path, pause: PauseSwitch | None = None,
    keeping: Callable[[str], None] = lambda what: None,
) -> None:  # fmt: skip
    """Be the watch's process until SIGTERM or SIGINT; see `DriftWatch`."""
    with RingReader(ring) as reader:
        watch = DriftWatch(reader, calibration, reference, socket, results=results, pause=pause, keeping=keeping)
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, lambda *_: watch.stop())
        watch.run()
