"""The result of a calibration: the camera's pose in the bed frame and how well it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.viewpoint import Viewpoint

FORMAT_VERSION = 1


@dataclass(frozen=True)
class CalibrationEstimate:
    """Camera pose with its posterior.

    camera_from_bed: (4, 4). covariance: (6, 6) of a small left perturbation (rotation vector in radians, then
    translation in metres) of `camera_from_bed`, i.e. exp(δ) · camera_from_bed. reprojection_px: root mean square.
    confirmed: a person has confirmed head and foot on the picture; nothing uses an unconfirmed estimate.
    """

    camera: CameraModel
    bed: Bed
    camera_from_bed: NDArray[np.float64]
    covariance: NDArray[np.float64]
    reprojection_px: float
    method: str
    made_at: str = ""
    confirmed: bool = False
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.camera_from_bed.shape != (4, 4) or self.covariance.shape != (6, 6):
            raise ValueError(
                "expected a 4×4 transform and a 6×6 covariance, "
                f"got {self.camera_from_bed.shape} and {self.covariance.shape}"
            )
        rotation = self.camera_from_bed[:3, :3]
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6) or np.linalg.det(rotation) < 0:
            raise ValueError("camera_from_bed does not hold a rotation")

    @property
    def viewpoint(self) -> Viewpoint:
        return Viewpoint.from_transform(self.camera_from_bed)

    @property
    def rotation_sigma_deg(self) -> float:
        """One standard deviation of the rotation, all three axes together."""
        return float(np.degrees(np.sqrt(np.trace(self.covariance[:3, :3]))))

    @property
    def centre_sigma_mm(self) -> float:
        """One standard deviation of the camera centre in the bed frame, all three axes together."""
        # C = −Rᵀt, and a left rotation turns t with R: to first order only δ's translation moves the centre.
        jacobian = np.hstack([np.zeros((3, 3)), -self.camera_from_bed[:3, :3].T])
        return float(1e3 * np.sqrt(np.trace(jacobian @ self.covariance @ jacobian.T)))

    def sample(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        """`count` camera poses (count, 4, 4) drawn from the posterior."""
        deltas = rng.multivariate_normal(np.zeros(6), self.covariance, size=count, method="svd")
        poses = np.empty((count, 4, 4))
        for pose, delta in zip(poses, deltas, strict=True):
            pose[:] = perturbed(self.camera_from_bed, delta)
        return poses

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT_VERSION, "method": self.method, "made_at": self.made_at, "confirmed": self.confirmed,
            "camera": self.camera.to_dict(), "bed": self.bed.to_dict(),
            "camera_from_bed": self.camera_from_bed.tolist(), "covariance": self.covariance.tolist(),
            "reprojection_px": self.reprojection_px, "notes": list(self.notes),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CalibrationEstimate:
        if values.get("format") != FORMAT_VERSION:
            raise ValueError(f"calibration format {values.get('format')!r} is not {FORMAT_VERSION}; calibrate again")
        return cls(
            camera=CameraModel.from_dict(values["camera"]), bed=Bed(**values["bed"]),
            camera_from_bed=np.asarray(values["camera_from_bed"], dtype=np.float64),
            covariance=np.asarray(values["covariance"], dtype=np.float64),
            reprojection_px=float(values["reprojection_px"]), method=str(values["method"]),
            made_at=str(values["made_at"]), confirmed=bool(values["confirmed"]), notes=tuple(values["notes"]),
        )  # fmt: skip


def perturbed(transform: NDArray[np.float64], delta: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp(delta) · transform for delta = (rotation vector, translation), first rotating, then translating."""
    step = np.eye(4)
    step[:3, :3] = cv2.Rodrigues(np.asarray(delta[:3], dtype=np.float64))[0]
    step[:3, 3] = delta[3:]
    return step @ transform


def turned_round(estimate: CalibrationEstimate) -> CalibrationEstimate:
    """The same camera with head and foot exchanged: the bed frame turned by 180° about its z axis.

    A left perturbation lives in camera coordinates, so the covariance stays as it is. The result is unconfirmed.
    """
    half_turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    return replace(estimate, camera_from_bed=estimate.camera_from_bed @ half_turn, confirmed=False)
