"""Measuring a resting body: height, body mass index, and the flesh over its joints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DENSITY = 980.0  # kg/m³, a living body's mean


def height_and_bmi(vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> tuple[float, float]:
    """Height in metres along z of a closed upright surface, and its body mass index, kg/m², by its volume."""
    height = float(np.ptp(vertices[:, 2]))
    a, b, c = (vertices[triangles[:, k]].astype(np.float64) for k in range(3))
    volume = abs(float(np.einsum("ij,ij->", np.cross(a, b), c))) / 6.0
    return height, volume * _DENSITY / height**2


def distance_to_skin(keypoints: NDArray[np.float64], vertices: NDArray[np.float32]) -> NDArray[np.float64]:
    """(K,) metres from each point to the nearest vertex. Measure at rest, where no other limb lies against a joint."""
    skin = vertices.astype(np.float64)
    squared = (skin**2).sum(1)[:, None] - 2.0 * skin @ keypoints.T + (keypoints**2).sum(1)
    return np.asarray(np.sqrt(np.maximum(squared.min(0), 0.0)))
