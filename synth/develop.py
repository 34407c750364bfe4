"""A sensor's look-up tables, compiled: light of display values, and tone curve, noise and rounding in one pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from synth.render.jit import njit

Array = Any  # numba infers the element types


@njit
def expand(color: Array, curves: Array, linear: Array) -> None:
    """Fill `linear` (H, W, 3) float32 with the `curves` (256, 3) float32, one a channel, of `color` (H, W, 3) uint8."""
    for y in range(color.shape[0]):
        for x in range(color.shape[1]):
            for k in range(3):
                linear[y, x, k] = curves[color[y, x, k], k]


@njit
def develop(
    linear: Array, curve: Array, grain: Array, noise: np.float32, shot_noise: np.float32, picture: Array
) -> None:
    """Fill `picture` (H, W, 3) uint8 from linear light (H, W, 3) float32.

    curve (N,) float32: what is shown, 0…1, of N equally spaced lights from 0 to 1. grain (H, W, 3) float32 of unit
    variance is scaled to a variance of `noise` in the dark and `shot_noise` more in full light, after the curve.
    """
    last, dark, full, half = np.float32(len(curve) - 1), np.float32(0), np.float32(1), np.float32(0.5)
    white = np.float32(255)
    height, width = linear.shape[:2]
    lights, values = linear.reshape((height, 3 * width)), picture.reshape((height, 3 * width))
    # Row by row and step by step: all but the look-up is vectorised then.
    steps = np.empty(3 * width, np.int32)
    shown, rough = np.empty(3 * width, np.float32), np.empty(3 * width, np.float32)
    for y in range(height):
        for x in range(width):
            for k in range(3):
                rough[3 * x + k] = grain[y, x, k]
        for i in range(3 * width):
            steps[i] = np.int32(min(max(lights[y, i], dark), full) * last + half)
        for i in range(3 * width):
            shown[i] = curve[np.uint32(steps[i])]  # a signed index would be looked at for counting from the end
        for i in range(3 * width):
            noisy = shown[i] + np.float32(math.sqrt(shot_noise * shown[i] + noise)) * rough[i]
            values[y, i] = np.uint8(min(max(noisy, dark), full) * white + half)
