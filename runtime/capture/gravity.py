"""Which way is up, from a camera's accelerometer: a check on a calibration, and on a bed frame that lies askew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.frames import Frame

STANDARD_GRAVITY = 9.80665
# A camera at rest feels gravity alone, to within its sensor's scale error, and does not turn.
_SCALE_ERROR = 0.05
_AT_REST_RAD_S = 0.05


@dataclass(frozen=True, slots=True)
class Upright:
    """up: unit vector (3,) in the colour camera's coordinates, against gravity. spread_deg: root mean square angle of
    the readings around it (0 for one reading). samples: how many readings it is made of."""

    up: NDArray[np.float64]
    spread_deg: float
    samples: int

    @property
    def pitch_deg(self) -> float:
        """How far the optical axis points above the horizon."""
        return float(np.degrees(np.arcsin(np.clip(self.up[2], -1.0, 1.0))))

    @property
    def roll_deg(self) -> float:
        """How far what is upright leans to the right in the picture; 0 for a camera that stands upright."""
        return float(np.degrees(np.arctan2(self.up[0], -self.up[1])))


def up_in_color(frames: Iterable[Frame]) -> Upright:
    """Up as the accelerometer of these frames feels it; readings taken while the camera moved are left out.

    At rest an accelerometer measures the force that holds it, which points up. Raises `WardposeError` where no frame
    has a reading with a known place of the sensor, or none was taken at rest.
    """
    readings, moved, source = [], 0, "the camera"
    last_s: float | None = None
    for frame in frames:
        source = frame.source
        if frame.imu is None or frame.color_from_imu is None or frame.imu.timestamp_s == last_s:
            continue
        last_s = frame.imu.timestamp_s
        felt = float(np.linalg.norm(frame.imu.acceleration))
        turning = float(np.linalg.norm(frame.imu.angular_velocity))
        if abs(felt / STANDARD_GRAVITY - 1.0) > _SCALE_ERROR or turning > _AT_REST_RAD_S:
            moved += 1
            continue
        readings.append(frame.color_from_imu[:3, :3] @ (frame.imu.acceleration / felt))
    if not readings:
        if moved:
            raise WardposeError(
                "the camera moved while it was asked which way is up", where=source, mend="hold it still"
            )
        raise WardposeError("it has no motion sensor, or not its place", where=source, mend="use an Azure Kinect")
    stacked = np.array(readings)
    up = stacked.mean(axis=0)
    up /= np.linalg.norm(up)
    angles = np.degrees(np.arccos(np.clip(stacked @ up, -1.0, 1.0)))
    return Upright(up, float(np.sqrt(np.mean(angles**2))), len(readings))
