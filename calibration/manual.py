"""Calibration with a tape measure: the viewpoint as read off, with the errors that such a reading has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from calibration.bed import Bed
from calibration.bounds import Bounds
from calibration.calibrator import Sight
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.posterior import Transform, model_covariance
from calibration.progress import Progress
from calibration.viewpoint import Viewpoint

_AZIMUTH_DEG, _ROLL_DEG = Bounds(-360, 360), Bounds(-180, 180)
_DISTANCE_M, _LOOK_AT_M = Bounds(0.1, 20), Bounds(0, 5)  # from what is looked at; that from the mattress's centre


class TapeMeasure(BaseModel):
    """How well each measure of a viewpoint was read (one σ)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    azimuth_deg: float = Field(default=4.0, ge=0, le=45, title="Azimuth's error (degrees)")
    elevation_deg: float = Field(default=3.0, ge=0, le=45, title="Elevation's error (degrees)")
    distance_m: float = Field(default=0.08, ge=0, le=1, title="Distance's error (metres)")
    roll_deg: float = Field(default=2.0, ge=0, le=45, title="Roll's error (degrees)")
    look_at_m: float = Field(default=0.06, ge=0, le=1, title="Look-at point's error along the bed's x and y (metres)")

    def draw(self, viewpoint: Viewpoint, rng: np.random.Generator) -> Viewpoint:
        """A viewpoint that `viewpoint` may really have been."""
        x, y, z = viewpoint.look_at
        return replace(
            viewpoint,
            azimuth_deg=viewpoint.azimuth_deg + rng.normal(0.0, self.azimuth_deg),
            elevation_deg=float(np.clip(viewpoint.elevation_deg + rng.normal(0.0, self.elevation_deg), -89.0, 89.0)),
            distance=max(viewpoint.distance + rng.normal(0.0, self.distance_m), 0.05),
            roll_deg=viewpoint.roll_deg + rng.normal(0.0, self.roll_deg),
            look_at=(x + rng.normal(0.0, self.look_at_m), y + rng.normal(0.0, self.look_at_m), z),
        )


def calibrate_manual(
    viewpoint: Viewpoint, camera: CameraModel, bed: Bed, errors: TapeMeasure | None = None, *,
    draws: int = 400, seed: int = 0,
) -> CalibrationEstimate:  # fmt: skip
    """The estimate for a viewpoint measured by hand; its posterior is the spread of what the tape may have missed.

    No picture is looked at, so `reprojection_px` is 0 and means nothing.
    """
    tape = errors if errors is not None else TapeMeasure()
    pose = viewpoint.camera_from_bed

    def remeasure(rng: np.random.Generator) -> Transform | None:
        return tape.draw(viewpoint, rng).camera_from_bed

    covariance = model_covariance(remeasure, pose, np.random.default_rng(seed), draws)
    # A tape read without any error would make the covariance singular: a tenth of a millimetre and of a degree remain.
    covariance = covariance + np.diag([np.radians(0.1) ** 2] * 3 + [1e-4**2] * 3)
    return CalibrationEstimate(
        camera=camera, bed=bed, camera_from_bed=pose, covariance=covariance, reprojection_px=0.0, method="manual",
        made_at=datetime.now(UTC).isoformat(timespec="seconds"), notes=("measured by hand; no picture was compared",),
    )  # fmt: skip


class ManualCalibrator:
    """A tape measure, as a method like the others: `calibrate_manual`."""

    name = "manual"
    looks = 1
    target = False

    def __init__(self, viewpoint: Viewpoint) -> None:
        """Raises `WardposeError` for measures that nobody takes at a bed."""
        look_at = max(map(abs, viewpoint.look_at))
        for what, value, allowed in (
            ("azimuth", viewpoint.azimuth_deg, _AZIMUTH_DEG), ("roll", viewpoint.roll_deg, _ROLL_DEG),
            ("distance", viewpoint.distance, _DISTANCE_M), ("look-at point", look_at, _LOOK_AT_M),
        ):  # fmt: skip
            if not allowed.least <= value <= allowed.most:
                raise WardposeError(
                    f"{what} must lie between {allowed.least:g} and {allowed.most:g}, got {value:g}",
                    where="calibrate manual", mend="measure again, in degrees and metres",
                )  # fmt: skip
        self.viewpoint = viewpoint

    @classmethod
    def from_argument(cls, argument: str, bed: Bed) -> ManualCalibrator:
        """From measures such as "azimuth=20&elevation=32&distance=2.7", and roll (degrees) and look_at (X,Y,Z)."""
        given = dict(parse_qsl(argument))
        try:
            x, y, z = (float(part) for part in given.pop("look_at", "0,0,0").split(","))
            azimuth, elevation, distance = (float(given.pop(name)) for name in ("azimuth", "elevation", "distance"))
            roll = float(given.pop("roll", "0"))
            if given:
                raise ValueError(f"there is no {', '.join(given)}")
            return cls(Viewpoint(azimuth, elevation, distance, roll, (x, y, z)))
        except (KeyError, ValueError) as error:
            raise WardposeError(
                f"the measures {argument!r} won't do ({error})",
                where="calibrate manual",
                mend="give such as manual:azimuth=20&elevation=32&distance=2.7",
            ) from None

    def calibrate(
        self, sights: Sequence[Sight], bed: Bed, progress: Progress | None = None
    ) -> tuple[CalibrationEstimate, Sight]:
        """The estimate for the lens of the first sight."""
        return calibrate_manual(self.viewpoint, sights[0].camera, bed), sights[0]
