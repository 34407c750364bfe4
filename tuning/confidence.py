"""Joint confidence that means something: raw scores as the probability that a joint lies where the person's joint is.

Right is a joint within a tenth of the trunk's length of the truth. The map from score to probability rises and is
fitted by isotonic regression on frames that the model was not trained on, seen through the runtime's own pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import isotonic_regression

from calibration.errors import WardposeError
from runtime.capture.photograph import read_photograph
from runtime.detections import Detections
from runtime.skeleton import Skeletons
from runtime.turn import Aims, trunk_turn
from tuning.coco_folder import Picture

CLOSE = 0.1  # of the trunk's length
_BINS = 12
_SHOULDERS, _HIPS = [5, 6], [11, 12]
_BOX_ERROR = 0.07  # how far a detector's box may be off at each side, of the box's size
# A trunk seen from its end measures nothing: its length over the larger of its two breadths.
_SHORTEST_TRUNK = 0.7
# Fewer joints, or fewer of either kind, say nothing about a probability.
FEWEST_JOINTS, _FEWEST_OF_A_KIND = 200, 20

Pairs = tuple[tuple[float, float], ...]


class TooFewJoints(WardposeError):
    """There are too few joints, or too few right or wrong ones, to say anything about a probability."""


class PoseEstimator(Protocol):
    def estimate(self, color: NDArray[np.uint8], people: Detections, aims: Aims | None = None) -> Skeletons: ...


class CalibrationReport(BaseModel):
    """Expected calibration errors of the scores as they come and of the probabilities, on the frames of the fit."""

    model_config = ConfigDict(extra="forbid")

    joints: int = Field(title="Joints the map was fitted on")
    right: float = Field(title="Share of them that were right")
    error_before: float = Field(title="Expected calibration error of the raw scores")
    error_after: float = Field(title="Expected calibration error of the probabilities")


@dataclass(frozen=True, slots=True)
class Joints:
    """Joints of many people: `score` (N,) as the pipeline gives it, `right` (N,) bool, `hidden` (N,) bool: labelled
    as not visible."""

    score: NDArray[np.float64]
    right: NDArray[np.bool_]
    hidden: NDArray[np.bool_]


def trunk_length(keypoints: NDArray[np.floating]) -> float | None:
    """Pixels from the shoulders' to the hips' middle of labelled keypoints (17, 3).

    None where one of the four is not labelled or the trunk is seen from its end.
    """
    if not (keypoints[_SHOULDERS + _HIPS, 2] > 0).all():
        return None
    points = keypoints[:, :2]
    length = float(np.hypot(*(points[_SHOULDERS].mean(0) - points[_HIPS].mean(0))))
    breadth = max(float(np.hypot(*(points[a] - points[b]))) for a, b in (_SHOULDERS, _HIPS))
    return None if length < _SHORTEST_TRUNK * breadth or length < 1 else length


def observe_joints(
    pose: PoseEstimator,
    pictures: Sequence[Picture],
    *,
    seed: int = 0,
    every_joint_labelled: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Joints:
    """The joints that the pipeline finds on the pictures' people, in boxes that err as a detector's do.

    Each person is seen twice, as the runtime sees them: with nothing known, every turn searched, and with the turn of
    the last skeleton known. every_joint_labelled: a joint without a label lies outside the picture, as in synthetic
    images, so that its answer is wrong; else nothing is known of it and it is left out.
    """
    found: list[Joints] = []
    rng = np.random.default_rng(seed)
    for index, picture in enumerate(pictures):
        if progress:
            progress(index, len(pictures))
        people = np.array(
            [
                index
                for index, (keypoints, gone) in enumerate(zip(picture.keypoints, picture.ignored, strict=True))
                if not gone and trunk_length(keypoints) is not None
            ],
            np.intp,
        )
        if not len(people):
            continue
        color = read_photograph(picture.path)
        boxes = picture.boxes[people]
        size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        boxes = boxes + rng.uniform(-_BOX_ERROR, _BOX_ERROR, boxes.shape) * size
        seen = Detections(boxes.astype(np.float32), np.ones(len(people), np.float32))
        truth = picture.keypoints[people]
        turns = trunk_turn(truth[..., :2]) + rng.normal(0, np.deg2rad(10), len(people))
        for aims in (None, Aims(turns, np.full(len(people), np.nan))):
            skeletons = pose.estimate(color, seen, aims)
            for person, answer in enumerate(zip(skeletons.keypoints, skeletons.score, strict=True)):
                found.append(held_against(truth[person], *answer, every_joint_labelled=every_joint_labelled))
    return joined(found)


def held_against(
    truth: NDArray[np.floating], keypoints: NDArray[np.floating], score: NDArray[np.floating], *,
    every_joint_labelled: bool,
) -> Joints:  # fmt: skip
    """The joints of one skeleton (17, 2) with scores (17,) beside the labels (17, 3); none where the trunk, by which
    they are measured, is not labelled or seen from its end. every_joint_labelled: see `observe_joints`."""
    length = trunk_length(truth)
    labelled = truth[:, 2] > 0
    counted = np.ones_like(labelled) if every_joint_labelled else labelled
    if length is None:
        return joined(())
    away = np.hypot(*(np.asarray(keypoints, np.float64) - truth[:, :2]).T)
    right = labelled & (away <= CLOSE * length)
    return Joints(np.asarray(score, np.float64)[counted], right[counted], (truth[:, 2] == 1)[counted])


def joined(parts: Sequence[Joints]) -> Joints:
    """The joints of many people as one."""
    columns = [(part.score, part.right, part.hidden) for part in parts] or [
        (np.empty(0), np.empty(0, bool), np.empty(0, bool))
    ]
    return Joints(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def fit_confidence(score: NDArray[np.floating], right: NDArray[np.bool_]) -> Pairs:
    """Pairs of raw score and probability, both rising, for `ModelInfo.confidence`.

    Scores are gathered into groups of equal number; the groups' shares of right joints are made to rise by isotonic
    regression (pool adjacent violators). Raises TooFewJoints.
    """
    score, right = np.asarray(score, np.float64), np.asarray(right, bool)
    if len(score) < FEWEST_JOINTS or min(right.sum(), (~right).sum()) < _FEWEST_OF_A_KIND:
        raise TooFewJoints(
            f"{len(score)} joints, {int(right.sum())} of them right, are too few to fit a confidence",
            mend="make a data set with more people in it",
        )
    order = np.argsort(score, kind="stable")
    groups = [group for group in np.array_split(order, _BINS) if len(group)]
    raw = np.array([score[group].mean() for group in groups])
    # Scores that repeat may fill several groups: one knot a score.
    raw, place = np.unique(np.round(raw, 4), return_inverse=True)
    weight = np.bincount(place, [len(group) for group in groups])
    share = np.bincount(place, [right[group].sum() for group in groups]) / weight
    if len(raw) == 1:
        return ((0.0, round(float(share[0]), 4)), (1.0, round(float(share[0]), 4)))
    fitted = isotonic_regression(share, weights=weight).x
    return tuple((float(a), round(float(min(max(b, 0.0), 1.0)), 4)) for a, b in zip(raw, fitted, strict=True))


def expected_calibration_error(probability: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 10) -> float:
    """Mean difference of stated and true probability over bins of equal width, each by its number (Naeini et al. 2015).

    0 for nothing.
    """
    probability = np.asarray(probability, np.float64)
    if not len(probability):
        return 0.0
    place = np.minimum((probability * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    stated, true = np.bincount(place, probability, bins), np.bincount(place, np.asarray(right, np.float64), bins)
    return float(np.abs(stated - true)[count > 0].sum() / len(probability))


def calibrate(
    pose: PoseEstimator,
    pictures: Sequence[Picture],
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Pairs, CalibrationReport]:
    """Fit the map on held-out synthetic pictures. `pose` must give raw scores: a model without a map.

    Raises TooFewJoints where the pictures do not show enough.
    """
    joints = observe_joints(pose, pictures, seed=seed, every_joint_labelled=True, progress=progress)
    pairs = fit_confidence(joints.score, joints.right)
    raw, probability = np.array(pairs).T
    return pairs, CalibrationReport(
        joints=len(joints.score),
        right=round(float(joints.right.mean()), 4),
        error_before=round(expected_calibration_error(joints.score, joints.right), 4),
        error_after=round(expected_calibration_error(np.interp(joints.score, raw, probability), joints.right), 4),
    )
