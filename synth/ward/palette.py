"""The colours of hospitals: what walls, floors, wood, plastics, linen and blankets are really sold in.

A colour is drawn from a family and varied a little; now and then it is anything at all, so that no detector learns that
a bed is always white. Families are sRGB hex; everything returned is a linear albedo.
"""

from __future__ import annotations

import colorsys

import numpy as np

from synth.color import from_hex
from synth.ward.shapes import linear

Color = tuple[float, float, float]
FAMILIES: dict[str, tuple[str, ...]] = {
    "wall": ("f2efe6", "ece8dc", "e9ebe8", "e3e7ea", "dfe6df", "efe6d6", "dde3e6", "f4f2ee", "e6dfd2", "d6e0e2"),
    "dado": ("c8d3cf", "b9c6cf", "d8cbb4", "c4b79f", "a9bab3", "8fa3ad", "cfc4d0", "d9d4c7", "9aa7a0", "b6a58c"),
    "floor": ("a9adaf", "b8b2a6", "9ea8ae", "8f979b", "c2b8a6", "a3aba3", "7f8a93", "b5a892", "989083", "c9c5bb"),
    "wooden floor": ("a97d52", "8b6440", "c09a6b", "b08d64", "9c7248", "77563a"),
    "wood": ("c9a676", "d8bd92", "b58f62", "8c6a48", "e4d6bd", "6e4f36", "c7b299", "e9e4da"),
    "plastic": ("e8e8e4", "d9dad6", "f0efeb", "c9cdd0", "b4bac0", "dcd6c8", "8d959c", "4a4f56", "9fb4c2", "c8d6d2"),
    "steel": ("b9bcbf", "a5a9ad", "cfd1d2", "8f9397"),
    "upholstery": ("5d7183", "7c6a58", "4d6b63", "8a4a44", "39485c", "8d8a80", "a3937a", "2f3438", "6d7d5e", "5b4a66"),
    "curtain": ("b9c9cf", "9fb6b4", "cdbfa5", "a8b9a0", "c7b4c0", "8fa8c0", "d5cdbd", "b3a48e", "7f9aa0", "d9dfe2"),
    "sheet": ("f4f4f2", "eef1f4", "f3efe6", "e9eef2", "fafaf8"),
    "coloured sheet": ("b9d0e2", "c5dccb", "e6d9bb", "d9c3cc", "9db9d3", "d3d8dc"),
    "blanket": ("eeeae0", "c9d8e4", "8aa6c1", "5f7ea3", "e3d3b8", "b7c7b4", "9a9ca0", "70424a", "3d4b63",
                "c8afa6", "d8d9dc"),
}  # fmt: skip
_RGB = {family: np.array([from_hex(name) for name in names]) for family, names in FAMILIES.items()}


def pick(rng: np.random.Generator, family: str, anything: float = 0.0) -> Color:
    """A colour of `FAMILIES`, varied; with chance `anything` one of any hue, at most four tenths saturated."""
    colors = _RGB[family]
    rgb = colors[int(rng.integers(len(colors)))]
    vary, free = rng.normal(0.0, 1.0, 4), rng.random(4)
    if free[3] < anything:
        rgb = np.array(colorsys.hsv_to_rgb(free[0], 0.08 + 0.34 * free[1], 0.35 + 0.55 * free[2]), np.float32)
    rgb = np.clip(rgb * (1.0 + 0.05 * vary[3]) + 0.012 * vary[:3], 0.02, 0.97)
    return linear(*(float(v) for v in rgb))
