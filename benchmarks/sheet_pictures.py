"""Pictures of a printed sheet as a camera sees it, ray-cast through the full lens model: no renderer of ours."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel

# An Azure Kinect's factory calibration at 720p.
KINECT_720P = CameraModel(
    1280, 720, 611.796, 611.927, 639.304, 365.853,
    (0.330121, -2.489397, -0.000161782, -0.000129445, 1.453671, 0.208912, -2.302915, 1.375128),
)  # fmt: skip


class Printed(Protocol):
    """What lies on the bed: its extent along the bed and across it in metres, and its picture, head left."""

    @property
    def width(self) -> float: ...

    @property
    def height(self) -> float: ...

    def image(self, px_per_metre: float = 800.0) -> NDArray[np.uint8]: ...


@lru_cache(maxsize=4)
def _rays(camera: CameraModel) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Rays (H, W, 2) on z = 1 through the pixel centres, and their change along a row and down a column."""
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64)
    rays = camera.unproject(pixels)[:, :2].reshape(camera.height, camera.width, 2)
    along, down = (np.asarray(np.gradient(rays, axis=axis), dtype=np.float64) for axis in (1, 0))
    return rays, along, down


def picture_of_sheet(
    sheet: Printed, camera: CameraModel, camera_from_sheet: NDArray[np.float64], rng: np.random.Generator, *,
    blur_px: float = 1.0, noise: float = 4.0, gain: float = 0.7, offset: float = 25.0, background: int = 110,
    scale: float = 1.0, subsamples: int = 3, px_per_metre: float = 800.0,
) -> NDArray[np.uint8]:  # fmt: skip
    """What `camera` sees of the sheet (H, W, 3), grey on a plain ground, with lens blur (σ, px) and sensor noise.

    scale: the printed size over the nominal one.
    """
    texture = sheet.image(px_per_metre)
    window = _window(sheet, camera, camera_from_sheet, scale, 6 + round(4 * blur_px))
    rays, along, down = (field[window] for field in _rays(camera))
    rotation, translation = camera_from_sheet[:3, :3], camera_from_sheet[:3, 3]
    centre = -rotation.T @ translation
    total = np.zeros(rays.shape[:2])
    steps = (np.arange(subsamples) + 0.5) / subsamples - 0.5
    for du in steps:
        for dv in steps:
            direction = (rays + du * along + dv * down) @ rotation[:2] + rotation[2]
            distance = np.where(direction[..., 2] * centre[2] < 0, -centre[2] / direction[..., 2], np.inf)
            with np.errstate(invalid="ignore"):
                x, y = centre[0] + distance * direction[..., 0], centre[1] + distance * direction[..., 1]
            column = (x / scale + sheet.width / 2) * (texture.shape[1] / sheet.width) - 0.5
            row = (sheet.height / 2 - y / scale) * (texture.shape[0] / sheet.height) - 0.5
            column, row = (np.nan_to_num(np.clip(m, -1e4, 1e4), nan=-1e4).astype(np.float32) for m in (column, row))
            total += cv2.remap(
                texture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=background
            )
    seen = np.full((camera.height, camera.width), float(background))
    seen[window] = total / subsamples**2
    if blur_px > 0:
        seen = cv2.GaussianBlur(seen, (0, 0), blur_px)
    seen = seen * gain + offset + rng.normal(0.0, noise, seen.shape)
    return np.repeat(np.clip(np.round(seen), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _window(
    sheet: Printed, camera: CameraModel, camera_from_sheet: NDArray[np.float64], scale: float, rim: int
) -> tuple[slice, slice]:
    """Rows and columns that hold the sheet, or the whole picture where a part of the sheet lies outside it."""
    x, y = scale * sheet.width / 2, scale * sheet.height / 2
    edge = np.linspace(-1, 1, 9)
    outline = np.concatenate([np.column_stack([edge * x, np.full(9, side * y), np.zeros(9)]) for side in (-1, 1)])
    in_camera = outline @ camera_from_sheet[:3, :3].T + camera_from_sheet[:3, 3]
    whole = (slice(0, camera.height), slice(0, camera.width))
    if (in_camera[:, 2] < 0.1).any():
        return whole
    # The rational model folds back far outside the picture, so the rays are held against the picture's own.
    limit = np.abs(_rays(camera)[0]).max(axis=(0, 1))
    if (np.abs(in_camera[:, :2] / in_camera[:, 2:]) > limit).any():
        return whole
    pixels = camera.project(in_camera)
    low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - rim, 0).tolist()
    high = np.ceil(pixels.max(axis=0)).astype(int) + rim
    return slice(low[1], int(high[1])), slice(low[0], int(high[0]))
