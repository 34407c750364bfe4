"""Measuring a resting body: height and body mass index."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.render.jit import njit

Array = Any  # numba infers the element types
_DENSITY = 980.0  # kg/m³, a living body's mean


def height_and_bmi(vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> tuple[float, float]:
    """Height in metres along z of a closed upright surface, and its body mass index, kg/m², by its volume."""
    height = float(np.ptp(vertices[:, 2]))
    return height, _volume(vertices, triangles) * _DENSITY / height**2


@njit
def _volume(vertices: Array, triangles: Array) -> float:
    """m³ inside a closed surface."""
    total = 0.0  # six times the tetrahedra between the origin and each triangle
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        xa, ya, za = np.float64(vertices[a, 0]), np.float64(vertices[a, 1]), np.float64(vertices[a, 2])
        xb, yb, zb = np.float64(vertices[b, 0]), np.float64(vertices[b, 1]), np.float64(vertices[b, 2])
        xc, yc, zc = np.float64(vertices[c, 0]), np.float64(vertices[c, 1]), np.float64(vertices[c, 2])
        total += xa * (yb * zc - zb * yc) + ya * (zb * xc - xb * zc) + za * (xb * yc - yb * xc)
    return abs(total) / 6.0


def vertex_areas(vertices: NDArray[np.floating], triangles: NDArray[np.int32]) -> NDArray[np.float64]:
    """The surface (N,), m², around each vertex: a third of that of the triangles that meet there.

    Shares of a surface are by area: a face has more vertices than a back, and how many depends on the mesh.
    """
    a, b, c = (vertices[triangles[:, k]].astype(np.float64) for k in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6.0
    return np.bincount(triangles.ravel(), np.repeat(areas, 3), len(vertices)).astype(np.float64)
