"""The camera model: an OpenCV pinhole with rational distortion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.bounds import PICTURE_PIXELS

Distortion = tuple[float, ...]
NO_DISTORTION: Distortion = (0.0,) * 8
# How many coefficients OpenCV's models have that are taken: none, k1 k2 p1 p2, with k3, with k4 k5 k6, with s1 … s4.
_FIELDS = ("width", "height", "fx", "fy", "cx", "cy", "distortion")
_MODELS = (0, 4, 5, 8, 12)


@dataclass(frozen=True, slots=True)
class CameraModel:
    """Intrinsics of one image size.

    `fx fy cx cy` in pixels, with pixel centres at whole numbers (OpenCV's convention: the image spans
    −0.5 … width − 0.5). `distortion` is OpenCV's rational model, k1 k2 p1 p2 k3 k4 k5 k6; of a thin prism besides,
    s1 s2 s3 s4.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: Distortion = NO_DISTORTION

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"image size must be positive, got {self.width}×{self.height}")
        if self.width * self.height > PICTURE_PIXELS:
            raise ValueError(f"pictures of {self.width}×{self.height} are larger than any camera's")
        if not (self.fx > 0 and self.fy > 0):
            raise ValueError(f"focal lengths must be positive, got fx={self.fx}, fy={self.fy}")
        if len(self.distortion) not in (8, 12):
            raise ValueError(f"distortion needs 8 coefficients (k1 k2 p1 p2 k3 k4 k5 k6), got {len(self.distortion)}")
        if not np.isfinite([self.fx, self.fy, self.cx, self.cy, *self.distortion]).all():
            raise ValueError("intrinsics must be finite")

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The 3×3 camera matrix K."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """The distortion coefficients in OpenCV's order."""
        return np.asarray(self.distortion, dtype=np.float64)

    @property
    def distorted(self) -> bool:
        return any(self.distortion)

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels (N, 2) of points (N, 3) in camera coordinates, metres; z must be positive."""
        points = np.ascontiguousarray(points, dtype=np.float64).reshape(-1, 1, 3)
        if len(points) == 0:
            return np.empty((0, 2))
        pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), self.matrix, self.coefficients)
        return np.asarray(pixels, dtype=np.float64).reshape(-1, 2)

    def unproject(self, pixels: NDArray[np.floating]) -> NDArray[np.float64]:
        """Rays (N, 3) with z = 1 through pixels (N, 2), distortion removed to about 1e-9."""
        pixels = np.ascontiguousarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
        if len(pixels) == 0:
            return np.empty((0, 3))
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
        xy = cv2.undistortPoints(pixels, self.matrix, self.coefficients, R=np.eye(3), P=np.eye(3), criteria=criteria)
        return np.column_stack([np.asarray(xy).reshape(-1, 2), np.ones(len(pixels))])

    def resized(self, width: int, height: int) -> CameraModel:
        """The same lens at another image size (pixel centres at whole numbers, hence the half pixels)."""
        sx, sy = width / self.width, height / self.height
        return CameraModel(
            width, height, self.fx * sx, self.fy * sy,
            (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5, self.distortion,
        )  # fmt: skip

    def cut(self, width: int, height: int) -> CameraModel:
        """The same lens in a picture of another shape: the largest middle part of that shape, resized.

        As a camera gives 1:1 or 4:3 from a 16:9 sensor, so that one pixel is as wide as it is high; `resized` would
        show everybody thinner. A shape that differs by rounding alone is resized whole.
        """
        left, top, wide, high = 0, 0, self.width, self.height
        over = self.width * height - self.height * width
        if over > max(self.width, self.height):
            wide = max(1, round(self.height * width / height))
            left = (self.width - wide) // 2
        elif -over > max(self.width, self.height):
            high = max(1, round(self.width * height / width))
            top = (self.height - high) // 2
        part = CameraModel(wide, high, self.fx, self.fy, self.cx - left, self.cy - top, self.distortion)
        return part.resized(width, height)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"distortion": list(self.distortion)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CameraModel:
        """The camera of `to_dict`, or of a file that somebody wrote. KeyError names a missing field; ValueError says
        what is wrong with one, or names one that no camera has: a word that is misspelt must not count for nothing."""
        if unknown := [name for name in values if name not in _FIELDS]:
            raise ValueError(f"a camera has no {unknown[0]!r}; it has {', '.join(_FIELDS)}")
        width, height = (_whole(values[name], name) for name in ("width", "height"))
        fx, fy, cx, cy = (_number(values[name], name) for name in ("fx", "fy", "cx", "cy"))
        return cls(width, height, fx, fy, cx, cy, distortion_of(values.get("distortion")))


def distortion_of(values: Any) -> Distortion:
    """OpenCV's coefficients as a camera has them, of any model that it shares: what a shorter one lacks is 0.

    Raises ValueError for another number of them, and for what is no number.
    """
    given = () if values is None else values
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise ValueError(f"distortion is {values!r}, no list of coefficients")
    numbers = tuple(_number(value, "a coefficient of distortion") for value in given)
    if len(numbers) not in _MODELS:
        flat = len(numbers) == 14 and not any(numbers[12:])
        raise ValueError(
            f"distortion has {len(numbers)} coefficients; OpenCV's models of 4 (k1 k2 p1 p2), 5 (k3), 8 (k4 k5 k6) "
            "and 12 (s1 s2 s3 s4) are taken" + ("; leave out the last two, which are 0" if flat else "")
        )
    whole = numbers + (0.0,) * (8 - len(numbers))
    return whole if any(whole[8:]) else whole[:8]


def _number(value: Any, name: str) -> float:
    if value is None or isinstance(value, bool):
        raise ValueError(f"{name} is {'null' if value is None else value}, no number")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {value!r}, no number") from None


def _whole(value: Any, name: str) -> int:
    number = _number(value, name)
    if not (0 < number < 1e6 and number == int(number)):
        raise ValueError(f"{name} is {value!r}, no whole number of pixels")
    return int(number)
