"""One skeleton a person: a detector sometimes finds somebody twice, whole and in part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.belief import DOUBTFUL
from runtime.detections import Detections
from runtime.skeleton import OKS_SIGMAS, Skeletons

# Joints that must be seen in both, and how much they must be the same (OKS), for two skeletons to be one person's.
_FEWEST, _SAME = 5, 0.6
# Part of the smaller box within the other: two people who touch share less, whatever their skeletons say.
_WITHIN = 0.6


def distinct_people(detections: Detections, skeletons: Skeletons) -> NDArray[np.intp]:
    """Indices of the people left when of two with one skeleton the later one goes, in their order.

    Later is who was tracked last, without track ids who is less sure. Both arguments hold the same people in the same
    order.
    """
    ids = detections.track_id
    order = np.argsort(-detections.score if ids is None else ids, kind="stable")
    kept: list[int] = []
    for person in order.tolist():
        if not any(_same(detections, skeletons, person, other) for other in kept):
            kept.append(person)
    return np.sort(np.array(kept, np.intp))


def _same(detections: Detections, skeletons: Skeletons, a: int, b: int) -> bool:
    one, other = detections.xyxy[a].astype(np.float64), detections.xyxy[b].astype(np.float64)
    smaller = min(np.prod(one[2:] - one[:2]), np.prod(other[2:] - other[:2]))
    shared = np.prod(np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None))
    seen = (skeletons.score[a] >= DOUBTFUL) & (skeletons.score[b] >= DOUBTFUL)
    if shared < _WITHIN * smaller or smaller <= 0 or seen.sum() < _FEWEST:
        return False
    apart = np.square(skeletons.keypoints[a] - skeletons.keypoints[b]).sum(1)[seen]
    return bool(np.exp(-apart / (2 * smaller / 2 * np.square(2 * OKS_SIGMAS[seen]))).mean() >= _SAME)
