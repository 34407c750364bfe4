"""The bed's long axis as the camera sees it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.camera import CameraModel

# Metres: a lying body's middle above the mattress, how far beyond the edge it may be, and half of the axis' piece.
_ABOVE, _BEYOND, _PIECE = 0.12, 0.2, 0.15


def bed_axis(
    camera: CameraModel, camera_from_bed: NDArray[np.floating], bed: Bed, pixels: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(N, 2) unit vectors in the picture from head end to foot end of the bed, where it is seen at pixels (N, 2).

    NaN for a pixel whose ray misses the bed's top (widened by 0.2 m, a lying body's height above it). Perspective
    makes the axis another one at every place. camera_from_bed: (4, 4), metres.
    """
    rotation, origin = np.asarray(camera_from_bed, np.float64)[:3, :3], np.asarray(camera_from_bed, np.float64)[:3, 3]
    points = np.asarray(pixels, np.float64).reshape(-1, 2)
    rays = camera.unproject(points) @ rotation
    eye = -origin @ rotation
    axis = np.full((len(points), 2), np.nan)
    if eye[2] <= _ABOVE:
        return axis
    downward = rays[:, 2] < -1e-6
    far = (_ABOVE - eye[2]) / np.where(downward, rays[:, 2], -1.0)
    met = eye + far[:, None] * rays
    half = np.array([bed.length, bed.width]) / 2 + _BEYOND
    on_bed = downward & (np.abs(met[:, :2]) <= half).all(1)
    ends = met[on_bed, None] + np.array([[-_PIECE, 0, 0], [_PIECE, 0, 0]])
    seen = ends @ rotation.T + origin
    ahead = (seen[..., 2] > 0.05).all(1)
    pixel = camera.project(seen[ahead].reshape(-1, 3)).reshape(-1, 2, 2)
    along = pixel[:, 1] - pixel[:, 0]
    length = np.linalg.norm(along, axis=1, keepdims=True)
    axis[np.flatnonzero(on_bed)[ahead]] = along / np.where(length > 1e-6, length, np.nan)
    return axis
