"""Measuring a resting body: height and body mass index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DENSITY = 980.0  # kg/m³, a living body's mean


def height_and_bmi(vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> tuple[float, float]:
    """Height in metres along z of a closed upright surface, and its body mass index, kg/m², by its volume."""
    height = float(np.ptp(vertices[:, 2]))
    # Six times the tetrahedra between the origin and each triangle; by columns, which is twice as fast as by rows.
    (xa, xb, xc), (ya, yb, yc), (za, zb, zc) = (axis[triangles.T] for axis in vertices.astype(np.float64).T)
    volume = abs(float(xa @ (yb * zc - zb * yc) + ya @ (zb * xc - xb * zc) + za @ (xb * yc - yb * xc))) / 6.0
    return height, volume * _DENSITY / height**2


def vertex_areas(vertices: NDArray[np.floating], triangles: NDArray[np.int32]) -> NDArray[np.float64]:
    """The surface (N,), m², around each vertex: a third of that of the triangles that meet there.

    Shares of a surface are by area: a face has more vertices than a back, and how many depends on the mesh.
    """
    a, b, c = (vertices[triangles[:, k]].astype(np.float64) for k in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6.0
    return np.bincount(triangles.ravel(), np.repeat(areas, 3), len(vertices)).astype(np.float64)
