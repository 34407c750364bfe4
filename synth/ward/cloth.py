"""A position-based cloth (Müller et al. 2007) falling onto a height map and a bed, compiled by numba."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from synth.render.jit import njit

Array = Any  # numba infers the element types
GRAVITY = 9.81
OVERHANG = 0.3  # metres; cloth farther than this beneath something lies under it, not in it


class Ground(NamedTuple):
    """Heights (R, C), metres, in cells of `cell` metres, whose first stands at (low_x, low_y)."""

    heights: Array
    low_x: float
    low_y: float
    cell: float


class Mattress(NamedTuple):
    """Metres, bed frame: half its length and width, where it bends (x of the hinge), its underside and the floor (z).
    Its sides push cloth outward, no farther than `side_reach` (a rail), or freely where that is large."""

    half_length: float
    half_width: float
    hinge: float
    bottom: float
    floor: float
    side_reach: float


class Weave(NamedTuple):
    """A cloth's grid: `columns` to a row, metres at rest between rows and between columns, thickness in metres, and the
    share of a touching point's movement that friction takes."""

    columns: int
    step_down: float
    step_across: float
    thickness: float
    friction: float


@njit
def height_at(ground: Ground, x: float, y: float) -> float:
    """Bilinear height (metres) at (x, y); −100 outside the map."""
    heights = ground.heights
    column, row = (x - ground.low_x) / ground.cell, (y - ground.low_y) / ground.cell
    i, j = math.floor(column), math.floor(row)
    if i < 0 or j < 0 or i >= heights.shape[1] - 1 or j >= heights.shape[0] - 1:
        return -100.0
    u, v = column - i, row - j
    upper = heights[j, i] * (1 - u) + heights[j, i + 1] * u
    lower = heights[j + 1, i] * (1 - u) + heights[j + 1, i + 1] * u
    return upper * (1 - v) + lower * v


@njit
def _turn(grid: Array, turned: Array) -> None:
    """Write the grid (3, R, C) into `turned` (3, C, R), with rows and columns exchanged."""
    for k in range(3):
        for row in range(grid.shape[1]):
            for column in range(grid.shape[2]):
                turned[k, column, row] = grid[k, row, column]


@njit
def _relax(grid: Array, down: int, across: int, length: float, stiffness: float) -> None:
    """Draw all points of the grid (3, R, C) float32 that lie `down` rows, at least one, and `across` columns apart
    toward `length`, row after row.

    The root in the distance is replaced by its first-order expansion about the rest length (Jakobsen 2001), which is
    exact where it matters: as the cloth comes to rest. No two pairs that begin in one row share a point; in loops as
    short as these, many are worked on at once.
    """
    half, squared, strength = np.float32(0.5), np.float32(length * length), np.float32(stiffness)
    count = grid.shape[2] - abs(across)
    begin, end = max(0, -across), max(0, across)
    share = np.empty(count, np.float32)
    # Rows numbered by an array: of a range's, LLVM asks once whether any two overlap, and vectorises nothing.
    for row in np.arange(grid.shape[1] - down):
        x0, x1 = grid[0, row, begin : begin + count], grid[0, row + down, end : end + count]
        y0, y1 = grid[1, row, begin : begin + count], grid[1, row + down, end : end + count]
        z0, z1 = grid[2, row, begin : begin + count], grid[2, row + down, end : end + count]
        for i in range(count):
            dx, dy, dz = x1[i] - x0[i], y1[i] - y0[i], z1[i] - z0[i]
            share[i] = (half - squared / (dx * dx + dy * dy + dz * dz + squared)) * strength
        for k in range(3):
            one, other = grid[k, row, begin : begin + count], grid[k, row + down, end : end + count]
            for i in range(count):
                move = (other[i] - one[i]) * share[i]
                one[i] += move
                other[i] -= move


@njit
def drop(points: Array, weave: Weave, ground: Ground, mattress: Mattress, steps: int, iterations: int) -> None:
    """Let the cloth `points` (N, 3) float64, changed in place, fall for `steps` of 1/60 s on what stands in `ground`,
    body and mattress seen from above."""
    columns, step_down, step_across, thickness, friction = weave
    half_length, half_width, hinge, bed_bottom, floor, side_reach = mattress
    step, kept, fastest = 1.0 / 60.0, np.float32(0.985), np.float32(0.03)
    # One coordinate after the other, so that neighbours' lie side by side.
    falling = np.empty((3, points.shape[0]), np.float32)
    falling[:] = points.T
    x, y, z = falling
    grid = falling.reshape(3, -1, columns)
    turned = np.empty((3, columns, grid.shape[1]), np.float32)
    diagonal = math.hypot(step_down, step_across)
    previous = falling.copy()
    for _ in range(steps):
        for k in range(3):
            now, before = falling[k], previous[k]
            fall = np.float32(GRAVITY * step * step if k == 2 else 0.0)
            for i in range(points.shape[0]):
                move = (now[i] - before[i]) * kept - fall
                before[i] = now[i]
                now[i] += min(fastest, max(-fastest, move))
        for _ in range(iterations):
            _turn(grid, turned)
            _relax(turned, 1, 0, step_across, 1.0)  # threads
            _relax(turned, 2, 0, 2.0 * step_across, 0.06)  # bending
            _turn(turned, grid)
            _relax(grid, 1, 0, step_down, 1.0)
            _relax(grid, 1, 1, diagonal, 0.6)  # shear
            _relax(grid, 1, -1, diagonal, 0.6)
            _relax(grid, 2, 0, 2.0 * step_down, 0.06)
        for i in range(points.shape[0]):
            touching = False
            over_bed = abs(x[i]) < half_length + thickness
            if abs(y[i]) > half_width and over_bed and z[i] > bed_bottom - 0.3 and abs(y[i]) > half_width + side_reach:
                y[i] = math.copysign(half_width + side_reach, y[i])
                touching = True
            top = height_at(ground, x[i], y[i]) + thickness
            # Deep below the top beside the mattress's edge the way out is sideways, not up.
            inside = half_width + thickness - abs(y[i])
            if top - OVERHANG < z[i] < top:
                if over_bed and 0.0 < inside < top - z[i] and inside < 0.05 and x[i] > hinge:
                    y[i] = math.copysign(half_width + thickness, y[i])
                else:
                    z[i] = top
                touching = True
            elif over_bed and inside > 0.0 and bed_bottom < z[i] < 0.0 and top < -1.0:
                y[i] = math.copysign(half_width + thickness, y[i])
                touching = True
            if z[i] < floor + thickness:
                z[i] = floor + thickness
                touching = True
            if touching:
                for k in range(3):
                    previous[k, i] += (falling[k, i] - previous[k, i]) * friction
    points[:] = falling.T


@njit
def lift(points: Array, ground: Ground, thickness: float, reach: float) -> None:
    """Raise points (N, 3) that lie less than `thickness` above, or up to `reach` below, the ground."""
    for i in range(points.shape[0]):
        top = height_at(ground, points[i, 0], points[i, 1]) + thickness
        if top - reach < points[i, 2] < top:
            points[i, 2] = top
