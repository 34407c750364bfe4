"""One captured frame, whatever camera it came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel

Origin = Literal["camera", "recording", "simulation", "unknown"]
"""What pictures are of: what a camera sees at this moment, what one saw earlier (a recording, a video, photographs),
or what a program has drawn. Only the first may ever be taken for the bed beside the box."""


@dataclass(frozen=True, slots=True)
class ImuSample:
    """One inertial reading: acceleration (3,) in m/s², angular velocity (3,) in rad/s, in the sensor's axes."""

    acceleration: NDArray[np.float64]
    angular_velocity: NDArray[np.float64]
    timestamp_s: float


@dataclass(frozen=True, slots=True)
class Frame:
    """Colour, and depth where the camera has it.

    color: (H, W, 3) uint8 RGB, as the lens saw it (distorted). depth: (h, w) uint16 millimetres in the depth
    camera's own geometry, 0 = no reading. infrared: (h, w) uint16. timestamp_s: `time.monotonic()` of capture for
    a live source, the recording's own clock otherwise. index: counts frames of one source from 0. origin: see `Origin`;
    whoever opens the source writes it in (`runtime.capture.source.origin_of`).
    """

    color: NDArray[np.uint8]
    timestamp_s: float
    index: int
    source: str
    camera: CameraModel | None = None
    depth: NDArray[np.uint16] | None = None
    infrared: NDArray[np.uint16] | None = None
    depth_camera: CameraModel | None = None
    color_from_depth: NDArray[np.float64] | None = None
    imu: ImuSample | None = None
    color_from_imu: NDArray[np.float64] | None = None
    jpeg: NDArray[np.uint8] | None = None
    origin: Origin = "unknown"

    def __post_init__(self) -> None:
        if self.color.ndim != 3 or self.color.shape[2] != 3 or self.color.dtype != np.uint8:
            raise ValueError(f"color must be (H, W, 3) uint8, got {self.color.shape} {self.color.dtype}")
        if self.camera is not None and (self.camera.height, self.camera.width) != self.color.shape[:2]:
            raise ValueError(
                f"camera is {self.camera.width}×{self.camera.height}, "
                f"color is {self.color.shape[1]}×{self.color.shape[0]}"
            )
        for name in ("depth", "infrared"):
            plane = getattr(self, name)
            if plane is not None and (plane.ndim != 2 or plane.dtype != np.uint16):
                raise ValueError(f"{name} must be (h, w) uint16, got {plane.shape} {plane.dtype}")
        if self.jpeg is not None and (self.jpeg.ndim != 1 or self.jpeg.dtype != np.uint8):
            raise ValueError(f"jpeg must be (n,) uint8, got {self.jpeg.shape} {self.jpeg.dtype}")

    def at(self, timestamp_s: float) -> Frame:
        """The same frame on another clock: what its motion sensor felt moves along."""
        imu = self.imu
        if imu is not None:
            imu = replace(imu, timestamp_s=imu.timestamp_s + timestamp_s - self.timestamp_s)
        return replace(self, timestamp_s=timestamp_s, imu=imu)


def known_origin(told: object) -> Origin:
    """What somebody declared, where it is one of the origins; else `unknown`."""
    return next((origin for origin in get_args(Origin) if origin == told), "unknown")
