"""Whose pose is estimated in a frame: nobody's for nothing, and where there is no time for all, by turns.

A pose model looks at one person at a time, and a frame that waits for a whole group is late for each of them. So a
frame has as many looks as its time holds; they go to whoever has waited longest, and the others' skeletons are moved on
with their boxes until it is their turn. Somebody who lies still is looked at five times a second, which leaves the box
to whoever moves, to its jobs, or idle.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.detections import Detections
from runtime.skeleton import KEYPOINTS, Skeletons
from runtime.stillness import Place, is_still, place_of
from runtime.turn_search import LOOKS_A_FRAME

# Part of the time between two frames that looks may take; the rest is for capture, the detector and whoever watches.
_SHARE = 0.7
# Seconds: a skeleton grows no older than this, however late that makes the frame; and what is older is forgotten.
_OLDEST_S, _FORGET_S = 0.25, 1.0
# Seconds that somebody new is taken to have waited; and after which somebody who has not moved, and a box in which
# nobody was seen, are looked at again.
_NEW_S, _STILL_S, _IN_DOUBT_S = 0.1, 0.2, 0.3
# Looks of which the median tells what one costs, and what it is taken to cost (s) before the first.
_TIMED, _FIRST_S = 15, 0.02


@dataclass(frozen=True, slots=True)
class Share:
    """The looks of a frame: `people` (M,) indices of those whose pose is estimated, and how many are left to find out
    how somebody new is turned."""

    people: NDArray[np.intp]
    further: int


@dataclass(frozen=True, slots=True)
class FrameTime:
    """How much time a frame has, in seconds.

    apart_s: between a source's frames; since_s: since the last one that was worked on; both infinite where that is not
    known. spent_s: how much is gone already.
    """

    apart_s: float = np.inf
    since_s: float = np.inf
    spent_s: float = 0.0


@dataclass(slots=True)
class _Seen:
    """A skeleton, the middle (2,) of its person's box and the place where they were, when they were looked at; and when
    it still held, because nothing had moved there."""

    time_s: float
    keypoints: NDArray[np.float32]
    score: NDArray[np.float32]
    middle: NDArray[np.float32]
    place: Place | None
    held_s: float
    believed: bool = True


class Attention:
    """Shares the looks of frames, in their order, among tracked people, and remembers what was seen of each."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}
        self._look_s: deque[float] = deque([_FIRST_S], maxlen=_TIMED)
        self._left_s, self._odd = 0.0, False

    def share(
        self, color: NDArray[np.uint8], track_id: NDArray[np.int64], now_s: float, has: FrameTime, *, searching: bool
    ) -> Share:
        """Who is looked at in the frame of `now_s`, whose picture `color` is.

        searching: whether somebody's turn is to be found out.
        """
        self._seen = {track: seen for track, seen in self._seen.items() if 0 <= now_s - seen.time_s <= _FORGET_S}
        for seen in self._seen.values():
            if seen.place is not None and is_still(color, seen.place):
                seen.held_s = now_s
        waited = np.array([self._waited_s(track, now_s) for track in track_id.tolist()])
        due = np.flatnonzero(waited > 0)
        fit = len(due) + LOOKS_A_FRAME
        if has.apart_s < np.inf:
            look_s = float(np.median(self._look_s))
            # What a frame leaves over is the next ones', up to one look: where a look takes longer than a frame has,
            # most frames have one and some none.
            self._left_s = min(self._left_s + _SHARE * has.since_s, _SHARE * has.apart_s + look_s)
            fit = min(fit, max(1, int((_SHARE * has.apart_s - has.spent_s) / look_s)), int(self._left_s / look_s))
        further = 0
        if searching and fit:
            self._odd = not self._odd  # where all there is time for is one look, it is the search's every other time
            further = min(max(fit - len(due), int(self._odd)), LOOKS_A_FRAME)
        # Who would grow too old goes before all; and so that not all of a group do at once, a part of it in each frame.
        needed = 0
        if has.apart_s < np.inf:
            old = self.age_s(track_id, now_s)[due] + has.since_s > _OLDEST_S  # who lies still grows no older
            needed = max(int(old.sum()), int(old.size * min(has.since_s / _OLDEST_S, 1.0)) if old.any() else 0)
        longest = due[np.argsort(-waited[due], kind="stable")]
        return Share(np.sort(longest[: max(fit - further, needed)]), further)

    def took(self, looks: int, seconds: float) -> None:
        """So many looks took so long."""
        if looks:
            self._look_s.append(seconds / looks)
            self._left_s = max(self._left_s - seconds, 0.0)

    def everybody(
        self, color: NDArray[np.uint8], detections: Detections, seen: Skeletons, people: NDArray[np.intp], now_s: float
    ) -> Skeletons:
        """The skeletons of all `detections` (tracked, N): those just seen, of `people` (M,), and the others', moved on
        with their boxes unless nothing has moved there. Of whom nothing is known yet, the scores are 0."""
        middle = (detections.xyxy[:, :2] + detections.xyxy[:, 2:]) / 2
        keypoints, score = np.repeat(middle[:, None], len(KEYPOINTS), axis=1), np.zeros((len(middle), len(KEYPOINTS)))
        ids = np.empty(0, np.int64) if detections.track_id is None else detections.track_id
        for person, points, belief in zip(people.tolist(), seen.keypoints, seen.score, strict=True):
            place = place_of(color, detections.xyxy[person])
            self._seen[int(ids[person])] = _Seen(now_s, points, belief, middle[person], place, now_s)
        for person, track in enumerate(ids.tolist()):
            if (known := self._seen.get(track)) is not None:
                moved = 0.0 if known.held_s == now_s else middle[person] - known.middle
                keypoints[person] = known.keypoints + moved
                score[person] = known.score
        return Skeletons(keypoints.astype(np.float32), score.astype(np.float32), detections.track_id)

    def believe(self, track_id: NDArray[np.int64] | None) -> None:
        """Only these of the people are shown."""
        for track, seen in self._seen.items():
            seen.believed = track_id is not None and track in track_id

    def age_s(self, track_id: NDArray[np.int64] | None, now_s: float) -> NDArray[np.float64]:
        """(N,) how many seconds before `now_s` each person's skeleton held for the last time: they were looked at, or
        had not moved."""
        ids = [] if track_id is None else track_id.tolist()
        return np.array([now_s - self._seen[track].held_s if track in self._seen else 0.0 for track in ids])

    def forget(self) -> None:
        """Everybody."""
        self._seen.clear()

    def _waited_s(self, track: int, now_s: float) -> float:
        """For how long somebody has waited for a look; 0 for who needs none now."""
        if (seen := self._seen.get(track)) is None:
            return _NEW_S
        waited = now_s - seen.time_s
        rests_s = _IN_DOUBT_S if not seen.believed else _STILL_S if seen.held_s == now_s else 0.0
        return waited if waited >= rests_s else 0.0
