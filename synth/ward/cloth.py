"""A position-based cloth (Müller et al. 2007) falling onto a height map and a bed, compiled by numba."""

from __future__ import annotations

import math
from typing import Any

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
def _relax(grid: Array, down: int, across: int, length: float, stiffness: float) -> None:
    """Draw all points of the grid (R, C, 3) that lie `down` rows and `across` columns apart toward `length`.

    The root in the distance is replaced by its first-order expansion about the rest length (Jakobsen 2001), which is
    exact where it matters: as the cloth comes to rest.
    """
    squared = length * length
    for row in range(grid.shape[0] - down):
        for column in range(max(0, -across), grid.shape[1] - max(0, across)):
            other_row, other_column = row + down, column + across
            x0, y0, z0 = grid[row, column, 0], grid[row, column, 1], grid[row, column, 2]
            x1, y1, z1 = (
                grid[other_row, other_column, 0], grid[other_row, other_column, 1], grid[other_row, other_column, 2]
            )  # fmt: skip
            dx, dy, dz = x1 - x0, y1 - y0, z1 - z0
            share = (0.5 - squared / (dx * dx + dy * dy + dz * dz + squared)) * stiffness
            dx, dy, dz = dx * share, dy * share, dz * share
            grid[row, column, 0], grid[row, column, 1], grid[row, column, 2] = x0 + dx, y0 + dy, z0 + dz
            grid[other_row, other_column, 0] = x1 - dx
            grid[other_row, other_column, 1] = y1 - dy
            grid[other_row, other_column, 2] = z1 - dz


@njit
def drop(
    points: Array, columns: int, step_down: float, step_across: float, heights: Array, low_x: float, low_y: float,
    cell: float, half_length: float, half_width: float, hinge: float, bed_bottom: float, floor: float,
    side_reach: float, steps: int, iterations: int, thickness: float, friction: float,
) -> None:  # fmt: skip
    """Let the cloth `points` (N, 3) float64, changed in place, fall for `steps` of 1/60 s.

    They form a grid, `columns` to a row, at rest `step_down` metres between rows and `step_across` between columns.
    `heights` are those of body and mattress from above; the mattress's sides push cloth outward, no farther than
    `side_reach` from the mattress (a rail), or freely where it is infinite.
    """
    step = 1.0 / 60.0
    grid = points.reshape(-1, columns, 3)
    diagonal = math.hypot(step_down, step_across)
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
            _relax(grid, 0, 1, step_across, 1.0)  # threads
            _relax(grid, 1, 0, step_down, 1.0)
            _relax(grid, 1, 1, diagonal, 0.6)  # shear
            _relax(grid, 1, -1, diagonal, 0.6)
            _relax(grid, 0, 2, 2.0 * step_across, 0.06)  # bending
            _relax(grid, 2, 0, 2.0 * step_down, 0.06)
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
