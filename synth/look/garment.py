"""Cutting cloth from the body's own surface.

A garment is the part of the surface where a field is positive, cut along the field's zero line (so hems are clean),
pushed outward, and moved by the skin's own transforms. Body triangles well beneath it are left out: no skin can show
through.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HEM_MARGIN = 0.02  # metres of skin kept beneath a hem, so that nobody looks into an empty sleeve
CLEARANCE = 0.004  # metres: loose cloth never comes closer to the skin


@dataclass(frozen=True, slots=True)
class Cut:
    """Cloth vertices as points on body edges: (1 − t)·body[a] + t·body[b]; a, b, t (G,); triangles (K, 3) int32;
    hidden (T,) bool: body triangles it covers; covered (V,) bool: body vertices under it."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    t: NDArray[np.float32]
    triangles: NDArray[np.int32]
    hidden: NDArray[np.bool_]
    covered: NDArray[np.bool_]

    def on(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Body values (V, …) carried over to the cloth's vertices (G, …)."""
        t = self.t.reshape(-1, *([1] * (values.ndim - 1)))
        return np.asarray(values[self.a] * (1 - t) + values[self.b] * t)


def cut(field: NDArray[np.float64], triangles: NDArray[np.int32]) -> Cut:
    """Clip a surface to where `field` (V,) is positive; the field is a distance to the hem in metres."""
    keep: NDArray[np.bool_] = np.asarray(field > 0)
    count = keep[triangles].sum(1)
    whole = triangles[count == 3]
    pieces: list[NDArray[np.int64]] = []  # triangles of (a, b) pairs: (n, 3, 2)
    pieces.append(np.stack([whole, whole], axis=2).astype(np.int64))
    for inside in (1, 2):
        rows = triangles[count == inside].astype(np.int64)
        odd = keep[rows] if inside == 1 else ~keep[rows]
        first = odd.argmax(1)
        o, p, q = (rows[np.arange(len(rows)), (first + k) % 3] for k in range(3))

        def pair(i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.int64]:
            return np.stack([np.minimum(i, j), np.maximum(i, j)], axis=1)

        if inside == 1:
            pieces.append(np.stack([pair(o, o), pair(o, p), pair(o, q)], axis=1))
        else:
            pieces.append(np.stack([pair(p, p), pair(q, q), pair(q, o)], axis=1))
            pieces.append(np.stack([pair(p, p), pair(q, o), pair(p, o)], axis=1))
    corners = np.concatenate(pieces)
    keys = corners.reshape(-1, 2)
    unique, inverse = np.unique(keys[:, 0] * len(field) + keys[:, 1], return_inverse=True)
    a, b = np.divmod(unique, len(field))
    difference = field[a] - field[b]
    t = np.where(a == b, 0.0, np.clip(field[a] / np.where(difference == 0, 1.0, difference), 0.02, 0.98))
    hidden = np.asarray((field > _HEM_MARGIN)[triangles].all(1))
    return Cut(a, b, t.astype(np.float32), inverse.reshape(-1, 3).astype(np.int32), hidden, keep)


def pushed_out(
    pattern: Cut, rest: NDArray[np.float32], normals: NDArray[np.float32], distance: NDArray[np.float32],
    least: float = CLEARANCE,
) -> NDArray[np.float32]:  # fmt: skip
    """Cloth vertices (G, 3) at rest: the body's (V, 3), `distance` (V,) metres along its normals, never nearer than
    `least`."""
    away = np.maximum(pattern.on(distance), np.float32(least))
    return np.asarray(pattern.on(rest) + pattern.on(normals) * away[:, None], dtype=np.float32)
