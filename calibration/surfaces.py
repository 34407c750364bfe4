"""Planes in a depth picture: the floor, and surfaces that face upward above it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

FLOOR_BAND_M, FEWEST_FLOOR_SHARE = 0.02, 0.03
CANDIDATES, SAMPLE = 300, 4000
EDGE_STEP_M = 0.08  # neighbours farther apart than this lie on different surfaces


@dataclass(frozen=True)
class Plane:
    """Points p with normal · p + offset = 0; the normal (3,) has length 1 and points upward."""

    normal: NDArray[np.float64]
    offset: float

    def heights(self, points: Points) -> NDArray[np.float64]:
        """Signed distances (…,) of points (…, 3), + on the normal's side."""
        return np.asarray(points @ self.normal + self.offset, dtype=np.float64)

    def raised(self, height: float) -> Plane:
        """The parallel plane `height` metres along the normal."""
        return Plane(self.normal, self.offset - height)

    def crossing(self, rays: Points) -> Points:
        """Where rays (N, 3) from the origin cross the plane; not finite where they run along it or away from it."""
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = -self.offset / (rays @ self.normal)
        reach = np.where(reach > 0, reach, np.nan)
        return np.asarray(rays * reach[:, None], dtype=np.float64)


def fit_plane(points: Points, toward: NDArray[np.float64]) -> Plane:
    """The least-squares plane of points (N ≥ 3, 3), its normal on the side of the direction `toward`."""
    centre = points.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov((points - centre).T))
    normal = vectors[:, 0] * (1.0 if vectors[:, 0] @ toward >= 0 else -1.0)
    return Plane(normal, -float(normal @ centre))


def find_floor(points: Points, rng: np.random.Generator, up: NDArray[np.float64] | None = None) -> Plane | None:
    """The floor among points (N, 3) of a camera (x right, y down, z forward): the large plane with nothing below it.

    up: the direction against gravity (3,) where it is known; the floor then lies within 6° of level. Without it any
    floor that a camera rolled by less than about 25° sees from above will do. None where there is no such plane.
    Source of the method: RANSAC, Fischler and Bolles, 1981.
    """
    if len(points) < 500:
        return None
    sample = points[rng.choice(len(points), min(SAMPLE, len(points)), replace=False)]
    corners = sample[rng.integers(len(sample), size=(CANDIDATES, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    wide = lengths > 0.01
    normals, corners = normals[wide] / lengths[wide, None], corners[wide, 0]
    # Its upward side is the camera's: the camera stands above the floor.
    normals *= np.sign(-(normals * corners).sum(axis=1))[:, None]
    if up is not None:
        level = normals @ up > np.cos(np.radians(6))
    else:
        level = (normals[:, 1] < -0.15) & (np.abs(normals[:, 0]) < 0.45) & (normals[:, 2] < 0.35)
    normals, corners = normals[level], corners[level]
    if len(normals) == 0:
        return None
    heights = sample @ normals.T - (normals * corners).sum(axis=1)
    on = (np.abs(heights) < FLOOR_BAND_M).mean(axis=0)
    below = (heights < -3 * FLOOR_BAND_M).mean(axis=0)
    score = np.where(below < 0.02, on, 0.0)
    best = int(score.argmax())
    if score[best] < FEWEST_FLOOR_SHARE:
        return None
    plane = Plane(normals[best], -float(normals[best] @ corners[best]))
    for band in (FLOOR_BAND_M, FLOOR_BAND_M, 0.6 * FLOOR_BAND_M):
        near = points[np.abs(plane.heights(points)) < band]
        if len(near) < 100:
            return None
        plane = fit_plane(near, plane.normal)
    return plane


def surface_normals(points: Points) -> Points:
    """Unit normals (H, W, 3) of a grid of points (H, W, 3), from neighbours three pixels away; NaN next to gaps."""
    along, down = np.full_like(points, np.nan), np.full_like(points, np.nan)
    along[:, 3:-3] = points[:, 6:] - points[:, :-6]
    down[3:-3] = points[6:] - points[:-6]
    normals = np.cross(along, down)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(normals / np.linalg.norm(normals, axis=2, keepdims=True), dtype=np.float64)


def on_an_edge(depth_m: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pixels (H, W) beside a jump of depth (H, W), where a time-of-flight reading may lie between the surfaces."""
    kernel = np.ones((3, 3))
    far = cv2.dilate(depth_m, kernel)
    near = cv2.erode(np.where(depth_m > 0, depth_m, 1e3), kernel)
    return np.asarray(far - near > EDGE_STEP_M)
