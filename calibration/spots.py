"""Spots of a picture: places brighter or darker than what lies around them, found again in other light.

They are the extremes of a difference of Gaussians (Lowe, 2004) of one size, on the picture with its contrast made the
same everywhere.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH = 640  # px, of the picture that is measured
_SPOT_PX, AROUND_PX = 2.0, 3.2  # standard deviations of the two Gaussians
_LEAST_CONTRAST = 0.05  # of the local contrast
_LONGEST = 5.0  # times as long as wide
_SPOT_RADIUS = 4  # px within which a spot is the only one
_PER_CELL = 20
CELLS = (8, 5)
MARGIN_PX = 12  # from the picture's border
Spots = tuple[NDArray[np.float64], NDArray[np.bool_]]  # where (N, 2) px, and whether bright (N,); the strongest first


def size_of(color: NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width of what is measured of a picture (H, W, 3)."""
    return round(WIDTH * color.shape[0] / color.shape[1]), WIDTH


def find_spots(color: NDArray[np.uint8]) -> Spots:
    """The bright and the dark spots of a picture (H, W, 3), to a fraction of a pixel, at most so many a cell."""
    height, width = size_of(color)
    if color.shape[1] != WIDTH:
        color = np.asarray(cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    gray = cv2.GaussianBlur(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    mean = cv2.blur(gray, (25, 25))
    deviation = np.sqrt(np.maximum(cv2.blur(gray * gray, (25, 25)) - mean * mean, 0))
    # The same contrast everywhere, whatever the lamps. A flat wall has noise only; the constant keeps it small.
    normal = (gray - mean) / (deviation + 8.0)
    response = cv2.GaussianBlur(normal, (0, 0), _SPOT_PX) - cv2.GaussianBlur(normal, (0, 0), AROUND_PX)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _SPOT_RADIUS + 1,) * 2)
    strength = np.abs(response)
    signed = (response, -response)
    rows, columns = np.nonzero(
        ((signed[0] >= cv2.dilate(signed[0], kernel)) | (signed[1] >= cv2.dilate(signed[1], kernel)))
        & (strength > _LEAST_CONTRAST)
    )
    inside = (rows >= MARGIN_PX) & (rows < height - MARGIN_PX)
    inside &= (columns >= MARGIN_PX) & (columns < width - MARGIN_PX)
    rows, columns = rows[inside], columns[inside]
    round_enough = _is_round(response, rows, columns)
    rows, columns = rows[round_enough], columns[round_enough]
    order = np.argsort(-strength[rows, columns], kind="stable")
    order = order[_rank_in_cell(np.column_stack([columns, rows])[order], (width, height)) < _PER_CELL]
    y, x = rows[order], columns[order]
    points = np.column_stack(
        [x + _vertex(response[y, x - 1], response[y, x], response[y, x + 1]),
         y + _vertex(response[y - 1, x], response[y, x], response[y + 1, x])]
    )  # fmt: skip
    return points.astype(np.float64), response[y, x] > 0


def _is_round(response: NDArray[np.float32], y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether extremes are spots and not pieces of a line: of those, which side the next lies on is chance, and a row
    of them would draw the line (the ratio of the principal curvatures, as by Lowe)."""
    across = response[y, x - 1] - 2 * response[y, x] + response[y, x + 1]
    down = response[y - 1, x] - 2 * response[y, x] + response[y + 1, x]
    both = (response[y + 1, x + 1] - response[y + 1, x - 1] - response[y - 1, x + 1] + response[y - 1, x - 1]) / 4
    determinant = across * down - both * both
    return np.asarray((across + down) ** 2 * _LONGEST < (_LONGEST + 1) ** 2 * determinant)


def _vertex(
    before: NDArray[np.float32], middle: NDArray[np.float32], after: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Where the parabolas through three neighbouring values have their extremes, from the middle ones."""
    bend = before - 2 * middle + after
    safe = np.where(np.abs(bend) < 1e-9, 1.0, bend)
    return np.asarray(np.where(np.abs(bend) < 1e-9, 0, np.clip(0.5 * (before - after) / safe, -0.5, 0.5)))


def _rank_in_cell(points: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.int64]:
    """Of each point, how many of its cell stand before it."""
    cell = cell_of(points, size)
    order = np.argsort(cell, kind="stable")
    rank = np.empty(len(points), np.int64)
    rank[order] = np.arange(len(points)) - np.searchsorted(cell[order], cell[order])
    return rank


def cell_of(points: NDArray[Any], size: tuple[int, int]) -> NDArray[np.int64]:
    column, row = np.clip((points / size * CELLS).astype(np.int64), 0, np.array(CELLS) - 1).T
    return np.asarray(row * CELLS[0] + column)
