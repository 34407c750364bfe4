"""Calibration from four mattress corners that a person clicks on the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.bed import Bed
from calibration.calibrator import Sight
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.posterior import PoseSolution, Transform, model_covariance, scaled_focal, solve_pose
from calibration.progress import Progress

CORNER_NAMES = ("head right", "head left", "foot left", "foot right")
LARGEST_SURPRISE = -2.0 * math.log(0.001)
BED_SIZE_SIGMA_M = 0.03  # a catalogue's size, or a tape laid over bedding
AGAIN = "click head right, head left, foot left, foot right (the patient's sides, lying on the back)"


def calibrate_corners(
    corners_px: ArrayLike, camera: CameraModel, bed: Bed, click_sigma_px: float = 2.0, *,
    bed_size_sigma_m: float = BED_SIZE_SIGMA_M, focal_error: float = 0.002, draws: int = 200, seed: int = 0,
) -> CalibrationEstimate:  # fmt: skip
    """The estimate from clicks (4, 2) px in the order of `Bed.corners`: head right, head left, foot left, foot right.

    click_sigma_px: a click's error (one σ, each coordinate). bed_size_sigma_m: how well the mattress's length and
    width are known (one σ, metres); it and focal_error (one σ, share) widen the posterior by Monte-Carlo.
    Raises WardposeError when the clicks cross, run the wrong way round, lie in a line, or fit no such bed.
    """
    pixels = np.asarray(corners_px, dtype=np.float64)
    if pixels.shape != (4, 2) or not np.isfinite(pixels).all():
        raise ValueError(f"expected four finite corners (4, 2), got {pixels.shape}")
    if not click_sigma_px > 0:
        raise ValueError(f"click_sigma_px must be positive, got {click_sigma_px}")
    _refuse_order(pixels, camera, click_sigma_px)
    points = bed.corners
    solution = solve_pose(points, pixels, camera)
    if solution is None or solution.camera_from_points[:3, 2] @ solution.camera_from_points[:3, 3] >= 0:
        raise WardposeError("no camera above the mattress sees its corners there", where="corners", mend=AGAIN)
    if _surprise(solution, camera, bed, click_sigma_px, bed_size_sigma_m) > LARGEST_SURPRISE:
        raise WardposeError(
            f"a bed of {bed.length:g} × {bed.width:g} m misses the clicks by {solution.rms_px:.1f} px, "
            f"more than clicks {click_sigma_px:g} px off and a size {100 * bed_size_sigma_m:g} cm off explain",
            where="corners",
            mend="click the mattress's corners again, measure its length and width",
        )

    def refit(rng: np.random.Generator) -> Transform | None:
        size = 1 + rng.normal(0.0, bed_size_sigma_m, 2) / [bed.length, bed.width]
        lens = scaled_focal(camera, 1 + rng.normal(0.0, focal_error))
        refitted = solve_pose(points * [size[0], size[1], 1.0], pixels, lens, start=solution.camera_from_points)
        return None if refitted is None else refitted.camera_from_points

    covariance = solution.covariance(click_sigma_px, sigma_px=click_sigma_px) + model_covariance(
        refit, solution.camera_from_points, np.random.default_rng(seed), draws
    )
    return CalibrationEstimate(
        camera=camera, bed=bed, camera_from_bed=solution.camera_from_points, covariance=covariance,
        reprojection_px=solution.rms_px, method="corners", made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


class CornerCalibrator:
    """Four clicks of a person, as a method like the others: `calibrate_corners`."""

    name = "corners"
    looks = 1
    target = False

    def __init__(self, corners_px: ArrayLike) -> None:
        self.corners_px = np.asarray(corners_px, np.float64)

    @classmethod
    def from_argument(cls, argument: str, bed: Bed) -> CornerCalibrator:
        """From four pixels, such as "310,222 300,115 655,120 700,230"."""
        try:
            pixels = np.array([[float(number) for number in pair.split(",")] for pair in argument.split()])
        except ValueError:
            pixels = np.zeros(0)
        if pixels.shape != (4, 2):
            raise WardposeError(f"four corners X,Y are wanted, got {argument!r}", where="corners", mend=AGAIN)
        return cls(pixels)

    def calibrate(
        self, sights: Sequence[Sight], bed: Bed, progress: Progress | None = None
    ) -> tuple[CalibrationEstimate, Sight]:
        """The estimate for the lens of the first sight."""
        return calibrate_corners(self.corners_px, sights[0].camera, bed), sights[0]


def _refuse_order(pixels: NDArray[np.float64], camera: CameraModel, click_sigma_px: float) -> None:
    """Refuse clicks outside the picture and quadrilaterals that no camera above the bed can see."""
    for name, (column, row) in zip(CORNER_NAMES, pixels, strict=True):
        if not (-0.5 <= column <= camera.width - 0.5 and -0.5 <= row <= camera.height - 0.5):
            raise WardposeError(
                f"{name} at {column:.0f}, {row:.0f} lies outside the picture", where="corners", mend=AGAIN
            )
    straight = camera.unproject(pixels)[:, :2] * [camera.fx, camera.fy]
    edges = np.roll(straight, -1, axis=0) - straight
    lengths = np.linalg.norm(edges, axis=1)
    if lengths.min() < 5 * click_sigma_px:
        raise WardposeError("two corners lie on each other", where="corners", mend=AGAIN)
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    if (np.abs(turns) / (lengths * np.roll(lengths, -1)) < np.sin(np.radians(2))).any():
        raise WardposeError("three corners lie in a line", where="corners", mend="raise the camera, or " + AGAIN)
    if len(set(np.sign(turns))) > 1:
        raise WardposeError("the lines between the corners cross or fold inward", where="corners", mend=AGAIN)
    # Head right, head left, foot left, foot right run clockwise seen from above with x to the right and y up; in a
    # picture, whose rows grow downward, a camera above the bed sees them turn the positive way.
    if turns[0] < 0:
        raise WardposeError(
            "the corners run the wrong way round: left and right are exchanged", where="corners", mend=AGAIN
        )


def _surprise(
    solution: PoseSolution, camera: CameraModel, bed: Bed, click_sigma_px: float, bed_size_sigma_m: float
) -> float:
    """The residuals' squared Mahalanobis length under errors of the clicks and of the bed's size, any pose allowed.

    Eight numbers less six of the pose: chi² of two degrees of freedom where the errors are what they are said to be.
    """
    pose, corners = solution.camera_from_points, bed.corners
    step = 1e-3
    by_size = [
        camera.project((corners * (1 + step * axis / size)) @ pose[:3, :3].T + pose[:3, 3])
        - camera.project(corners @ pose[:3, :3].T + pose[:3, 3])
        for axis, size in zip(np.eye(3)[:2], (bed.length, bed.width), strict=True)
    ]
    size_jacobian = np.stack([change.ravel() for change in by_size], axis=1) / step
    covariance = click_sigma_px**2 * np.eye(8) + bed_size_sigma_m**2 * size_jacobian @ size_jacobian.T
    # What the pose could still take up counts for nothing: only directions outside its Jacobian's span are left.
    outside = np.linalg.svd(solution.jacobian)[0][:, 6:]
    left = outside.T @ solution.residuals.ravel()
    return float(left @ np.linalg.solve(outside.T @ covariance @ outside, left))
