"""The compiled inner loop that darkens corners: ambient light kept off by what stands near."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from synth.render.jit import njit

Array = Any  # numba infers the element types
_TAPS = 8
# A spiral of taps about each pixel, turned by one of sixteen phases: (16, 8, 2), of unit reach.
_SPIRALS = np.array(
    [
        [
            [(tap + 0.5) / _TAPS * turn(tap * 2.399963 + phase * 0.3926990817) for turn in (math.cos, math.sin)]
            for tap in range(_TAPS)
        ]
        for phase in range(16)
    ]
)


@njit
def occlusion(depth: Array, fx: float, fy: float, radius: float, strength: float, out: Array) -> None:
    """Ambient occlusion (h, w) float32, 1 = open, from a depth image (h, w) at the same, usually halved, size.

    Obscurance after Alchemy (McGuire et al. 2011): eight taps on a spiral turned by pixel, weighted by how far the
    neighbour rises above the tangent plane; a 4×4 average, which is the turn's period, removes the pattern.
    """
    height, width = depth.shape
    raw = np.ones((height, width), np.float32)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            z = float(depth[y, x])
            if z <= 0.0:
                continue
            # Tangent plane from the smaller of the one-sided depth differences.
            left, right = z - depth[y, x - 1], depth[y, x + 1] - z
            up, down = z - depth[y - 1, x], depth[y + 1, x] - z
            slope_x = left if abs(left) < abs(right) else right
            slope_y = up if abs(up) < abs(down) else down
            reach = min(radius * fx / z, 40.0)
            if reach < 1.0:
                continue
            total = 0.0
            phase = (x & 3) * 4 + (y & 3)
            for tap in range(_TAPS):
                dx = math.floor(reach * _SPIRALS[phase, tap, 0] + 0.5)
                dy = math.floor(reach * _SPIRALS[phase, tap, 1] + 0.5)
                sx, sy = x + dx, y + dy
                if sx < 0 or sy < 0 or sx >= width or sy >= height:
                    continue
                other = float(depth[sy, sx])
                if other <= 0.0:
                    continue
                rise = (z + slope_x * dx + slope_y * dy) - other
                if rise > 0.004 * z and rise < radius * 1.6:
                    flat = z / fx * math.sqrt(float(dx * dx + dy * dy)) + 1e-6
                    total += min(1.0, rise / flat)
            raw[y, x] = max(0.0, 1.0 - strength * total / _TAPS)
    for y in range(height):
        for x in range(width):
            z, slack = depth[y, x], np.float32(0.03) * depth[y, x] + np.float32(1e-6)
            total, weight = 0.0, 0.0
            for j in range(max(0, y - 2), min(height, y + 2)):
                for i in range(max(0, x - 2), min(width, x + 2)):
                    if abs(depth[j, i] - z) < slack:
                        total += raw[j, i]
                        weight += 1.0
            out[y, x] = total / weight if weight > 0.0 else 1.0
