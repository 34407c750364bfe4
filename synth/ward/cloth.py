"""A position-based cloth (Müller et al. 2007) falling onto a height map and a bed, compiled by numba."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.render.jit import njit

Array = Any  # numba infers the element types
GRAVITY = 9.81
OVERHANG = 0.3  # metres; cloth farther than this beneath something lies under it, not in it


@njit
def height_at(heights: Array, low_x: float, low_y: float, cell: float, x: float, y: float) -> float:
    """Bilinear height (metres) at (x, y); −100 outside the map."""
    column, row = (x - low_x) / cell, (y - low_y) / cell
    i, j = math.floor(column), math.floor(row)
    if i < 0 or j < 0 or i >= heights.shape[1] - 1 or j >= heights.shape[0] - 1:
        return -100.0
    u, v = column - i, row - j
    upper = heights[j, i] * (1 - u) + heights[j, i + 1] * u
    lower = heights[j + 1, i] * (1 - u) + heights[j + 1, i + 1] * u
    return upper * (1 - v) + lower * v


@njit
def drop(
    points: Array, pairs: Array, lengths: Array, stiffness: Array, heights: Array, low_x: float, low_y: float,
    cell: float, half_length: float, half_width: float, hinge: float, bed_bottom: float, floor: float,
    side_reach: float, steps: int, iterations: int, thickness: float, friction: float,
) -> None:  # fmt: skip
    """Let the cloth `points` (N, 3) float64, changed in place, fall for `steps` of 1/60 s.

    `heights` are those of body and mattress from above; the mattress's sides push cloth outward, no farther than
    `side_reach` from the mattress (a rail), or freely where it is infinite.
    """
    step = 1.0 / 60.0
    previous = points.copy()
    for _ in range(steps):
        for i in range(points.shape[0]):
            for k in range(3):
                move = (points[i, k] - previous[i, k]) * 0.985
                if k == 2:
                    move -= GRAVITY * step * step
                move = min(0.03, max(-0.03, move))
                previous[i, k] = points[i, k]
                points[i, k] += move
        for _ in range(iterations):
            for c in range(pairs.shape[0]):
                i, j = pairs[c, 0], pairs[c, 1]
                dx, dy, dz = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]
                length = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
                share = (length - lengths[c]) / length * 0.5 * stiffness[c]
                points[i, 0] += dx * share
                points[i, 1] += dy * share
                points[i, 2] += dz * share
                points[j, 0] -= dx * share
                points[j, 1] -= dy * share
                points[j, 2] -= dz * share
        for i in range(points.shape[0]):
            x, y, z = points[i, 0], points[i, 1], points[i, 2]
            touching = False
            over_bed = abs(x) < half_length + thickness
            if abs(y) > half_width and over_bed and z > bed_bottom - 0.3 and abs(y) > half_width + side_reach:
                y = math.copysign(half_width + side_reach, y)
                points[i, 1] = y
                touching = True
            ground = height_at(heights, low_x, low_y, cell, x, y) + thickness
            # Deep below the top beside the mattress's edge the way out is sideways, not up.
            inside = half_width + thickness - abs(y)
            if ground - OVERHANG < z < ground:
                if over_bed and 0.0 < inside < ground - z and inside < 0.05 and x > hinge:
                    points[i, 1] = math.copysign(half_width + thickness, y)
                else:
                    points[i, 2] = ground
                touching = True
            elif over_bed and inside > 0.0 and bed_bottom < z < 0.0 and ground < -1.0:
                points[i, 1] = math.copysign(half_width + thickness, y)
                touching = True
            if points[i, 2] < floor + thickness:
                points[i, 2] = floor + thickness
                touching = True
            if touching:
                for k in range(3):
                    previous[i, k] += (points[i, k] - previous[i, k]) * friction


@njit
def lift(
    points: Array, heights: Array, low_x: float, low_y: float, cell: float, thickness: float, reach: float
) -> None:
    """Raise points (N, 3) that lie less than `thickness` above, or up to `reach` below, the height map."""
    for i in range(points.shape[0]):
        ground = height_at(heights, low_x, low_y, cell, points[i, 0], points[i, 1]) + thickness
        if ground - reach < points[i, 2] < ground:
            points[i, 2] = ground


def constraints(
    rows: int, columns: int, step_y: float, step_x: float
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Pairs (C, 2), rest lengths (C,) and stiffnesses (C,) of a grid: threads, shear, bending."""
    index = np.arange(rows * columns).reshape(rows, columns)
    diagonal = math.hypot(step_x, step_y)
    groups = [
        (index[:, :-1], index[:, 1:], step_x, 1.0),
        (index[:-1], index[1:], step_y, 1.0),
        (index[:-1, :-1], index[1:, 1:], diagonal, 0.6),
        (index[:-1, 1:], index[1:, :-1], diagonal, 0.6),
        (index[:, :-2], index[:, 2:], 2 * step_x, 0.06),
        (index[:-2], index[2:], 2 * step_y, 0.06),
    ]
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()], 1) for a, b, _, _ in groups]).astype(np.int32)
    lengths = np.concatenate([np.full(a.size, length) for a, _, length, _ in groups])
    stiffness = np.concatenate([np.full(a.size, value) for a, _, _, value in groups])
    return pairs, lengths, stiffness
