"""The last step of a sensor, compiled: tone curve, noise and rounding in one pass over the picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from synth.render.jit import njit

Array = Any  # numba infers the element types


@njit
def develop(
    linear: Array, curve: Array, grain: Array, noise: np.float32, shot_noise: np.float32, picture: Array
) -> None:
    """Fill `picture` (H, W, 3) uint8 from linear light (H, W, 3) float32.

    curve (N,) float32: what is shown, 0…1, of N equally spaced lights from 0 to 1. grain (H, W, 3) float32 of unit
    variance is scaled to a variance of `noise` in the dark and `shot_noise` more in full light, after the curve.
    """
    last, dark, full, half, white = np.float32(len(curve) - 1), np.float32(0), np.float32(1), np.float32(0.5), 255
    for y in range(linear.shape[0]):
        for x in range(linear.shape[1]):
            for k in range(3):
                shown = curve[int(min(max(linear[y, x, k], dark), full) * last + half)]
                shown += np.float32(math.sqrt(shot_noise * shown + noise)) * grain[y, x, k]
                picture[y, x, k] = np.uint8(min(max(shown, dark), full) * np.float32(white) + half)
