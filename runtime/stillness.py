"""Whether anything has moved where a person is: nobody who lies still is looked at again in every frame.

The picture of a sleeping patient changes by the sensor's noise alone. So the place where somebody was seen is kept as a
few dozen grey levels, which show nobody and stay in memory for a second, and held against the same place of the next
frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# Cells along each side of a place; and by how much of its sides it is larger than the person's box, since arms reach
# out of it.
_CELLS, _AROUND = 12, 0.15
# Grey levels of 255 by which a cell's mean changes where something moves. Noise as the simulated Kinect has it changes
# the most changed of the cells by 1.3 in the median and by 2.7 in one frame of a hundred; a hand 20 pixels wide that
# moves by two, on a sheet lighter by 60, changes its cell by 8.
_MOVED = 4.0
_SAMPLED = 96  # pixels of the shorter side that are enough: of larger places every second, third … is taken


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody was seen, x1, y1, x2, y2 in whole pixels, and how it looked: (12, 12) grey levels."""

    corners: tuple[int, int, int, int]
    grey: NDArray[np.float32]


def place_of(color: NDArray[np.uint8], xyxy: NDArray[np.floating]) -> Place | None:
    """The place around a box (4,) of a (H, W, 3) uint8 picture; None where hardly any of it lies in the picture."""
    margin = _AROUND * (xyxy[2:] - xyxy[:2])
    size = np.array(color.shape[1::-1])
    low, high = np.clip(np.rint([xyxy[:2] - margin, xyxy[2:] + margin]), 0, size).astype(int).tolist()
    if high[0] - low[0] < _CELLS or high[1] - low[1] < _CELLS:
        return None
    corners = (low[0], low[1], high[0], high[1])
    return Place(corners, _grey(color, corners))


def is_still(color: NDArray[np.uint8], place: Place) -> bool:
    """Whether a frame of the same size shows a place as it was. Light that changes everywhere alike is no movement."""
    if place.corners[2] > color.shape[1] or place.corners[3] > color.shape[0]:
        return False
    change = _grey(color, place.corners) - place.grey
    return bool(np.abs(change - np.median(change)).max() < _MOVED)


def _grey(color: NDArray[np.uint8], corners: tuple[int, int, int, int]) -> NDArray[np.float32]:
    x1, y1, x2, y2 = corners
    step = max(1, min(x2 - x1, y2 - y1) // _SAMPLED)
    cells = cv2.resize(color[y1:y2:step, x1:x2:step], (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(cells.mean(axis=2), np.float32)
