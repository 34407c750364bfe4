"""One skeleton a person, one person a skeleton.

A detector sometimes finds somebody twice, whole and in part; and a pose model asked for somebody who is hidden may
answer with the neighbour's skeleton. Detections and skeletons are always of the same people in the same order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.belief import DOUBTFUL, box_fit
from runtime.detections import Detections, iou_matrix
from runtime.skeleton import Skeletons

# Joints that must be seen in both, and how far half of them may lie apart, as a part of the smaller box's side (of a
# square of its area), for two skeletons to be one person's.
_FEWEST, _APART = 5, 0.12
# Overlap of two boxes, or part of the smaller within the other, from which they are one person's when their skeletons
# are: two people who touch share less.
_OVERLAP, _WITHIN = 0.4, 0.9


def without_strays(detections: Detections, skeletons: Skeletons) -> Skeletons:
    """The skeletons; one that is a neighbour's, whose box it fits better, is no longer believed in (scores 0)."""
    score = skeletons.score.copy()
    for a, b in _pairs(skeletons, detections):
        if not _one_box(detections.xyxy[a], detections.xyxy[b]):
            both = np.array([a, b])
            fit = box_fit(detections.xyxy[both], skeletons[both])
            score[a if fit[0] < fit[1] else b] = 0
    return Skeletons(skeletons.keypoints, score, skeletons.track_id)


def distinct_people(detections: Detections, skeletons: Skeletons) -> NDArray[np.intp]:
    """Indices of the people left, in their order, when of two with one skeleton and one box the later one goes.

    Later is who was tracked last, without track ids who is less sure.
    """
    rank = -detections.score if detections.track_id is None else detections.track_id
    gone = {
        a if rank[a] > rank[b] else b
        for a, b in _pairs(skeletons, detections)
        if _one_box(detections.xyxy[a], detections.xyxy[b])
    }
    return np.array([person for person in range(len(detections)) if person not in gone], np.intp)


def _pairs(skeletons: Skeletons, detections: Detections) -> list[tuple[int, int]]:
    """The pairs of people whose skeletons are the same, measured by the smaller box."""
    pairs = []
    for a in range(len(skeletons)):
        for b in range(a + 1, len(skeletons)):
            seen = (skeletons.score[a] >= DOUBTFUL) & (skeletons.score[b] >= DOUBTFUL)
            if seen.sum() < _FEWEST:
                continue
            boxes = detections.xyxy[[a, b]].astype(np.float64)
            side = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1).min())
            apart = np.linalg.norm(skeletons.keypoints[a] - skeletons.keypoints[b], axis=1)[seen]
            if np.median(apart) <= _APART * side:
                pairs.append((a, b))
    return pairs


def _one_box(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    one, other = a.astype(np.float64), b.astype(np.float64)
    shared = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
    smaller = min((one[2:] - one[:2]).prod(), (other[2:] - other[:2]).prod())
    return bool(iou_matrix(one[None], other[None])[0, 0] >= _OVERLAP or shared >= _WITHIN * max(smaller, 1e-9))
