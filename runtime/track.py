"""Following people from frame to frame, so that each keeps one number, also behind somebody else."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from runtime.detections import Detections, iou_matrix

# How much of a newly measured velocity enters the estimate: frames are ~50 ms apart and boxes jitter by pixels.
_VELOCITY_GAIN = 0.3
# Seconds for which somebody who is missing is taken to go on; then to have stopped about there, and to be met again
# within so many of their own sizes, and so many more a second.
_GOES_ON_S, _NEAR, _NEARER_PER_S = 1.0, 0.75, 0.35
# How much of a new look enters what somebody is known to look like; looks that differ more are two people's.
_LOOK_GAIN, _ALIKE = 0.1, 0.6
# What a perfect likeness weighs against a perfect overlap, where both speak.
_LOOK_WEIGHT = 1.5
# Looks that are hardly alike are never one person's; and what a second of absence costs where several could be it.
_VETO, _MISSING = 0.6, 0.3
_IN_PLACE = 0.6


@dataclass(slots=True)
class _Track:
    id: int
    xyxy: NDArray[np.float64]
    seen_s: float
    score: float
    look: NDArray[np.float64] | None = None
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))

    def predicted(self, now_s: float) -> NDArray[np.float64]:
        """The box moved on at constant velocity; its size is never extrapolated below nothing."""
        moved = self.xyxy + self.velocity * min(now_s - self.seen_s, _GOES_ON_S)
        return np.concatenate([np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])])

    def see(
        self, xyxy: NDArray[np.float64], now_s: float, score: float, look: NDArray[np.float64] | None, alone: bool
    ) -> None:
        elapsed = now_s - self.seen_s
        if elapsed > _GOES_ON_S:
            self.velocity = np.zeros(4)
        elif elapsed > 0:
            self.velocity += _VELOCITY_GAIN * ((xyxy - self.xyxy) / elapsed - self.velocity)
        self.xyxy, self.seen_s, self.score = xyxy, now_s, score
        if look is not None and (alone or self.look is None):  # where two overlap, a box shows both
            self.look = look if self.look is None else (1 - _LOOK_GAIN) * self.look + _LOOK_GAIN * look


class Tracker:
    """Assigns track ids (Hungarian method): first by overlap with each track's constant-velocity prediction and by
    likeness, then, of those left, to somebody who was lost near there and looks alike.

    iou: least overlap of a prediction and a detection that can be the same person. forget_s: how long a person may
    be missing and keep the number. Numbers count from 1 and are never given twice.
    """

    def __init__(self, iou: float = 0.2, forget_s: float = 15.0) -> None:
        self.iou, self.forget_s = iou, forget_s
        self._tracks: list[_Track] = []
        self._next_id = 1
        self._shown_s = -np.inf

    def between(self, now_s: float, width: int, height: int) -> Detections:
        """Whom the last `update` saw, moved on to a frame on which no detector ran, within its width and height."""
        there = [t for t in self._tracks if t.seen_s == self._shown_s and now_s >= t.seen_s]
        if not there:
            return replace(Detections.empty(), track_id=np.empty(0, np.int64))
        boxes = np.clip(np.stack([t.predicted(now_s) for t in there]), 0, [width, height, width, height])
        return Detections(
            boxes.astype(np.float32), np.array([t.score for t in there], np.float32), np.array([t.id for t in there])
        )

    def update(self, detections: Detections, now_s: float, looks: NDArray[np.floating] | None = None) -> Detections:
        """The same detections in the same order, each with its `track_id`. now_s: the frame's time, in seconds.

        looks: (N, D) of `runtime.appearance`, each row a distribution; None: boxes alone tell.
        """
        self._tracks = [t for t in self._tracks if 0 <= now_s - t.seen_s <= self.forget_s]
        boxes, scores = detections.xyxy.astype(np.float64), detections.score.tolist()
        self._shown_s = now_s
        known = [None] * len(boxes) if looks is None else [*np.asarray(looks, np.float64)]
        ids = np.zeros(len(boxes), np.int64)
        among = iou_matrix(boxes, boxes) - np.eye(len(boxes)) if len(boxes) else np.zeros((0, 0))
        alone = among.max(1, initial=0.0) < 0.1
        recent = [t for t in self._tracks if now_s - t.seen_s <= _GOES_ON_S]
        for person, track in _pairs(self._overlap(boxes, known, recent, now_s)):
            recent[track].see(boxes[person], now_s, scores[person], known[person], bool(alone[person]))
            ids[person] = recent[track].id
        left = np.flatnonzero(ids == 0)
        given = set(ids.tolist())
        lost = [t for t in self._tracks if t.id not in given]
        for place, track in _pairs(_met_again(boxes[left], [known[p] for p in left], lost, now_s)):
            person = int(left[place])
            lost[track].see(boxes[person], now_s, scores[person], known[person], bool(alone[person]))
            ids[person] = lost[track].id
        for person in np.flatnonzero(ids == 0).tolist():
            self._tracks.append(_Track(self._next_id, boxes[person], now_s, scores[person], known[person]))
            ids[person] = self._next_id
            self._next_id += 1
        return Detections(detections.xyxy, detections.score, ids)

    def _overlap(
        self, boxes: NDArray[np.float64], looks: list[NDArray[np.float64] | None], tracks: list[_Track], now_s: float
    ) -> NDArray[np.float64]:
        """(people, tracks) how well they fit; 0 for pairs that can't be the same person, which must not sway others."""
        if not tracks or not len(boxes):
            return np.zeros((len(boxes), len(tracks)))
        overlap = iou_matrix(boxes, np.stack([t.predicted(now_s) for t in tracks]))
        like = _likeness(looks, tracks)
        missing = np.array([now_s - t.seen_s for t in tracks])
        known = np.array([[a is not None and t.look is not None for t in tracks] for a in looks])
        # Who stays in their place keeps their number also when the light is switched on.
        stranger = known & (like < _VETO) & (overlap < _IN_PLACE)
        fit = overlap + _LOOK_WEIGHT * like - _MISSING * missing
        return np.where((overlap >= self.iou) & ~stranger, np.maximum(fit, 1e-6), 0)


