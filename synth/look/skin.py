"""Skin, lips, brows and eyes as vertex colours. Tones are the Monk scale's ten, drawn independently of the body."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.look.anatomy import Anatomy
from synth.look.color import from_hex, linear

# Ellis Monk's skin tone scale (skintone.google), 1 to 10.
MONK_SCALE = ("f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a", "292420")
_IRIS = ("3b2416", "4a3220", "5b6b70", "6b7d8f", "4f6145")


class Skin:
    """Paints bodies of one topology."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        a = anatomy
        face = (a.head > 0.5) & (a.eye < 0.5)
        eye_left = a.bone("eye.L")
        nose_y = float(a.y[face].min())
        nose_z = float(a.z[face][a.y[face].argmin()])
        mouth_z = nose_z - 0.038
        front = a.template_normals[:, 1] < -0.2
        self._lips = face & front & (((a.x / 0.026) ** 2 + ((a.z - mouth_z) / 0.010) ** 2) < 1) & (a.y < nose_y + 0.05)
        brow = ((np.abs(a.x) - eye_left[0]) / 0.021) ** 2 + ((a.z - eye_left[2] - 0.021) / 0.006) ** 2
        self._brows = face & front & (brow < 1)
        cheek = ((np.abs(a.x) - 0.04) / 0.025) ** 2 + ((a.z - nose_z - 0.002) / 0.025) ** 2
        warm = np.where(face & front, np.exp(-cheek), 0.0) + 0.6 * a.hand + 0.5 * a.toe
        self._warmth = warm.astype(np.float32)
        eyes = a.eye > 0.5
        forward = np.zeros(len(a.z))
        for sign, name in ((1, "eye.L"), (-1, "eye.R")):
            here = eyes & (np.sign(a.x) == sign)
            from_center = a.template[here] - a.bone(name)
            forward[here] = -from_center[:, 1] / np.maximum(np.linalg.norm(from_center, axis=1), 1e-9)
        self._sclera, self._iris, self._pupil = eyes, eyes & (forward > 0.85), eyes & (forward > 0.96)

    def paint(self, rng: np.random.Generator, tone: int, hair: NDArray[np.float32]) -> NDArray[np.float32]:
        """(V, 3) linear albedo for Monk tone 1–10; `hair` (3,) linear colours the brows."""
        base = linear(from_hex(MONK_SCALE[tone - 1])) * np.float32(rng.uniform(0.85, 1.0))
        blotches = self._anatomy.noise(rng, 6)
        colors = base * (1.0 + 0.04 * blotches[:, None])
        redness = self._warmth * np.float32(rng.uniform(0.1, 0.35))
        colors *= 1.0 - redness[:, None] * np.array([0.1, 0.45, 0.4], np.float32)
        colors[self._lips] = base * np.array([0.85, 0.5, 0.5], np.float32)
        colors[self._brows] = 0.5 * base + 0.5 * hair if tone < 8 else hair
        colors[self._sclera] = 0.75
        colors[self._iris] = linear(from_hex(_IRIS[int(rng.integers(len(_IRIS)))] if tone < 6 else _IRIS[0]))
        colors[self._pupil] = 0.01
        return np.clip(colors, 0.0, 1.0).astype(np.float32)
