"""Pose from points and what is known about its error: the analytic covariance, and what the model itself leaves out.

σ²(JᵀJ)⁻¹ is right when the model is right and several times too confident when the sheet lies a centimetre off, so the
errors of the model (placement, printed scale, focal length, bed size) are sampled and their spread is added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.estimate import perturbed

Transform = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PoseSolution:
    """camera_from_points: (4, 4). residuals: (N, 2) px, projected minus seen. jacobian: (2N, 6) of the projection by
    a left perturbation (rotation vector, translation)."""

    camera_from_points: Transform
    residuals: NDArray[np.float64]
    jacobian: NDArray[np.float64]

    @property
    def rms_px(self) -> float:
        return float(np.sqrt((self.residuals**2).sum(axis=1).mean()))

    def covariance(self, sigma_floor_px: float, *, sigma_px: float | None = None) -> NDArray[np.float64]:
        """σ²(JᵀJ)⁻¹ (6, 6); σ a coordinate from the residuals, at least the floor, or as given."""
        if sigma_px is None:
            freedom = max(self.residuals.size - 6, 1)
            sigma_px = max(float(np.sqrt((self.residuals**2).sum() / freedom)), sigma_floor_px)
        return np.asarray(sigma_px**2 * np.linalg.inv(self.jacobian.T @ self.jacobian), dtype=np.float64)


def solve_pose(
    points: NDArray[np.float64], pixels: NDArray[np.float64], camera: CameraModel, *, start: Transform | None = None
) -> PoseSolution | None:
    """The pose that brings points (N ≥ 4, 3), metres, onto pixels (N, 2): SQPNP, then Levenberg–Marquardt.

    Works on the full rational distortion. `start` replaces SQPNP. None when no pose is found or when it puts a point
    behind the camera. Source of SQPNP: Terzakis and Lourakis, ECCV 2020.
    """
    points = np.ascontiguousarray(points, dtype=np.float64)
    pixels = np.ascontiguousarray(pixels, dtype=np.float64)
    matrix, coefficients = camera.matrix, camera.coefficients
    if start is None:
        try:
            found, rotation, translation = cv2.solvePnP(points, pixels, matrix, coefficients, flags=cv2.SOLVEPNP_SQPNP)
        except cv2.error:
            return None
        if not found:
            return None
    else:
        rotation, translation = cv2.Rodrigues(start[:3, :3])[0], start[:3, 3:].copy()
    rotation, translation = cv2.solvePnPRefineLM(points, pixels, matrix, coefficients, rotation, translation)
    if not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
        return None
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = cv2.Rodrigues(rotation)[0], np.ravel(translation)
    in_camera = points @ transform[:3, :3].T + transform[:3, 3]
    if (in_camera[:, 2] <= 0.01).any():
        return None
    # Projecting the points already in camera coordinates with a zero pose gives the left perturbation's Jacobian.
    projected, jacobian = cv2.projectPoints(in_camera, np.zeros(3), np.zeros(3), matrix, coefficients)
    return PoseSolution(transform, np.asarray(projected).reshape(-1, 2) - pixels, np.asarray(jacobian)[:, :6])


def pose_difference(transform: Transform, reference: Transform) -> NDArray[np.float64]:
    """δ (6,) with perturbed(reference, δ) = transform: rotation vector in radians, translation in metres."""
    from scipy.spatial.transform import Rotation  # OpenCV's Rodrigues calls rotations below 1e-6 rad none at all

    step = transform @ np.linalg.inv(reference)
    return np.concatenate([Rotation.from_matrix(step[:3, :3]).as_rotvec(), step[:3, 3]])


def model_covariance(
    refit: Callable[[np.random.Generator], Transform | None], reference: Transform, rng: np.random.Generator, draws: int
) -> NDArray[np.float64]:
    """Second moment (6, 6) about `reference` of poses refitted under sampled errors of the model.

    `refit` draws one set of errors and returns the pose it leads to, or None where the solver fails.
    """
    poses = [pose for pose in (refit(rng) for _ in range(draws)) if pose is not None]
    if len(poses) < max(draws // 2, 7):
        raise ValueError(f"only {len(poses)} of {draws} sampled errors led to a pose")
    deltas = np.array([pose_difference(pose, reference) for pose in poses])
    return deltas.T @ deltas / len(deltas)


def shifted_on_plane(rng: np.random.Generator, placement_m: float, half_length_m: float) -> Transform:
    """bed_from_target of a target laid by hand: each end is off by `placement_m` (one σ) along both axes of the plane.

    Two independently misplaced ends shift the centre by σ/√2 and turn it by σ/√2 over the half length.
    """
    shift = rng.normal(0.0, placement_m, 2)
    turn = rng.normal(0.0, placement_m / (np.sqrt(2.0) * half_length_m))
    return perturbed(np.eye(4), np.array([0.0, 0.0, turn, shift[0], shift[1], 0.0]))


def scaled_focal(camera: CameraModel, factor: float) -> CameraModel:
    """The same camera with both focal lengths multiplied by `factor`."""
    return replace(camera, fx=camera.fx * factor, fy=camera.fy * factor)


def is_positive_definite(covariance: NDArray[np.float64]) -> bool:
    """True for a finite, symmetric covariance without negative variance beyond rounding."""
    if not np.isfinite(covariance).all() or not np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-15):
        return False
    values = np.linalg.eigvalsh(covariance)
    return bool(values[0] > -1e-9 * max(values[-1], 1e-12))
