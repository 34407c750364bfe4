"""Which keypoints a camera can see, in COCO's terms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ABSENT, HIDDEN, VISIBLE = 0, 1, 2

# A ray rarely passes a joint where the flesh is thinnest: allow twice that thickness, and 3 cm of clothing.
_THICKNESS_FACTOR, _CLOTHING_M = 2.0, 0.03
_NEIGHBOURHOOD = 2  # px to each side: a single pixel at an edge must not decide


def keypoint_visibility(
    pixels: NDArray[np.float64],
    depth_of_keypoint: NDArray[np.float64],
    joint_radius: NDArray[np.float64],
    instance: NDArray[np.uint8],
    depth: NDArray[np.float32],
    person: int,
) -> NDArray[np.int64]:
    """COCO's v of each keypoint (K,): 0 outside the picture, 2 seen, 1 hidden.

    pixels (K, 2) and depth_of_keypoint (K,), metres along the optical axis, of the joints themselves, which lie
    inside the body; joint_radius (K,) metres to the nearest skin. A joint is seen where most of its neighbourhood
    in `instance` (H, W) belongs to `person` and the first surface in `depth` (H, W) lies no further in front of it
    than its own flesh is thick, so that a chest hides the arm behind it.
    """
    height, width = depth.shape
    result = np.full(len(pixels), ABSENT, np.int64)
    for k, ((x, y), z, radius) in enumerate(zip(pixels, depth_of_keypoint, joint_radius, strict=True)):
        if not (z > 0 and -0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
            continue
        column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        window = (
            slice(max(row - _NEIGHBOURHOOD, 0), row + _NEIGHBOURHOOD + 1),
            slice(max(column - _NEIGHBOURHOOD, 0), column + _NEIGHBOURHOOD + 1),
        )
        own = instance[window] == person
        if own.mean() <= 0.5:
            result[k] = HIDDEN
            continue
        gap = z - float(np.median(depth[window][own]))
        result[k] = VISIBLE if gap < _THICKNESS_FACTOR * radius + _CLOTHING_M else HIDDEN
    return result
