"""The compiled inner loops that darken corners: ambient light kept off by what stands near."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from synth.render.jit import njit

Array = Any  # numba infers the element types
Number = Any  # float32
_TAPS = 8
# A spiral of taps about each pixel, turned by one of sixteen phases: (16, 8, 2), of unit reach.
_SPIRALS = np.array(
    [
        [
            [(tap + 0.5) / _TAPS * turn(tap * 2.399963 + phase * 0.3926990817) for turn in (math.cos, math.sin)]
            for tap in range(_TAPS)
        ]
        for phase in range(16)
    ],
    np.float32,
)
# A literal would be taken for float64.
_ZERO, _HALF, _ONE, _TINY = (np.float32(number) for number in (0.0, 0.5, 1.0, 1e-6))
_MOST_REACH = np.float32(40.0)  # pixels
_LEAST_RISE, _MOST_RISE = np.float32(0.004), np.float32(1.6)  # shares of the distance and of the radius
_ONE_SURFACE = np.float32(0.03)  # share by which the depths of neighbouring pixels on one surface may differ


@njit
def occlusion(depth: Array, fx: float, fy: float, radius: float, strength: float, out: Array) -> None:
    """Ambient occlusion (h, w) float32, 1 = open, from a depth image (h, w) at the same, usually halved, size.

    Obscurance after Alchemy (McGuire et al. 2011): eight taps on a spiral turned by pixel, weighted by how far the
    neighbour rises above the tangent plane; a 4×4 average, which is the turn's period, removes the pattern.
    """
    openness = np.ones(depth.shape, np.float32)
    _look_around(depth, np.float32(fx), np.float32(radius), np.float32(strength / _TAPS), openness)
    _average(depth, openness, out)


@njit
def _look_around(depth: Array, fx: Number, radius: Number, strength: Number, openness: Array) -> None:
    height, width = depth.shape
    highest = radius * _MOST_RISE
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            z = depth[y, x]
            if z <= _ZERO:
                continue
            # Tangent plane from the smaller of the one-sided depth differences.
            left, right = z - depth[y, x - 1], depth[y, x + 1] - z
            up, down = z - depth[y - 1, x], depth[y + 1, x] - z
            slope_x = left if abs(left) < abs(right) else right
            slope_y = up if abs(up) < abs(down) else down
            reach = min(_MOST_REACH, radius * fx / z)
            if reach < _ONE:
                continue
            lowest, scale, total = _LEAST_RISE * z, z / fx, _ZERO
            phase = (x & 3) * 4 + (y & 3)
            for tap in range(_TAPS):
                dx = np.floor(reach * _SPIRALS[phase, tap, 0] + _HALF)
                dy = np.floor(reach * _SPIRALS[phase, tap, 1] + _HALF)
                sx, sy = x + np.int32(dx), y + np.int32(dy)
                if sx < 0 or sy < 0 or sx >= width or sy >= height:
                    continue
                other = depth[np.uint32(sy), np.uint32(sx)]
                rise = (z + slope_x * dx + slope_y * dy) - other
                if other > _ZERO and rise > lowest and rise < highest:
                    flat = scale * math.sqrt(dx * dx + dy * dy) + _TINY
                    total += min(_ONE, rise / flat)
            openness[y, x] = max(_ZERO, _ONE - strength * total)


@njit
def _average(depth: Array, openness: Array, out: Array) -> None:
    """The mean of the neighbours on one surface, row by row: the compiler takes eight pixels at once."""
    height, width = depth.shape
    total, weight = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(height):
        total[:], weight[:] = _ZERO, _ZERO
        for j in range(max(0, y - 2), min(height, y + 2)):
            for shift in range(-2, 2):
                for x in range(max(0, -shift), min(width, width - shift)):
                    z = depth[y, x]
                    same = _ONE if abs(depth[j, x + shift] - z) < _ONE_SURFACE * z + _TINY else _ZERO
                    total[x] += same * openness[j, x + shift]
                    weight[x] += same
        for x in range(width):
            out[y, x] = total[x] / weight[x]
