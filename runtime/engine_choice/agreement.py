"""Whether an engine sees the same people as the reference: boxes and joints, not only numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from calibration.errors import WardposeError
from runtime.belief import DOUBTFUL, least_score
from runtime.detect import PersonDetector
from runtime.detections import Detections, iou_matrix
from runtime.engines.engine import InferenceEngine
from runtime.pose import PoseEstimator
from runtime.turn import Aims, trunk_turn

# What must agree: this part of all joints within a pixel, of all boxes an overlap of so much.
JOINTS, JOINT_PX, BOXES, BOX_IOU = 0.99, 1.0, 0.99, 0.95
# A box whose score stands this near to the threshold may be found by one engine and missed by another.
_SCORE_MARGIN = 0.05
_FEWEST = 5

Picture = NDArray[np.uint8]


def people_in(detector: InferenceEngine, pictures: Sequence[Picture]) -> list[Detections]:
    """Whom the reference detector finds in each picture."""
    finder = PersonDetector(detector)
    return [finder.detect(picture) for picture in pictures]


def boxes_agree(engine: InferenceEngine, reference: InferenceEngine, pictures: Sequence[Picture]) -> tuple[int, float]:
    """How many boxes the two were compared on, and the part that overlaps by `BOX_IOU`; of either, those that the other
    lacks count as well. Raises WardposeError where the engine can't answer."""
    least = least_score(reference.info, pose=False)
    low = max(0.01, least - _SCORE_MARGIN)
    theirs, ours = PersonDetector(engine, low), PersonDetector(reference, low)
    compared = agreeing = 0
    for picture in pictures:
        a, b = theirs.detect(picture), ours.detect(picture)
        overlap = iou_matrix(a.xyxy, b.xyxy)
        pairs = {(int(i), int(j)) for i, j in zip(*linear_sum_assignment(-overlap), strict=True)}
        good = {pair for pair in pairs if overlap[pair] >= BOX_IOU}
        sure = [set(np.flatnonzero(found.score >= least + _SCORE_MARGIN).tolist()) for found in (a, b)]
        compared += len(sure[1]) + len(sure[0] - {i for i, _ in pairs})
        agreeing += len(sure[1] & {j for _, j in good})
    return compared, agreeing / max(compared, 1)


def joints_agree(
    engine: InferenceEngine, reference: InferenceEngine, pictures: Sequence[Picture], people: Sequence[Detections]
) -> tuple[int, float]:
    """How many joints the two were compared on, and the part that lies within `JOINT_PX` picture pixels.

    Both look at the same crops, turned as the reference finds each person. people: of each picture.
    """
    theirs, ours = PoseEstimator(engine), PoseEstimator(reference)
    compared = agreeing = 0
    for picture, found in zip(pictures, people, strict=True):
        if not len(found):
            continue
        aims = Aims(trunk_turn(ours.estimate(picture, found).keypoints), np.full(len(found), np.nan))
        truth, answer = ours.estimate(picture, found, aims), theirs.estimate(picture, found, aims)
        believed = truth.score >= DOUBTFUL
        near = np.linalg.norm(truth.keypoints - answer.keypoints, axis=-1) <= JOINT_PX
        compared += int(believed.sum())
        agreeing += int((believed & near).sum())
    return compared, agreeing / max(compared, 1)


def require_same_people(task: str, compared: int, part: float) -> None:
    """Raise WardposeError unless enough was compared and enough of it agrees."""
    what, least = ("boxes", BOXES) if task == "detect" else ("joints", JOINTS)
    if compared < _FEWEST:
        raise WardposeError(f"the reference finds too few {what} on the probe pictures to compare ({compared})")
    if part < least:
        within = f"overlap by {BOX_IOU}" if task == "detect" else f"lie within {JOINT_PX:g} px"
        raise WardposeError(f"only {part:.1%} of {compared} {what} {within}, {least:.0%} must")
