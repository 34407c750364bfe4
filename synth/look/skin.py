"""Skin, lips, brows, eyes and stubble as vertex colours. Tones are the Monk scale's ten, whatever the body."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.color import from_hex, linear
from synth.look.anatomy import Anatomy
from synth.look.face import Face

# Ellis Monk's skin tone scale (skintone.google), 1 to 10.
MONK_SCALE = ("f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a", "292420")
# The swatches show skin in full light. As albedo they would be chalk: the fairest skin reflects about 0.65 of red light
# and 0.45 of blue.
_REFLECTED = np.array([0.72, 0.62, 0.56], np.float32)
GLOSS = 0.15
_BLUSH = np.array([0.08, 0.42, 0.38], np.float32)  # what blood takes away
_LIPS = np.array([0.82, 0.5, 0.5], np.float32)
_SCLERA, _PUPIL = np.array([0.62, 0.6, 0.57], np.float32), np.full(3, 0.01, np.float32)
_IRIS = ("3b2416", "4a3220", "5b6b70", "6b7d8f", "4f6145")


def reflectance(tone: int) -> NDArray[np.float32]:
    """(3,) linear albedo of Monk tone 1–10."""
    return np.asarray(_REFLECTED * linear(from_hex(MONK_SCALE[tone - 1])) ** 0.9, dtype=np.float32)


def _spot(x: NDArray[np.float64], z: NDArray[np.float64], wide: float, high: float) -> NDArray[np.float64]:
    return np.exp(-((x / wide) ** 2) - (z / high) ** 2)


class Skin:
    """Paints bodies of one topology."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        a, face = anatomy, Face(anatomy)
        self._face = face
        side, up = np.abs(a.x) - face.eye_x, a.z - a.eye_z
        skin = face.front & (a.eye < 0.5)
        # Vertices by their numbers: quicker to paint than a mask of all.
        self._lips = np.flatnonzero(face.lips)
        self._brows = np.flatnonzero(skin & ((side / 0.021) ** 2 + ((up - 0.021) / 0.006) ** 2 < 1))
        self._lashes = np.flatnonzero(skin & ((side / 0.017) ** 2 + ((up - 0.006) / 0.0045) ** 2 < 1))
        # What little light reaches: sockets, nostrils, the line between the lips, beneath the chin.
        shade = 0.22 * _spot(side, up - 0.004, 0.022, 0.015) + 0.12 * _spot(side, up + 0.02, 0.02, 0.01)
        nostrils = _spot(np.abs(a.x) - 0.009, a.z - face.nose_z + 0.012, 0.006, 0.004)
        shade += 0.6 * nostrils * (a.y < face.nose_y + 0.03)
        shade += 0.45 * _spot(a.x, a.z - face.mouth_z, 0.024, 0.002)
        self._shade = np.where(skin, shade, 0.0).astype(np.float32)
        cheeks = _spot(np.abs(a.x) - 0.04, a.z - face.nose_z - 0.002, 0.025, 0.025)
        nose = _spot(a.x, a.z - face.nose_z, 0.015, 0.014) * (a.y < face.nose_y + 0.03)
        knees = _spot(a.z - a.knee_z, np.zeros_like(a.z), 0.05, 1.0) * (a.leg > 0.5) * (a.template_normals[:, 1] < 0)
        warm = np.where(skin, cheeks + 0.7 * nose, 0.0) + 0.6 * a.hand + 0.5 * a.toe + 0.35 * knees
        self._warmth = warm.astype(np.float32)
        # Palms and soles stay fair on dark skin.
        downward = a.template_normals[:, 2] < -0.25
        self._palms = np.where(downward, np.maximum(a.hand, a.foot), 0.0).astype(np.float32)
        eyes = a.eye > 0.5
        forward = np.zeros(len(a.z))
        for sign, name in ((1, "eye.L"), (-1, "eye.R")):
            here = eyes & (np.sign(a.x) == sign)
            from_center = a.template[here] - a.bone(name)
            forward[here] = -from_center[:, 1] / np.maximum(np.linalg.norm(from_center, axis=1), 1e-9)
        self._sclera, self._iris, self._pupil = (np.flatnonzero(eyes & (forward > least)) for least in (-2, 0.85, 0.96))

    def paint(
        self, rng: np.random.Generator, tone: int, hair: NDArray[np.float32], sex: str = "female", age_years: float = 45
    ) -> NDArray[np.float32]:
        """(V, 3) linear albedo for Monk tone 1–10; `hair` (3,) linear colours brows and a man's stubble."""
        base = reflectance(tone) * np.float32(rng.uniform(0.88, 1.06))
        broad, fine = self._anatomy.noise(rng, 7), self._anatomy.noise(rng, 2)
        aged = float(np.clip((age_years - 30.0) / 50.0, 0.0, 1.0))
        # (3, V) until the end: numpy is slow where the innermost axis is three long.
        colors = base[:, None] * (1.0 + 0.035 * broad + (0.015 + 0.03 * aged) * np.minimum(fine, 1.0))
        redness = self._warmth * np.float32(rng.uniform(0.15, 0.45))
        colors *= 1.0 - _BLUSH[:, None] * redness
        if tone > 5:
            colors *= 1.0 + (0.12 * (tone - 5)) * self._palms
        if sex == "male" and age_years > 16:
            stubble = self._face.jaw * np.float32(max(0.0, rng.uniform(-0.25, 0.55)))
            colors += stubble * ((0.6 * hair + 0.25 * base)[:, None] - colors)
        colors *= 1.0 - self._shade
        colors[:, self._lips] = (base * _LIPS)[:, None] * (1.0 - 0.6 * self._shade[self._lips])
        strength = float(rng.uniform(0.45, 0.8))
        iris = linear(from_hex(_IRIS[int(rng.integers(len(_IRIS)))] if tone < 6 else _IRIS[0]))
        for vertices, color in (
            (self._brows, (1 - strength) * base + strength * hair), (self._lashes, 0.4 * base),
            (self._sclera, _SCLERA), (self._iris, iris), (self._pupil, _PUPIL),
        ):  # fmt: skip
            colors[:, vertices] = color[:, None]
        return np.ascontiguousarray(np.clip(colors, 0.0, 1.0).T, dtype=np.float32)
