"""Who counts as found, and what of a skeleton is shown: how sure a joint must be, when a box is better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.model_info import ModelInfo
from runtime.skeleton import LIMBS

# Probabilities of lying within a tenth of the trunk's length of the truth. From SURE on a joint is drawn, from
# DOUBTFUL on it is hinted at, below it is left out: a wrong limb misleads more than a missing one.
SURE, DOUBTFUL = 0.6, 0.35
# Sure joints without which a handful of lines would be no body.
FEWEST_SURE = 5
# A doubtful person counts whose likeliest so many joints, a head and shoulders over a blanket, are as likely as this in
# the mean. Chosen, with the scores between which NanoDet doubts, on a detector tuned for a bed: from .35 and .3 to .4
# and .4 things taken for people fall from .21 to .06 a photograph of a room (34) and from .22 to .12 a drawn bed with a
# clinician over it (50); found are .88 for .91 of 65 people who fell, .89 for .92 on drawn floors, .70 for .78 in beds.
BEARING_JOINTS, BORNE_OUT = 5, 0.4
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


def counted(info: ModelInfo, score: NDArray[np.floating], joints: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(N,) whether people whom the detector `info` found count, live: whoever it is certain of, and of the others those
    whose skeleton bears them out.

    score: (N,) the detector's; joints: (N, 17) the skeletons' probabilities, all 0 where the pose model has no answer.
    A cushion that is taken for a person gets joints that nothing speaks for. Everybody counts where the detector knows
    no doubt.
    """
    if info.doubtful is None:
        return np.ones(len(score), bool)
    certain = info.threshold if info.certain is None else info.certain
    likeliest = np.sort(np.asarray(joints), axis=-1)[..., -BEARING_JOINTS:].mean(-1)
    return np.asarray((np.asarray(score) >= certain) | (likeliest >= BORNE_OUT))
