"""What a calibration says of the camera's pictures: where the bed is, and which way somebody in it lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.bed_axis import bed_axis
from calibration.camera import CameraModel
from calibration.files import load_estimate


@dataclass(frozen=True, slots=True)
class BedView:
    """The bed in the camera's picture. camera_from_bed: (4, 4), metres."""

    camera: CameraModel
    camera_from_bed: NDArray[np.float64]
    bed: Bed

    @classmethod
    def load(cls, calibration: Path) -> BedView:
        """The bed of a saved calibration; raises WardposeError where the file can't be used."""
        estimate = load_estimate(calibration)
        return cls(estimate.camera, estimate.camera_from_bed, estimate.bed)

    def camera_for(self, width: int, height: int) -> CameraModel | None:
        """The camera of pictures of that size. None for other proportions than the calibrated picture's: that is
        another part of the sensor's, of which the calibration says nothing."""
        if abs(width * self.camera.height - height * self.camera.width) > 0.01 * width * self.camera.height:
            return None
        return self.camera.resized(width, height)

    def turns(self, xyxy: NDArray[np.floating], width: int, height: int) -> NDArray[np.float64]:
        """(N,) turns in radians, in which somebody lies upright whose box (N, 4) has its middle on the bed; else NaN.

        width, height: of the picture in which the boxes are; NaN for who is in one that `camera_for` doesn't know.
        """
        camera = self.camera_for(width, height)
        if camera is None:
            return np.full(len(xyxy), np.nan)
        middle = (xyxy[:, :2] + xyxy[:, 2:]) / 2
        down = bed_axis(camera, self.camera_from_bed, self.bed, middle)
        turn: NDArray[np.float64] = np.arctan2(-down[:, 0], down[:, 1])
        return turn
