"""Taking the reference of the watch: never while somebody stands in the picture, and never without knowing.

The live process says of each frame it works on who is in it. Only a frame of which it has said so is looked at. While
anybody is seen whose middle is not on the bed, nothing is taken, and what was gathered is forgotten. Of whoever lies in
the bed, their box with a margin is left out, as is the bed itself; and only what stays at its place over several looks
is kept. Without a live process that says who is there, the watch waits.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.drift import DriftReference, Look, take_reference
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from runtime.bed_view import BedView
from runtime.bus import BusTimeout, Message, ResultClient
from runtime.capture.ring import RingReader
from runtime.capture.source import StaleFrame
from runtime.frames import Frame

LOOKS = 5
_TRIES = 4  # to meet a frame that the live process works on as well; it takes the newest when it has ended one
_ANSWER_S = 1.5  # how long that may take


def look_of(frame: Frame) -> Look:
    """What of a frame is looked at."""
    return Look(frame.color, frame.depth, frame.depth_camera, frame.color_from_depth)


class ReferenceTaker:
    """Gathers looks. Belongs to one thread; `look` blocks for a few seconds at most."""

    def __init__(self, reader: RingReader, results: Path, estimate: CalibrationEstimate) -> None:
        """results: the socket on which the live process says who is in the picture."""
        self._reader, self._results, self._estimate = reader, ResultClient(results), estimate
        self._bed = BedView(estimate.camera, estimate.camera_from_bed, estimate.bed)
        self._looks: list[Look] = []
        self._people: list[NDArray[np.float64]] = []

    def look(self) -> DriftReference | str:
        """Look once; the reference when enough was seen, else why there is none yet.

        Raises StaleFrame where no frame comes, WardposeError where too little of the room can be recognised again.
        """
        known = self._frame_with_people()
        if known is None:
            return "waiting for the live picture to say who is in view"
        frame, boxes = known
        height, width = frame.color.shape[:2]
        if not np.isfinite(self._bed.turns(boxes, width, height)).all():
            self.forget()
            return "waiting until nobody stands in view"
        self._looks.append(look_of(frame))
        self._people.append(boxes)
        if len(self._looks) < LOOKS:
            return f"looking at the room: {len(self._looks)} of {LOOKS}"
        try:
            return take_reference(self._looks, self._estimate, np.concatenate(self._people))
        finally:
            self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._looks.clear()
        self._people.clear()

    def close(self) -> None:
        """Hang up."""
        self._results.close()

    def _frame_with_people(self) -> tuple[Frame, NDArray[np.float64]] | None:
        """A frame and the boxes (K, 4) that the live process found in this very frame; None where it does not say."""
        for _ in range(_TRIES):
            try:
                said = self._results.latest(timeout_s=_ANSWER_S)
                # The newest frame is the one that was spoken of, or the one that the live process works on now.
                frame = self._reader.read_latest()
                until = time.monotonic() + _ANSWER_S
                while said.get("captured_at") is None or said["captured_at"] < frame.timestamp_s:
                    said = self._results.latest(timeout_s=max(until - time.monotonic(), 0.0))
            except BusTimeout:
                continue
            except StaleFrame:
                raise
            except WardposeError:
                return None  # nobody serves there
            if said["captured_at"] == frame.timestamp_s and said["state"] == "live":
                return frame, _boxes(said)
        return None


def _boxes(message: Message) -> NDArray[np.float64]:
    return np.array([person["box"] for person in message["people"]], np.float64).reshape(-1, 4)