def _met_again(
    boxes: NDArray[np.float64], looks: list[NDArray[np.float64] | None], tracks: list[_Track], now_s: float
) -> NDArray[np.float64]:
    """(people, tracks) how likely somebody found is who was lost near there; 0 for whoever can't be."""
    fit = np.zeros((len(boxes), len(tracks)))
    if not tracks or not len(boxes):
        return fit
    like = _likeness(looks, tracks)
    for column, track in enumerate(tracks):
        box = track.predicted(now_s)
        size = np.sqrt(max((box[2:] - box[:2]).prod(), 1.0))
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        apart = np.linalg.norm(middle - (box[:2] + box[2:]) / 2, axis=1) / size
        sizes = np.sqrt(np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1.0)) / size
        reach = _NEAR + _NEARER_PER_S * (now_s - track.seen_s)
        seen_apart = track.look is not None and looks[0] is not None
        possible = (apart <= reach) & (sizes > 0.5) & (sizes < 2.0) & ((like[:, column] >= _ALIKE) | (not seen_apart))
        fit[:, column] = np.where(possible, 1 / (1 + apart) + like[:, column], 0)
    return fit


def _likeness(looks: list[NDArray[np.float64] | None], tracks: list[_Track]) -> NDArray[np.float64]:
    """(people, tracks) Bhattacharyya's coefficient of their looks, 0 where one isn't known."""
    return np.array(
        [
            [0.0 if a is None or t.look is None else float(np.sqrt(np.maximum(a * t.look, 0)).sum()) for t in tracks]
            for a in looks
        ]
    ).reshape(len(looks), len(tracks))


def _pairs(fit: NDArray[np.float64]) -> list[tuple[int, int]]:
    people, tracks = linear_sum_assignment(-fit)
    return [(int(p), int(t)) for p, t in zip(people, tracks, strict=True) if fit[p, t] > 0]
