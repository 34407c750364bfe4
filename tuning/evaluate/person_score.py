"""The person score of the synthetic-retargeting paper: how well each real person is boxed.

The paper (doi 10.1177/20552076261418835) takes the overlap of a person's predicted box, rectified at 0.75; its formula
is not available, so this is ours: the IoU where it is at least 0.75, else 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.detections import Detections, iou_matrix

CONFIDENCE = 0.2
RECTIFIED_AT = 0.75


def person_scores(people: NDArray[np.floating], found: Detections) -> NDArray[np.float64]:
    """(P,) score of each ground-truth box (P, 4) xyxy: one found box counts for one person, best overlaps first."""
    boxes = found.xyxy[found.score >= CONFIDENCE]
    scores = np.zeros(len(people))
    overlap = iou_matrix(people, boxes) if len(people) and len(boxes) else np.zeros((len(people), 0))
    overlap = np.where(overlap >= RECTIFIED_AT, overlap, 0.0)
    while overlap.size and overlap.max() > 0:
        person, box = np.unravel_index(int(overlap.argmax()), overlap.shape)
        scores[person] = overlap[person, box]
        overlap[person, :] = 0
        overlap[:, box] = 0
    return scores
