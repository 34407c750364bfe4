"""Depth in the colour camera's geometry, and as a point cloud, from the factory calibration alone.

The Kinect SDK does the same on a GPU and refuses without a display; this needs numpy.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from runtime.frames import Frame

_NOTHING = np.iinfo(np.uint16).max


@lru_cache(maxsize=4)
def _rays(camera: CameraModel) -> NDArray[np.float64]:
    """Rays (H·W, 3) with z = 1 through every pixel's centre, row by row."""
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = camera.unproject(np.column_stack([u.ravel(), v.ravel()]).astype(np.float64))
    rays.setflags(write=False)
    return rays


def _geometry(frame: Frame) -> tuple[NDArray[np.uint16], CameraModel, NDArray[np.float64]]:
    if frame.depth is None:
        raise ValueError(f"frame {frame.index} of {frame.source} has no depth")
    if frame.depth_camera is None or frame.color_from_depth is None:
        raise ValueError(f"frame {frame.index} of {frame.source} has depth, but no calibration of it")
    return frame.depth, frame.depth_camera, frame.color_from_depth


def point_cloud(frame: Frame) -> NDArray[np.float64]:
    """Points (N, 3) in metres in the *colour* camera's coordinates, one a depth reading, in the order of its pixels.

    Raises `ValueError` where the frame has no depth or no calibration of it.
    """
    depth, depth_camera, color_from_depth = _geometry(frame)
    z_mm = depth.ravel()
    seen = np.flatnonzero(z_mm)
    points = _rays(depth_camera)[seen] * (z_mm[seen, None] / 1000.0)
    # Far outside the lens's field the distortion can't be inverted; such rays are not finite.
    points = points[np.isfinite(points).all(axis=1)]
    return points @ color_from_depth[:3, :3].T + color_from_depth[:3, 3]


def register_depth(frame: Frame) -> NDArray[np.uint16]:
    """Depth (H, W) uint16 millimetres as the colour camera would see it (distorted as it is); 0 = no reading.

    Every reading covers as many colour pixels as one depth pixel spans, so a surface stays closed; where two fall on
    one pixel the nearer wins, as in the colour image. Edges are therefore about one pixel fat.
    Raises `ValueError` where the frame has no depth or no calibration.
    """
    camera = frame.camera
    if camera is None:
        raise ValueError(f"frame {frame.index} of {frame.source} has no colour calibration")
    _, depth_camera, _ = _geometry(frame)
    points = point_cloud(frame)
    points = points[points[:, 2] > 0.05]
    pixels = camera.project(points)
    z_mm = np.clip(np.rint(points[:, 2] * 1000.0), 1, _NOTHING - 1).astype(np.uint16)

    # A tenth more than the ratio of the focal lengths: distortion stretches some of the image.
    span = max(1, math.ceil(1.1 * max(camera.fx / depth_camera.fx, camera.fy / depth_camera.fy)))
    size = np.array([camera.width, camera.height])
    kept = ((pixels > -span) & (pixels < size + span)).all(axis=1)
    corner = np.rint(pixels[kept] - (span - 1) / 2.0).astype(np.int64)
    z_mm = z_mm[kept]

    registered = np.full(camera.height * camera.width, _NOTHING, dtype=np.uint16)
    for down in range(span):
        for right in range(span):
            u, v = corner[:, 0] + right, corner[:, 1] + down
            on = (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
            np.minimum.at(registered, v[on] * camera.width + u[on], z_mm[on])
    registered[registered == _NOTHING] = 0
    return _close_cracks(registered.reshape(camera.height, camera.width))


def _close_cracks(depth: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Fills one-pixel cracks, where the lens stretches more than the span allows for, between neighbours that agree."""
    for axis in (0, 1):
        line = np.moveaxis(depth, axis, 0)
        before, here, after = line[:-2].astype(np.int32), line[1:-1], line[2:].astype(np.int32)
        crack = (here == 0) & (before > 0) & (after > 0) & (np.abs(before - after) * 50 < before)
        here[crack] = np.maximum(before, after)[crack]
    return depth


# Relative step and reach (metres) of the search along a pixel's ray; how near to its point a reading must lie.
_STEP, _NEAREST_M, _FARTHEST_M = 0.01, 0.3, 8.0
_NEAR_M, _NEAR_PART = 0.015, 0.01


def depth_at(
    frame: Frame, camera: CameraModel, pixels: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Depth (K,) in metres along the *colour* camera's axis at its pixels (K, 2), and the spread (K,) of the readings
    around; NaN where the depth camera sees no surface on a pixel's ray.

    Each pixel's ray is followed outwards until it meets a reading: a few thousand points instead of the whole image
    that `register_depth` makes. camera: of the colour picture in which the pixels are.
    Raises `ValueError` where the frame has no depth or no calibration of it.
    """
    depth, depth_camera, color_from_depth = _geometry(frame)
    depth_from_color = np.linalg.inv(color_from_depth)
    reach = _NEAREST_M * (1 + _STEP) ** np.arange(math.ceil(math.log(_FARTHEST_M / _NEAREST_M) / math.log1p(_STEP)))
    rays = camera.unproject(pixels)
    points = rays[:, None] * reach[:, None]  # (K, steps, 3)
    there = points @ depth_from_color[:3, :3].T + depth_from_color[:3, 3]
    ahead = there[..., 2] > 0.05
    seen = depth_camera.project(np.where(ahead[..., None], there, [0.0, 0.0, 1.0]).reshape(-1, 3))
    seen = np.nan_to_num(seen, nan=-1e6, posinf=-1e6, neginf=-1e6)
    column, row = np.clip(np.rint(seen), -1e6, 1e6).astype(np.int64).reshape(*ahead.shape, 2).transpose(2, 0, 1)
    inside = ahead & (column >= 0) & (row >= 0) & (column < depth.shape[1]) & (row < depth.shape[0])
    column, row = np.where(inside, column, 0), np.where(inside, row, 0)
    reading = np.where(inside, depth[row, column] / 1000.0, 0.0)
    gap = np.abs(reading - there[..., 2])
    met = (reading > 0) & (gap <= _NEAR_M + _NEAR_PART * there[..., 2])
    # Among the first readings that the ray meets, the nearest to it.
    first = met.argmax(1)
    window = np.arange(met.shape[1]) - first[:, None]
    at = np.where(met & (window >= 0) & (window <= 3), gap, np.inf).argmin(1)
    index = np.arange(len(rays))
    behind = reading[index, at] - there[index, at, 2]
    found = met.any(1)
    z, spread = np.where(found, reach[at] + behind, np.nan), np.full(len(rays), np.nan)
    spread[found] = _spread(depth, row[index, at][found], column[index, at][found])
    return z, spread


def _spread(depth: NDArray[np.uint16], row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float64]:
    """Standard deviation (K,) in metres of the readings in the 3 × 3 pixels around each; its own is one of them."""
    around = np.stack(
        [
            depth[np.clip(row + down, 0, depth.shape[0] - 1), np.clip(column + right, 0, depth.shape[1] - 1)]
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
        ],
        axis=1,
    )
    return np.asarray(np.nanstd(np.where(around > 0, around / 1000.0, np.nan), axis=1))
