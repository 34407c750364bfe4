"""The part of a picture around a person that a top-down pose model sees: where it lies, how it is turned."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def crop_matrix(
    centre: Floats, scale: Floats, size: tuple[int, int], *, unit_lengths: bool, turn: float = 0.0
) -> NDArray[np.float64]:
    """The (2, 3) affine map from picture to crop pixels.

    turn: radians by which the crop is turned about its centre, clockwise as the picture is seen.
    unit_lengths: UDP's convention, where the crop's first and last pixel centres lie on its borders (Huang et al.
    2020); else mmpose's older one, where `size` pixels span the crop's whole width.
    """
    span = np.asarray(size, np.float64) - (1 if unit_lengths else 0)
    zoom = span / scale if unit_lengths else np.full(2, size[0] / scale[0])
    linear = zoom[:, None] * _rotation(turn).T
    return np.column_stack([linear, span / 2 - linear @ np.asarray(centre, np.float64)])


@dataclass(frozen=True, slots=True)
class Crops:
    """N crops: `centre` (N, 2) and `scale` (N, 2: width, height) in picture pixels, `turn` (N,) radians, clockwise.

    A crop's own "down" points along (−sin turn, cos turn) in the picture.
    """

    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    turn: NDArray[np.float64]

    @classmethod
    def around(cls, xyxy: Floats, turn: Floats, padding: float, aspect: float) -> Crops:
        """Crops that hold boxes (N, 4) `padding` times over when turned by `turn` (N,), of `aspect` = width / height.

        Between two right angles the body fills its box less than the box's corners would say: the width is that of
        the ellipse in the box, and that of the box itself at the right angles.
        """
        boxes, turn = np.asarray(xyxy, np.float64), np.asarray(turn, np.float64)
        across, along = np.abs(np.cos(turn)), np.abs(np.sin(turn))
        width, height = (boxes[:, 2:] - boxes[:, :2]).T
        extent = np.stack([np.hypot(across * width, along * height), np.hypot(along * width, across * height)], axis=1)
        return cls((boxes[:, :2] + boxes[:, 2:]) / 2, _widened(extent * padding, aspect), np.array(turn, np.float64))

    def __len__(self) -> int:
        return len(self.centre)

    def __getitem__(self, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Crops:
        return Crops(self.centre[index], self.scale[index], self.turn[index])

    def cut(self, color: NDArray[np.uint8], size: tuple[int, int], *, unit_lengths: bool) -> NDArray[np.uint8]:
        """(N, height, width, 3) crops of an RGB picture; black where the picture ends. size: width, height."""
        shape = (len(self), size[1], size[0], 3)
        cut = np.empty(shape, np.uint8)
        for index, one in enumerate(cut):
            matrix = crop_matrix(
                self.centre[index], self.scale[index], size, unit_lengths=unit_lengths, turn=float(self.turn[index])
            )
            cv2.warpAffine(color, matrix, size, dst=one, flags=cv2.INTER_LINEAR)
        return cut

    def to_picture(self, in_crop: Floats, size: tuple[int, int]) -> NDArray[np.float64]:
        """Points (N, K, 2) in crop pixels to picture pixels.

        This is mmpose's own way back, exact for UDP's decoder too: inverting the warp instead is off by half a pixel
        an axis.
        """
        local = (in_crop / np.asarray(size, np.float64) - 0.5) * self.scale[:, None]
        return self.centre[:, None] + np.einsum("nij,nkj->nki", _rotation(self.turn), local)

    def from_picture(self, points: Floats, size: tuple[int, int]) -> NDArray[np.float64]:
        """Points (N, K, 2) in picture pixels to crop pixels: the inverse of `to_picture`."""
        local = np.einsum("nji,nkj->nki", _rotation(self.turn), points - self.centre[:, None])
        return (local / self.scale[:, None] + 0.5) * np.asarray(size, np.float64)


def _widened(extent: NDArray[np.float64], aspect: float) -> NDArray[np.float64]:
    width, height = extent.T
    wide = width > height * aspect
    return np.stack([np.where(wide, width, height * aspect), np.where(wide, width / aspect, height)], axis=1)


def _rotation(turn: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 2, 2) matrices whose columns are the turned axes."""
    cosine, sine = np.cos(turn), np.sin(turn)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
