"""How unsure the models are lately, compared with how unsure they were after they were taken in use.

Six running means are all that is kept, in memory and, of the time after tuning, in a file: no frame, no box, no joint.
When the models have become much less sure than they were, what the camera sees has moved away from what they were tuned
on; which of the means has moved too says how.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calibration.atomic import write_text
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from runtime.frames import Frame
from runtime.pipeline import LiveResult

FIGURES = ("unsure", "light", "contrast", "people", "size", "wide")
# Seconds with people in view: of which the means after tuning are learnt, and over which those of now run.
LEARNT_S, RUNNING_S = 600.0, 300.0
# Retargeting is proposed from this ratio on, and until it has fallen below the other.
PROPOSE_FROM, PROPOSE_UNTIL = 1.5, 1.3
# What a mean moves by itself in a day, at least: of those on a logarithmic scale a third.
_STILL = {"unsure": 0.05, "light": 0.3, "contrast": 0.3, "people": 0.6, "size": 0.25, "wide": 0.3}
_SIGMAS = 3.0
_LONGEST_STEP_S, _SAVE_EVERY_S = 1.0, 60.0
_MOST_KEPT = 8


@dataclass(frozen=True, slots=True)
class Unsureness:
    """now, after_tuning: 0…1, the latter None while it is being learnt. changed: what has moved, in words."""

    now: float
    after_tuning: float | None
    retarget: bool
    changed: tuple[str, ...]

    @property
    def ratio(self) -> float | None:
        return None if self.after_tuning is None else self.now / max(self.after_tuning, 0.01)

    def to_dict(self) -> dict[str, Any]:
        ratio, after = self.ratio, self.after_tuning
        words = ""
        if self.retarget and ratio is not None:
            why = "; ".join(self.changed) or "neither light nor people's size or posture tell why"
            words = f"the models are {ratio:.1f} times as unsure as after tuning: retargeting is proposed ({why})"
        return {
            "now": round(self.now, 3), "after_tuning": None if after is None else round(after, 3),
            "ratio": None if ratio is None else round(ratio, 2), "retarget": self.retarget,
            "changed": list(self.changed), "words": words,
        }  # fmt: skip


@dataclass(slots=True)
class _Means:
    """Means and variances over time, exponentially forgotten once `span_s` of it was seen."""

    span_s: float
    seen_s: float = 0.0
    mean: np.ndarray[Any, np.dtype[np.float64]] | None = None
    variance: np.ndarray[Any, np.dtype[np.float64]] | None = None

    def take(self, figures: np.ndarray[Any, np.dtype[np.float64]], step_s: float) -> None:
        self.seen_s += step_s
        if self.mean is None or self.variance is None:
            self.mean, self.variance = figures.copy(), np.zeros_like(figures)
            return
        part = step_s / min(self.seen_s, self.span_s) if self.seen_s > 0 else 0.0
        away = figures - self.mean
        self.mean = self.mean + part * away
        self.variance = (1 - part) * (self.variance + part * away**2)


class UnsurenessWatch:
    """Takes in each frame's result. No thread of its own; `file` is written at most once a minute.

    file: where the means after tuning are kept, by the models' names; None: in memory alone.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._models = ""
        self._after, self._now = _Means(LEARNT_S), _Means(RUNNING_S)
        self._at_s, self._saved_s, self._retarget = -np.inf, -np.inf, False

    def use(self, models: str) -> None:
        """These models work from now on; what is known of them is read from the file."""
        if models != self._models:
            self._models = models
            self._after, self._now, self._retarget = self._read(), _Means(RUNNING_S), False

    def update(self, frame: Frame, result: LiveResult) -> None:
        """Take in a frame in which somebody is; one without people says nothing of how sure the models are."""
        now_s = frame.timestamp_s
        step_s = float(np.clip(now_s - self._at_s, 0.0, _LONGEST_STEP_S)) if np.isfinite(self._at_s) else 0.0
        self._at_s = now_s
        if not len(result.detections) or step_s == 0:
            return
        figures = _figures(frame, result)
        self._now.take(figures, step_s)
        if self._after.seen_s < LEARNT_S:
            self._after.take(figures, step_s)
            if now_s - self._saved_s >= _SAVE_EVERY_S or self._after.seen_s >= LEARNT_S or now_s < self._saved_s:
                self._saved_s = now_s
                self._keep()

    def told(self) -> Unsureness | None:
        """The comparison; None before anybody was seen."""
        if self._now.mean is None:
            return None
        now = float(self._now.mean[0])
        if self._after.mean is None or self._after.seen_s < LEARNT_S:
            return Unsureness(now, None, False, ())
        after = float(self._after.mean[0])
        ratio = now / max(after, 0.01)
        settled = self._now.seen_s >= RUNNING_S
        self._retarget = settled and ratio >= (PROPOSE_UNTIL if self._retarget else PROPOSE_FROM)
        return Unsureness(now, after, self._retarget, self._changed() if self._retarget else ())

    def _changed(self) -> tuple[str, ...]:
        assert self._now.mean is not None
        assert self._after.mean is not None
        assert self._after.variance is not None
        spread = np.maximum(np.sqrt(self._after.variance), [_STILL[name] / _SIGMAS for name in FIGURES])
        moved = (self._now.mean - self._after.mean) / spread
        away = dict(zip(FIGURES, (self._now.mean - self._after.mean).tolist(), strict=True))
        beyond = {name for name, sigmas in zip(FIGURES, moved.tolist(), strict=True) if abs(sigmas) >= _SIGMAS}
        told = []
        if "light" in beyond:
            told.append(f"light: {np.exp(away['light']):.1f} times as bright")
        if "contrast" in beyond:
            told.append(f"light: {np.exp(away['contrast']):.1f} times the contrast")
        if "wide" in beyond:
            told.append(f"posture: people are {np.exp(away['wide']):.1f} times as wide for their height")
        if "size" in beyond:
            told.append(f"person: appears {np.exp(away['size']):.1f} times as large")
        if "people" in beyond:
            told.append(f"person: {abs(away['people']):.1f} people {'more' if away['people'] > 0 else 'fewer'} in view")
        return tuple(told)

    def _read(self) -> _Means:
        found = _Means(LEARNT_S)
        try:
            row = parse_json(self._file.read_text())[self._models] if self._file else None
            if row is not None:
                mean, variance = (np.array([float(row[which][name]) for name in FIGURES]) for which in ("mean", "var"))
                found = _Means(LEARNT_S, float(row["seen_s"]), mean, variance)
        except (OSError, ValueError, TypeError, KeyError):
            return _Means(LEARNT_S)
        return found

    def _keep(self) -> None:
        if self._file is None or self._after.mean is None or self._after.variance is None:
            return
        try:
            kept = parse_json(self._file.read_text())
            kept = kept if isinstance(kept, dict) else {}
        except (OSError, ValueError):
            kept = {}
        kept.pop(self._models, None)
        kept[self._models] = {
            "seen_s": round(self._after.seen_s, 1),
            "mean": dict(zip(FIGURES, self._after.mean.round(5).tolist(), strict=True)),
            "var": dict(zip(FIGURES, self._after.variance.round(6).tolist(), strict=True)),
        }
        try:
            write_text(self._file, json.dumps(dict(list(kept.items())[-_MOST_KEPT:]), indent=1))
        except WardposeError:  # a full disk: it is learnt again after the next start
            return


def _figures(frame: Frame, result: LiveResult) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(6,) `FIGURES` of one frame; light, contrast, size and shape as logarithms."""
    doubt = 1 - result.detections.score.astype(np.float64)
    if len(result.skeletons):
        doubt = (doubt + 1 - result.skeletons.score.astype(np.float64).mean(1)) / 2
    grey = frame.color[::16, ::16].astype(np.float64).mean(-1)
    extent = np.maximum((result.detections.xyxy[:, 2:] - result.detections.xyxy[:, :2]).astype(np.float64), 1.0)
    size = np.sqrt(extent.prod(1) / (result.width * result.height))
    return np.array(
        [
            doubt.mean(), np.log(grey.mean() + 1), np.log(grey.std() + 1), len(doubt), np.log(size).mean(),
            np.log(extent[:, 0] / extent[:, 1]).mean(),
        ]
    )  # fmt: skip
