"""Who counts as found, and what of a skeleton is shown: how sure a joint must be, when a box is better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.detections import Detections, iou_matrix
from runtime.model_info import ModelInfo
from runtime.skeleton import LIMBS, Skeletons

# Probabilities of lying within a tenth of the trunk's length of the truth. From SURE on a joint is drawn, from
# DOUBTFUL on it is hinted at, below it is left out: a wrong limb misleads more than a missing one.
SURE, DOUBTFUL = 0.6, 0.35
# Sure joints without which a handful of lines would be no body.
FEWEST_SURE = 5
# Whether a doubtful box shows somebody, told by a logistic of the detector's score (its logit), of the mean
# probability of the likeliest so many joints (a head and shoulders over a blanket), and of how well the skeleton fills
# the box: what is seen in a cushion lies anywhere, what is seen in a part of somebody reaches out of it. Fitted on 199
# boxes of drawn pictures alone, both kinds of equal weight; photographs, on which the detector's score tells somebody
# from something with an area under the curve of .89, ask for nearly the same weights (1.3, 3.6, 3.8) and are told by
# these with .96.
BEARING_JOINTS = 5
_SCORE, _JOINTS, _FIT, _BIAS = 1.47, 5.75, 4.45, -3.24
# From this chance on they count: chosen on drawn pictures and half of the photographs. On the other half (94) false
# people fell from .117 to .074 a picture against asking for five likely joints alone, with .832 found for .824; higher
# chances cost covered patients.
BORNE_OUT = 0.7
# Limbs of arms, legs and trunk; lines of the face alone make no person.
_BODY_LIMBS = tuple(limb for limb in LIMBS if min(limb) >= 5)


def limb_score(score: NDArray[np.floating]) -> NDArray[np.float64]:
    """(..., limbs) how sure each of `LIMBS` is: as its less sure end. score: (..., 17)."""
    return np.asarray(np.asarray(score)[..., np.array(LIMBS)].min(-1), np.float64)


def shows_skeleton(score: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(...,) whether scores (..., 17) are a skeleton to be shown; else the person is shown as a box."""
    sure = np.asarray(score) >= SURE
    limb = sure[..., np.array(_BODY_LIMBS)].all(-1).any(-1)
    return np.asarray((sure.sum(-1) >= FEWEST_SURE) & limb)


def least_score(info: ModelInfo, pose: bool) -> float:
    """The detector's score from which people are found, live; lower where there is a `pose` model to be asked."""
    return info.doubtful if pose and info.doubtful is not None else info.threshold


def counted(info: ModelInfo, people: Detections, skeletons: Skeletons) -> NDArray[np.bool_]:
    """(N,) whether people whom the detector `info` found count, live: whoever it is certain of, and of the others those
    whose skeleton bears them out.

    skeletons: of the same people in the same order, with probabilities, all 0 where the pose model has no answer. A
    cushion that is taken for a person gets joints that nothing speaks for. Everybody counts where the detector knows no
    doubt.
    """
    if info.doubtful is None:
        return np.ones(len(people), bool)
    certain = info.threshold if info.certain is None else info.certain
    return np.asarray((people.score >= certain) | (chance(people, skeletons) >= BORNE_OUT))


def chance(people: Detections, skeletons: Skeletons) -> NDArray[np.float64]:
    """(N,) how likely each box shows somebody, by its score and its skeleton, 0…1."""
    score = np.clip(np.asarray(people.score, np.float64), 1e-3, 1 - 1e-3)
    likeliest = np.sort(skeletons.score, axis=-1)[:, -BEARING_JOINTS:].mean(-1)
    evidence = _SCORE * np.log(score / (1 - score)) + _JOINTS * likeliest
    evidence += _FIT * box_fit(people.xyxy, skeletons) + _BIAS
    return np.asarray(1 / (1 + np.exp(-evidence)), np.float64)


def box_fit(xyxy: NDArray[np.floating], skeletons: Skeletons) -> NDArray[np.float64]:
    """(N,) how well skeletons fill boxes (N, 4): the overlap of each with the rectangle about its joints from DOUBTFUL
    on; 0 where there are fewer than two."""
    seen = (skeletons.score >= DOUBTFUL)[..., None]
    least = np.where(seen, skeletons.keypoints, np.inf).min(1)
    most = np.where(seen, skeletons.keypoints, -np.inf).max(1)
    filled = seen.sum(1)[:, 0] >= 2
    fit = np.zeros(len(xyxy))
    if filled.any():
        about = np.concatenate([least, most], axis=1)[filled]
        fit[filled] = iou_matrix(about, np.asarray(xyxy)[filled]).diagonal()
    return fit
