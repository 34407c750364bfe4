"""sRGB and linear light."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def linear(srgb: ArrayLike) -> NDArray[np.float32]:
    """Linear albedo from sRGB values 0…1 (IEC 61966-2-1)."""
    s = np.asarray(srgb, dtype=np.float32)
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4).astype(np.float32)


def from_hex(code: str) -> NDArray[np.float32]:
    """sRGB 0…1 of "rrggbb"."""
    return np.array([int(code[k : k + 2], 16) for k in (0, 2, 4)], np.float32) / 255.0


def srgb(light: ArrayLike) -> NDArray[np.float32]:
    """sRGB values 0…1 of linear light; the inverse of `linear`."""
    v = np.clip(np.asarray(light, dtype=np.float32), 0, 1)
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055).astype(np.float32)
