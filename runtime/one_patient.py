"""One patient, one skeleton: two boxes that lie in the bed side by side are one person's, found in parts.

A blanket cuts a body in two for a detector: head and arms here, knees and feet there. A bed holds one patient; who
leans over it or sits on its edge is told apart by `runtime.stance`, and two heads that are surely seen are two people.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.belief import SURE
from runtime.detections import Detections
from runtime.skeleton import Skeletons

_FACE = slice(0, 5)
_IN_BED = 0.6  # share of a person's evidence for lying in the bed
_GAP = 0.35  # of the larger box's longer side: how far apart two parts may lie
_HEADS_APART = 0.25  # of the same: heads farther apart than this are two people's


def merged_in_bed(
    detections: Detections, skeletons: Skeletons, evidence: NDArray[np.float64]
) -> tuple[Detections, Skeletons, NDArray[np.intp]]:
    """The people with parts of the one in bed put together, and the indices (in the order given) of whom is kept.

    evidence: (N, 3) of `place_evidence`. The kept box spans both; of each joint the likelier place holds; the number is
    the older one's. Everybody else stays as they are.
    """
    share = np.exp(evidence - np.logaddexp.reduce(evidence, axis=1, keepdims=True)) if len(evidence) else evidence
    lying = np.flatnonzero(share[:, 0] >= _IN_BED) if len(share) else np.empty(0, np.intp)
    if len(lying) < 2:
        return detections, skeletons, np.arange(len(detections))
    boxes, score = detections.xyxy.copy(), detections.score.copy()
    points, belief = skeletons.keypoints.copy(), skeletons.score.copy()
    gone: set[int] = set()
    rank = np.arange(len(boxes)) if detections.track_id is None else detections.track_id
    order = sorted(lying.tolist(), key=lambda person: int(rank[person]))
    for place, keeper in enumerate(order):
        for other in order[place + 1 :]:
            if keeper in gone or other in gone or not _one_body(boxes, points, belief, keeper, other):
                continue
            boxes[keeper] = np.append(
                np.minimum(boxes[keeper, :2], boxes[other, :2]), np.maximum(boxes[keeper, 2:], boxes[other, 2:])
            )
            score[keeper] = max(score[keeper], score[other])
            if len(points):
                likelier = belief[other] > belief[keeper]
                points[keeper, likelier], belief[keeper, likelier] = points[other, likelier], belief[other, likelier]
            gone.add(other)
    kept = np.array([person for person in range(len(boxes)) if person not in gone], np.intp)
    people = Detections(boxes, score, detections.track_id)[kept]
    if not len(skeletons):
        return people, skeletons, kept
    return people, Skeletons(points, belief, skeletons.track_id)[kept], kept


def _one_body(
    boxes: NDArray[np.float32], points: NDArray[np.float32], belief: NDArray[np.float32], a: int, b: int
) -> bool:
    one, other = boxes[a].astype(np.float64), boxes[b].astype(np.float64)
    longer = max((one[2:] - one[:2]).max(), (other[2:] - other[:2]).max(), 1.0)
    apart = np.clip(np.maximum(one[:2], other[:2]) - np.minimum(one[2:], other[2:]), 0, None)
    if np.hypot(*apart) > _GAP * longer:
        return False
    if not len(points):
        return True
    heads = [points[person, _FACE][belief[person, _FACE] >= SURE] for person in (a, b)]
    if len(heads[0]) and len(heads[1]):
        return bool(np.linalg.norm(heads[0].mean(0) - heads[1].mean(0)) <= _HEADS_APART * longer)
    return True
