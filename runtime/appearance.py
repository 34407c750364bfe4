"""What a person looks like, in a handful of numbers: the colours in the middle of the box.

They tell people apart who pass each other or come back from behind somebody. They are kept in memory for as long as the
tracker remembers the person, some seconds, and nowhere else.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.detections import Detections

# Bins of hue, saturation and value; and the part of a box that is looked at, where more is person than room.
_BINS, _MIDDLE = (8, 4, 4), 0.6
_SIDE = 24  # pixels a side that are looked at: enough for 128 bins
BINS = int(np.prod(_BINS))


def appearance(color: NDArray[np.uint8], detections: Detections) -> NDArray[np.float32]:
    """(N, 128) for people in a (H, W, 3) uint8 RGB picture: each row sums to 1."""
    height, width = color.shape[:2]
    rows = np.full((len(detections), BINS), 1 / BINS, np.float32)
    for index, (x1, y1, x2, y2) in enumerate(detections.xyxy.astype(np.float64)):
        dx, dy = (1 - _MIDDLE) / 2 * (x2 - x1), (1 - _MIDDLE) / 2 * (y2 - y1)
        left, right = int(np.clip(x1 + dx, 0, width - 1)), int(np.clip(np.ceil(x2 - dx), 1, width))
        top, bottom = int(np.clip(y1 + dy, 0, height - 1)), int(np.clip(np.ceil(y2 - dy), 1, height))
        if right <= left or bottom <= top:
            continue
        step = max(1, (right - left) // _SIDE), max(1, (bottom - top) // _SIDE)
        patch = np.ascontiguousarray(color[top : bottom : step[1], left : right : step[0]])
        colours = cv2.cvtColor(patch, cv2.COLOR_RGB2HSV)
        found = cv2.calcHist([colours], [0, 1, 2], None, list(_BINS), [0, 180, 0, 256, 0, 256])
        smooth = found.ravel() + 0.5  # a colour that is missed by a bin is not another colour altogether
        rows[index] = smooth / smooth.sum()
    return rows
