"""What a patient lies on: the flat part of the mattress and the backrest that rises at its hinge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The hinge lies this share of the bed's length headward of the middle.
HINGE_FRACTION = 0.1


@dataclass(frozen=True, slots=True)
class Support:
    """Mattress top, bed frame: z = 0 from the hinge to the foot end, and a plane raised by `backrest_deg` headward."""

    length: float
    width: float
    backrest_deg: float

    @property
    def hinge_x(self) -> float:
        return -HINGE_FRACTION * self.length

    @property
    def back_normal(self) -> NDArray[np.float64]:
        tilt = np.radians(self.backrest_deg)
        return np.array([np.sin(tilt), 0.0, np.cos(tilt)])

    @property
    def lift_direction(self) -> NDArray[np.float64]:
        """The direction that leaves seat and backrest equally fast."""
        direction = np.array([0.0, 0.0, 1.0]) + self.back_normal
        return direction / float(direction @ self.back_normal)

    @property
    def pelvis_start(self) -> NDArray[np.float64]:
        """Where a pelvis belongs before it is dropped: by the hinge when the backrest is up, else mid-bed."""
        return np.array([self.hinge_x + 0.12 if self.backrest_deg else 0.02, 0.0, 0.15])

    def back_height(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Height over the backrest's plane of points (..., 3), metres."""
        return np.asarray((points - np.array([self.hinge_x, 0.0, 0.0])) @ self.back_normal)

    def height(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Height over the mattress of points (..., 3), negative inside. Exact, since the two planes form a valley."""
        return np.minimum(points[..., 2], self.back_height(points))
