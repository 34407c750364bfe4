"""A camera pose in the bed frame as a person would say it: azimuth, elevation, distance, roll, look-at point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST_ELEVATION_DEG = 89.89  # straight down, azimuth and roll would be the same turn


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """Where the camera stands.

    azimuth_deg: 0 = straight from the foot end, + toward the patient's right; atan2(−Cy, Cx) about `look_at`.
    elevation_deg: above the mattress plane. distance: metres from the look-at point to the camera centre.
    roll_deg: clockwise turn of the picture's content about the optical axis. look_at: bed frame, metres.
    """

    azimuth_deg: float
    elevation_deg: float
    distance: float
    roll_deg: float = 0.0
    look_at: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not self.distance > 0:
            raise ValueError(f"distance must be positive, got {self.distance}")
        if not -89.9 < self.elevation_deg < 89.9:
            raise ValueError(f"elevation must lie between −89.9 and 89.9 degrees, got {self.elevation_deg}")

    @property
    def centre(self) -> NDArray[np.float64]:
        """The camera centre (3,) in the bed frame."""
        azimuth, elevation = np.radians(self.azimuth_deg), np.radians(self.elevation_deg)
        toward_camera = np.array(
            [np.cos(elevation) * np.cos(azimuth), -np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
        )
        return np.asarray(self.look_at, dtype=np.float64) + self.distance * toward_camera

    @property
    def camera_from_bed(self) -> NDArray[np.float64]:
        """The 4×4 transform from bed to camera coordinates (x right, y down, z forward)."""
        centre = self.centre
        forward = (np.asarray(self.look_at) - centre) / self.distance
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        roll = np.radians(self.roll_deg)
        turn = np.array([[np.cos(roll), -np.sin(roll), 0.0], [np.sin(roll), np.cos(roll), 0.0], [0.0, 0.0, 1.0]])
        transform = np.eye(4)
        transform[:3, :3] = turn @ np.stack([right, down, forward])
        transform[:3, 3] = -transform[:3, :3] @ centre
        return transform

    @classmethod
    def from_transform(cls, camera_from_bed: NDArray[np.floating]) -> Viewpoint:
        """The viewpoint whose look-at point is where the optical axis meets the mattress plane.

        When the axis does not fall onto that plane within 10 m, the look-at point is the foot of the perpendicular
        from the bed's origin onto the axis. A camera that looks straight down comes out a tenth of a degree off it.
        """
        rotation, translation = camera_from_bed[:3, :3], camera_from_bed[:3, 3]
        centre = -rotation.T @ translation
        forward = rotation[2]
        distance = -centre[2] / forward[2] if abs(forward[2]) > 1e-9 else np.inf
        if not 0.05 < distance < 10:
            distance = max(float(-centre @ forward), 0.05)
        look_at = centre + distance * forward
        back = -forward
        right = np.cross(forward, [0.0, 0.0, 1.0])
        sideways = float(np.linalg.norm(right))
        # Straight down the azimuth is anyone's choice: 0, whose right is the patient's left.
        right = right / sideways if sideways > 1e-6 else np.array([0.0, 1.0, 0.0])
        down = np.cross(forward, right)
        elevation = float(np.degrees(np.arcsin(np.clip(back[2], -1, 1))))
        return cls(
            azimuth_deg=float(np.degrees(np.arctan2(-back[1], back[0]))) if sideways > 1e-6 else 0.0,
            elevation_deg=float(np.clip(elevation, -LARGEST_ELEVATION_DEG, LARGEST_ELEVATION_DEG)),
            distance=float(distance),
            roll_deg=float(np.degrees(np.arctan2(-(rotation[0] @ down), rotation[0] @ right))),
            look_at=(float(look_at[0]), float(look_at[1]), float(look_at[2])),
        )
