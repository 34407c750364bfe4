"""Steady keypoints without lag: the one-euro filter (Casiez, Roussel, Vogel, CHI 2012), per person and keypoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.skeleton import KEYPOINTS, Skeletons


@dataclass(slots=True)
class _State:
    """One person's filter: position (17, 2) px, velocity (17, 2) px/s, time each keypoint was last believed (17,)."""

    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    seen_s: NDArray[np.float64]


class OneEuroSmoother:
    """Smooths tracked skeletons; a keypoint at rest is held still, a fast one is followed at once.

    rest_hz: cut-off for a keypoint at rest; lower is steadier. speed_gain: how much the cut-off rises with speed, in
    Hz per (px/s); higher lags less. gate: a keypoint scored below it is passed through and does not move the filter.
    forget_s: a keypoint not believed for longer starts afresh.
    """

    def __init__(
        self, rest_hz: float = 1.5, speed_gain: float = 0.02, gate: float = 0.3, forget_s: float = 0.5
    ) -> None:
        self.rest_hz, self.speed_gain, self.gate, self.forget_s = rest_hz, speed_gain, gate, forget_s
        self._people: dict[int, _State] = {}

    def lag_s(self, speed_px_s: float, fps: float) -> float:
        """How far behind a keypoint is shown that moves at a steady speed, in seconds; times the speed, the distance.

        The time constant of the cut-off that the filter settles on: it takes the speed from where the keypoint is shown
        to where it is measured, which the lag itself makes larger. At 640 × 360 and 2.5 m (122 px a metre), 30 frames a
        second: 70 ms and 7 mm at 0.1 m/s, 39 ms and 19 mm at 0.5 m/s, 21 ms and 32 mm at 1.5 m/s.
        """
        cutoff, rise = self.rest_hz + self.speed_gain * speed_px_s, self.speed_gain * speed_px_s * fps
        if rise == 0:
            return float(1 / (2 * np.pi * cutoff))
        return float((np.sqrt(cutoff**2 + 4 * rise / (2 * np.pi)) - cutoff) / (2 * rise))

    def update(self, skeletons: Skeletons, now_s: float) -> Skeletons:
        """The skeletons with their keypoints smoothed; those without track ids come back as they are."""
        if skeletons.track_id is None:
            return skeletons
        keypoints = skeletons.keypoints.copy()
        for person, track in enumerate(skeletons.track_id.tolist()):
            keypoints[person] = self._one(track, skeletons.keypoints[person], skeletons.score[person], now_s)
        self._people = {k: s for k, s in self._people.items() if now_s - s.seen_s.max() <= self.forget_s}
        return Skeletons(keypoints, skeletons.score, skeletons.track_id)

    def _one(
        self, track: int, measured: NDArray[np.float32], score: NDArray[np.float32], now_s: float
    ) -> NDArray[np.float64]:
        believed = score >= self.gate
        state = self._people.get(track)
        if state is None:
            state = _State(
                np.zeros((len(KEYPOINTS), 2)), np.zeros((len(KEYPOINTS), 2)), np.full(len(KEYPOINTS), -np.inf)
            )
            self._people[track] = state
        elapsed = now_s - state.seen_s
        fresh = believed & ~((elapsed > 0) & (elapsed <= self.forget_s))
        follow = believed & ~fresh
        state.position[fresh], state.velocity[fresh] = measured[fresh], 0
        dt = elapsed[follow, None]
        speed = (measured[follow] - state.position[follow]) / dt
        state.velocity[follow] += _gain(np.ones_like(dt), dt) * (speed - state.velocity[follow])
        cutoff = self.rest_hz + self.speed_gain * np.linalg.norm(state.velocity[follow], axis=1, keepdims=True)
        state.position[follow] += _gain(cutoff, dt) * (measured[follow] - state.position[follow])
        state.seen_s[believed] = now_s
        return np.where(believed[:, None], state.position, measured)


def _gain(cutoff_hz: NDArray[np.float64], dt: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weight of a new value in a first-order low pass of this cut-off and step."""
    turn = 2 * np.pi * cutoff_hz * dt
    return turn / (turn + 1)
