"""How well each calibration method finds a camera whose place is known: simulated pictures, no renderer of ours.

The picture of the tag sheet is ray-cast through the full lens model from the sheet's own raster; the errors that a
person makes (placement, printed scale, focal length, clicks, tape measure) are drawn from what the methods assume.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.corners import calibrate_corners
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.manual import TapeMeasure, calibrate_manual
from calibration.posterior import pose_difference, scaled_focal, shifted_on_plane
from calibration.tag_sheet import TagSheet
from calibration.tags import TagCalibrator
from calibration.viewpoint import Viewpoint

# An Azure Kinect's factory calibration at 720p.
KINECT_720P = CameraModel(
    1280, 720, 611.796, 611.927, 639.304, 365.853,
    (0.330121, -2.489397, -0.000161782, -0.000129445, 1.453671, 0.208912, -2.302915, 1.375128),
)  # fmt: skip

Progress = Callable[[int, int, str], None]


@lru_cache(maxsize=4)
def _rays(camera: CameraModel) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Rays (H, W, 2) on z = 1 through the pixel centres, and their change along a row and down a column."""
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64)
    rays = camera.unproject(pixels)[:, :2].reshape(camera.height, camera.width, 2)
    along, down = (np.asarray(np.gradient(rays, axis=axis), dtype=np.float64) for axis in (1, 0))
    return rays, along, down


def picture_of_sheet(
    sheet: TagSheet, camera: CameraModel, camera_from_sheet: NDArray[np.float64], rng: np.random.Generator, *,
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
            )  # fmt: skip
    seen = np.full((camera.height, camera.width), float(background))
    seen[window] = total / subsamples**2
    if blur_px > 0:
        seen = cv2.GaussianBlur(seen, (0, 0), blur_px)
    seen = seen * gain + offset + rng.normal(0.0, noise, seen.shape)
    return np.repeat(np.clip(np.round(seen), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _window(
    sheet: TagSheet, camera: CameraModel, camera_from_sheet: NDArray[np.float64], scale: float, rim: int
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


def random_viewpoint(rng: np.random.Generator) -> Viewpoint:
    """A camera at the foot end or a side, as clinics mount it."""
    return Viewpoint(
        azimuth_deg=rng.uniform(-60, 60), elevation_deg=rng.uniform(20, 45), distance=rng.uniform(2.4, 3.4),
        roll_deg=rng.uniform(-3, 3), look_at=(rng.uniform(-0.15, 0.15), rng.uniform(-0.08, 0.08), 0.0),
    )  # fmt: skip


def simulate_tags(rng: np.random.Generator) -> tuple[NDArray[np.float64], CalibrationEstimate]:
    """One trial of `tags`: the true pose and the estimate."""
    calibrator, bed = TagCalibrator(), Bed()
    settings, sheet = calibrator.settings, calibrator.sheet
    truth = random_viewpoint(rng).camera_from_bed
    bed_from_sheet = shifted_on_plane(rng, settings.placement_m, sheet.width / 2)
    lens = scaled_focal(KINECT_720P, 1 + rng.normal(0.0, settings.focal_error))
    picture = picture_of_sheet(
        sheet, KINECT_720P, truth @ bed_from_sheet, rng, scale=1 + rng.normal(0.0, settings.scale_error)
    )
    return truth, calibrator.estimate(picture, lens, bed)


def simulate_corners(rng: np.random.Generator) -> tuple[NDArray[np.float64], CalibrationEstimate]:
    """One trial of `corners`: four clicks, 2 px off, on a bed that is not quite as long and wide as stated."""
    bed, size_error = Bed(), rng.normal(0.0, 0.01, 2)
    while True:
        truth = random_viewpoint(rng).camera_from_bed
        corners = bed.corners * np.array([1 + size_error[0] / bed.length, 1 + size_error[1] / bed.width, 1.0])
        pixels = KINECT_720P.project(corners @ truth[:3, :3].T + truth[:3, 3])
        if (pixels > 2).all() and (pixels < [KINECT_720P.width - 3, KINECT_720P.height - 3]).all():
            break
    pixels = pixels + rng.normal(0.0, 2.0, pixels.shape)
    return truth, calibrate_corners(pixels, KINECT_720P, bed, click_sigma_px=2.0)


def simulate_manual(rng: np.random.Generator) -> tuple[NDArray[np.float64], CalibrationEstimate]:
    """One trial of `manual`: the tape is read with the errors that it is stated to have."""
    tape, stated = TapeMeasure(), random_viewpoint(rng)
    return tape.draw(stated, rng).camera_from_bed, calibrate_manual(stated, KINECT_720P, Bed(), tape)


METHODS: dict[str, Callable[[np.random.Generator], tuple[NDArray[np.float64], CalibrationEstimate]]] = {
    "tags": simulate_tags,
    "corners": simulate_corners,
    "manual": simulate_manual,
}


def run(trials: int = 30, *, seed: int = 0, progress: Progress | None = None) -> dict[str, Any]:
    """{"methods": {name: {rotation_deg, camera_mm, coverage95, refused}}, "trials", "seed"}.

    rotation_deg and camera_mm are medians; coverage95 is the share of trials whose true pose lies inside the
    estimate's 95 % ellipsoid in all six dimensions; refused counts trials that the method would not answer.
    """
    if trials < 1:
        raise WardposeError(f"{trials} trials cannot be run", where="bench calibrate", mend="ask for one or more")
    methods: dict[str, dict[str, float | int | None]] = {}
    for place, (name, simulate) in enumerate(METHODS.items()):
        rotations, centres, inside, refused = [], [], [], 0
        for trial in range(trials):
            try:
                truth, estimate = simulate(np.random.default_rng([seed, place, trial]))
            except WardposeError:
                refused += 1
            else:
                delta = pose_difference(truth, estimate.camera_from_bed)
                rotations.append(float(np.degrees(np.linalg.norm(delta[:3]))))
                centres.append(1e3 * float(np.linalg.norm(_centre(truth) - _centre(estimate.camera_from_bed))))
                inside.append(bool(delta @ np.linalg.solve(estimate.covariance, delta) <= chi2.ppf(0.95, 6)))
            if progress is not None:
                progress(place * trials + trial + 1, len(METHODS) * trials, name)
        methods[name] = {
            "rotation_deg": float(np.median(rotations)) if rotations else None,
            "camera_mm": float(np.median(centres)) if centres else None,
            "coverage95": float(np.mean(inside)) if inside else None,
            "refused": refused,
        }
    return {"methods": methods, "trials": trials, "seed": seed}


def _centre(camera_from_bed: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-camera_from_bed[:3, :3].T @ camera_from_bed[:3, 3])
