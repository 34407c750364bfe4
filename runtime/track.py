"""Following people from frame to frame, so that each keeps one number."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from runtime.detections import Detections, iou_matrix

# How much of a newly measured velocity enters the estimate: frames are ~50 ms apart and boxes jitter by pixels.
_VELOCITY_GAIN = 0.3


@dataclass(slots=True)
class _Track:
    id: int
    xyxy: NDArray[np.float64]
    seen_s: float
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))

    def predicted(self, now_s: float) -> NDArray[np.float64]:
        """The box moved on at constant velocity; its size is never extrapolated below nothing."""
        moved = self.xyxy + self.velocity * (now_s - self.seen_s)
        return np.concatenate([np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])])

    def see(self, xyxy: NDArray[np.float64], now_s: float) -> None:
        elapsed = now_s - self.seen_s
        if elapsed > 0:
            self.velocity += _VELOCITY_GAIN * ((xyxy - self.xyxy) / elapsed - self.velocity)
        self.xyxy, self.seen_s = xyxy, now_s


class Tracker:
    """Assigns track ids by best overlap with each track's constant-velocity prediction (Hungarian method).

    iou: least overlap of a prediction and a detection that can be the same person. forget_s: how long a person may
    be missing and keep the number. Numbers count from 1 and are never given twice.
    """

    def __init__(self, iou: float = 0.2, forget_s: float = 1.0) -> None:
        self.iou, self.forget_s = iou, forget_s
        self._tracks: list[_Track] = []
        self._next_id = 1

    def update(self, detections: Detections, now_s: float) -> Detections:
        """The same detections in the same order, each with its `track_id`. now_s: the frame's time, in seconds."""
        self._tracks = [t for t in self._tracks if 0 <= now_s - t.seen_s <= self.forget_s]
        boxes = detections.xyxy.astype(np.float64)
        ids = np.zeros(len(boxes), np.int64)
        if self._tracks and len(boxes):
            overlap = iou_matrix(boxes, np.stack([t.predicted(now_s) for t in self._tracks]))
            # Pairs that can't be the same person must not sway the assignment of those that can.
            possible = np.where(overlap >= self.iou, overlap, 0)
            for person, track in zip(*linear_sum_assignment(-possible), strict=True):
                if possible[person, track] > 0:
                    self._tracks[track].see(boxes[person], now_s)
                    ids[person] = self._tracks[track].id
        for person in np.flatnonzero(ids == 0):
            self._tracks.append(_Track(self._next_id, boxes[person], now_s))
            ids[person] = self._next_id
            self._next_id += 1
        return Detections(detections.xyxy, detections.score, ids)
