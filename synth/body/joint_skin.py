"""Which skin lies over which joint: what one must see to say that one sees the joint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.body.body_model import Topology

# COCO's keypoint on the other side of the body, for those that have one.
OPPOSITE = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
_FACE = 5  # nose, eyes and ears share one bone, and one side of the face often shows the other's
_LEAST_PART = 0.05  # of the skin's weights about a joint, for a bone to meet there


def joint_skin(topology: Topology, keypoints: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(V, 17): whether each vertex is skin over each COCO keypoint; keypoints (17, 3) at rest, on the template.

    The bones that meet at a joint are those that move the skin nearest to it. Its skin is what they move for the most
    part, on the joint's own side of the body: a left hip is not seen by looking at the right one.
    """
    distance = np.linalg.norm(topology.template[:, None].astype(np.float64) - keypoints, axis=2)
    about = distance < 1.6 * distance.min(0) + 0.01
    found = np.empty(distance.shape, bool)
    for k in range(len(keypoints)):
        meeting = topology.weights[about[:, k]].mean(0) >= _LEAST_PART
        found[:, k] = topology.weights[:, meeting].sum(1) >= 0.5
        if k >= _FACE:
            found[:, k] &= distance[:, k] < distance[:, OPPOSITE[k]]
    return found
