"""Ends of hair: pointed locks along the edge of a cut, so that no cap ends in a straight rim."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.look.garment import Cut

_LOCKS = 3  # to an edge of the mesh, about a centimetre


class Fringe:
    """Locks for one cut."""

    def __init__(self, pattern: Cut) -> None:
        triangles = pattern.triangles
        sides = np.stack([triangles, np.roll(triangles, -1, axis=1), np.roll(triangles, -2, axis=1)], 2).reshape(-1, 3)
        trimmed = pattern.a != pattern.b
        _, first, count = np.unique(np.sort(sides[:, :2], axis=1), axis=0, return_index=True, return_counts=True)
        rim = sides[first[count == 1]]
        rim = rim[trimmed[rim[:, :2]].all(1)]
        self._rim = np.repeat(rim, _LOCKS, axis=0)  # a triangle's two corners on the rim, and the one behind

    def grow(
        self, rng: np.random.Generator, vertices: NDArray[np.float32], length: float
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int32]]:
        """Locks up to `length` metres long on a cut's `vertices` (G, 3): their corners (3 L, 3), triangles (L, 3)
        numbered from 0, and of each corner the vertex that it moves with (3 L,)."""
        rim, count = self._rim, len(self._rim)
        one, other, behind = vertices[rim].transpose(1, 0, 2)
        along = other - one
        chance = rng.random((4, count, 1), dtype=np.float32)
        middle = chance[0]
        half = 0.2 + 0.3 * chance[1]
        outward = one + 0.5 * along - behind
        outward /= np.maximum(np.sqrt((outward**2).sum(1, keepdims=True)), 1e-6)
        slant = 1.2 * (chance[2] - 0.5) * along / np.maximum(np.sqrt((along**2).sum(1, keepdims=True)), 1e-6)
        tip = one + middle * along + (outward + slant) * (np.float32(length) * (0.15 + 0.85 * chance[3] ** 2))
        corners = np.stack([one + (middle + half) * along, one + (middle - half) * along, tip], axis=1)
        triangles = np.arange(3 * count, dtype=np.int32).reshape(count, 3)
        return corners.reshape(-1, 3).astype(np.float32), triangles, np.repeat(rim[:, 0], 3)
