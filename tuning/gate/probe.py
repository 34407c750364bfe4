"""What is measured of a candidate on this box: the same answers from its exported engine, and the frame rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.detect import letterbox
from runtime.detections import Detections, iou_matrix
from runtime.engines.engine import InferenceEngine
from runtime.skeleton import Skeletons
from tuning.families.family import Reference
from tuning.gate.settings import GateSettings

Color = NDArray[np.uint8]
PROBE_FRAMES = 8
_SHOWN = 0.25  # score from which a box must be the same in both
# A box whose score stands this close to `_SHOWN` may be on either side of it.
_EDGE = 0.02
_SAME_IOU = 0.5
_SURE = 0.35  # confidence of a joint that is looked at
_ROUNDS, _FEWEST_ROUNDS, _WARM = 7, 2, 2
_CLEARLY = 1.1  # times the rate that is wanted


@dataclass(frozen=True, slots=True)
class Likeness:
    """How far two forms of one model are apart on probe frames. frames: how many were shown; answers: boxes or joints
    that were compared; worst_px: the largest difference of any; lost: those that only one of the two has."""

    against: str
    frames: int
    answers: int
    worst_px: float
    lost: int


@dataclass(frozen=True, slots=True)
class Rate:
    """Frames a second of the live path on this box with the candidate, and with the model in use in its place; each
    frame by its quickest time."""

    candidate: float
    current: float

    def wanted(self, settings: GateSettings) -> float:
        """What the candidate must do."""
        return min(settings.least_rate * self.current, settings.full_rate)


class TrainedEngine:
    """A trained model as it left the training, in an engine's place."""

    why: tuple[str, ...] = ()

    def __init__(self, reference: Reference, like: InferenceEngine) -> None:
        self.name, self.info, self._reference = "as trained", like.info, reference

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return self._reference(batch)


def answers_finite(engine: InferenceEngine, frames: Sequence[Color]) -> bool:
    """Whether every number that a model answers to these frames is one: a NaN in its weights spoils some of them."""
    return all(np.isfinite(answer).all() for color in frames for answer in engine.run(letterbox(color, engine.info)[0]))


def same_boxes(
    one: Callable[[Color], Detections], other: Callable[[Color], Detections], frames: Sequence[Color], against: str
) -> Likeness:
    """Hold the boxes that a detector shows against those of its other form `against`."""
    worst, answers, lost = 0.0, 0, 0
    for color in frames:
        a, b = one(color), other(color)
        answers += int((a.score >= _SHOWN).sum())
        for first, second in ((a, b), (b, a)):
            sure, all_ = first[first.score >= _SHOWN + _EDGE], second[second.score >= _SHOWN - _EDGE]
            overlap = iou_matrix(sure.xyxy, all_.xyxy) if len(sure) and len(all_) else np.zeros((len(sure), 0))
            for row, box in zip(overlap, sure.xyxy, strict=True):
                if not row.size or row.max() < _SAME_IOU:
                    lost += 1
                else:
                    worst = max(worst, float(np.abs(all_.xyxy[row.argmax()] - box).max()))
    return Likeness(against, len(frames), answers, worst, lost)


def same_joints(
    one: Callable[[Color, Detections], Skeletons],
    other: Callable[[Color, Detections], Skeletons],
    frames: Sequence[Color],
    people: Sequence[Detections],
    against: str,
) -> Likeness:
    """Hold the joints that a pose model is sure of against those of its other form; people: whom to look at."""
    worst, answers, lost = 0.0, 0, 0
    for color, boxes in zip(frames, people, strict=True):
        if not len(boxes):
            continue
        a, b = one(color, boxes), other(color, boxes)
        sure = a.score >= _SURE
        answers += int(sure.sum())
        lost += int((sure & (b.score < _SURE / 2)).sum())
        if sure.any():
            worst = max(worst, float(np.abs(a.keypoints - b.keypoints).max(-1)[sure].max()))
    return Likeness(against, len(frames), answers, worst, lost)


def measured_rate(
    candidate: Callable[[Color], object], current: Callable[[Color], object], frames: Sequence[Color],
    settings: GateSettings | None = None,
) -> Rate:  # fmt: skip
    """How many frames a second each works through. They take turns frame by frame, and each frame's quickest time
    counts, since whatever else the box does can only slow it; a candidate that is clearly quick enough need not be
    timed on."""
    settings = settings or GateSettings()
    works = (candidate, current)
    quickest = np.full((len(works), len(frames)), np.inf)
    for color in frames[:_WARM]:
        for work in works:
            work(color)
    for round_ in range(_ROUNDS):
        for index, color in enumerate(frames):
            for work, row in zip(works, quickest, strict=True):
                begin = time.perf_counter()
                work(color)
                row[index] = min(row[index], time.perf_counter() - begin)
        seconds = quickest.sum(1)
        rate = Rate(*(float(len(frames) / max(each, 1e-9)) for each in seconds))
        if round_ + 1 >= _FEWEST_ROUNDS and rate.candidate >= _CLEARLY * rate.wanted(settings):
            break
    return rate
