"""Hair as a cap over the scalp: cropped to long, in natural colours; greyer with age; baldness the exception."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.body.body_model import PosedBody, RestBody
from synth.look.anatomy import Anatomy
from synth.look.color import from_hex, linear
from synth.look.garment import CLEARANCE, Cut, cut, pushed_out
from synth.render.mesh import Mesh

STYLES = ("bald", "cropped", "short", "medium", "long")
_NATURAL = ("0d0a08", "1c130d", "2e1d12", "4a2f1b", "6b4526", "8a6238", "b08d57", "6e2f16")
_GREY = ("6f6d6a", "9a9896", "c9c7c3", "e4e2dd")
# style: thickness, its unevenness, how far the hairline drops at the back and sides (m)
_CAPS = {
    "cropped": (0.006, 0.001, 0.0),
    "short": (0.014, 0.004, 0.0),
    "medium": (0.024, 0.007, 0.045),
    "long": (0.026, 0.008, 0.16),
}


class Hair:
    """Caps for one topology."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._cuts: dict[tuple[str, int], Cut] = {}
        self._behind: dict[tuple[str, int], NDArray[np.float64]] = {}  # (V,) metres behind the hairline

    def color(self, rng: np.random.Generator, age_years: float) -> NDArray[np.float32]:
        """(3,) linear albedo."""
        grey = rng.random() < np.clip((age_years - 35.0) / 40.0, 0.02, 0.9)
        names = _GREY if grey else _NATURAL
        return linear(from_hex(names[int(rng.integers(len(names)))])) * np.float32(rng.uniform(0.8, 1.1))

    def style(self, rng: np.random.Generator, age_years: float, sex: str) -> str:
        """A style; women wear it longer, and men over fifty are bald more often."""
        if sex == "female":
            odds = (0.03, 0.07, 0.25, 0.35, 0.30)
        else:
            bald = 0.2 if age_years > 50 else 0.06
            odds = (bald, 0.30, 0.50 - bald, 0.15, 0.05)
        return STYLES[int(rng.choice(len(STYLES), p=odds))]

    def _cut(self, style: str, hairline: int) -> Cut:
        key = (style, hairline)
        if key not in self._cuts:
            a = self._anatomy
            front_y, back_y = a.y[a.head > 0.5].min() + 0.03, a.y[a.head > 0.5].max() - 0.02
            forehead, nape = a.eye_z + 0.052 + 0.012 * hairline, a.eye_z - 0.075
            depth = np.clip((a.y - front_y) / (back_y - front_y), 0.0, 1.0)
            drop = _CAPS[style][2]
            # The hairline falls from forehead to nape, stays above the ears, and long hair hangs behind the face only.
            line = forehead + (nape - forehead) * depth**1.3 - drop * np.clip((depth - 0.42) / 0.12, 0.0, 1.0)
            near_head = (a.head > 0.1) | (
                (a.z > a.neck_z - 0.12) & (a.y > a.bone("neck01")[1] - 0.01) & (np.abs(a.x) < 0.12)
            )
            behind = np.where(near_head & (a.eye < 0.1) & (a.arm < 0.3), a.z - line, -0.05)
            self._behind[key] = behind
            self._cuts[key] = cut(behind, a.topology.triangles)
        return self._cuts[key]

    def grow(
        self, rng: np.random.Generator, rest: RestBody, normals: NDArray[np.float32], posed: PosedBody, style: str,
        color: NDArray[np.float32], instance: int, worn: NDArray[np.float32],
    ) -> Mesh | None:  # fmt: skip
        """The cap as a mesh that moves with the head, or None for the bald.

        normals (V, 3): of the resting body; worn (V,): metres of cloth on the skin, which long hair falls over.
        """
        if style == "bald":
            return None
        a = self._anatomy
        hairline = int(rng.integers(3))
        pattern = self._cut(style, hairline)
        thickness, uneven, _ = _CAPS[style]
        strands = a.noise(rng, 3)
        filled = np.zeros(len(rest.vertices), np.float32)
        if style != "cropped":  # longer hair bridges the hollow of the neck
            hollow = a.smoothed(rest.vertices, 5) - rest.vertices
            filled = np.maximum((hollow * normals).sum(1), 0.0).astype(np.float32)
        # Thin at the hairline, full 2 cm behind it.
        rise = np.clip(self._behind[style, hairline] / 0.02, 0.15, 1.0)
        distance = (thickness * rise + filled + uneven * strands).astype(np.float32)
        distance = np.maximum(distance, worn + np.float32(CLEARANCE))
        resting = pushed_out(pattern, rest.vertices, normals, distance)
        blend = pattern.on(posed.blend)
        vertices = np.einsum("vij,vj->vi", blend[:, :, :3], resting) + blend[:, :, 3]
        colors = np.clip(color * (1.0 + 0.18 * pattern.on(strands)[:, None]), 0.0, 1.0)
        return Mesh(vertices.astype(np.float32), pattern.triangles, colors.astype(np.float32), instance)
