"""The bed drawn on the picture: how a person checks a calibration, head and foot above all."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.estimate import CalibrationEstimate


def project_bed_outline(estimate: CalibrationEstimate, *, samples: int = 24) -> NDArray[np.float64]:
    """The mattress's outline as a closed polyline (4·samples + 1, 2) px, bent as the lens bends it.

    Stretches behind the camera come as NaN rows.
    """
    corners = estimate.bed.corners
    share = np.arange(samples)[:, None] / samples
    sides = [a + share * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    return _project_visible(np.concatenate([*sides, corners[:1]]), estimate)


def draw_bed(color: NDArray[np.uint8], estimate: CalibrationEstimate) -> NDArray[np.uint8]:
    """A copy of color (H, W, 3) RGB with the mattress's outline, HEAD and FOOT, and the bed frame's axes on it."""
    picture = np.ascontiguousarray(color).copy()
    thickness = max(1, round(picture.shape[0] / 360))
    _polyline(picture, project_bed_outline(estimate), (255, 200, 0), thickness)
    bed = estimate.bed
    axes = (
        (bed.width / 3 * np.eye(3)[axis], color_rgb)
        for axis, color_rgb in enumerate(((230, 60, 60), (60, 200, 60), (70, 110, 255)))
    )
    for tip, shade in axes:
        _polyline(picture, _project_visible(np.linspace(np.zeros(3), tip, 12), estimate), shade, thickness)
    marks = np.array([[-bed.length / 2, 0.0, 0.0], [bed.length / 2, 0.0, 0.0]])
    for text, pixel in zip(("HEAD", "FOOT"), _project_visible(marks, estimate), strict=True):
        if np.isfinite(pixel).all() and np.abs(pixel).max() < 1e5:
            position = (round(pixel[0]) - 22 * thickness, round(pixel[1]))
            shadow = (position[0] + thickness, position[1] + thickness)
            for place, shade in ((shadow, (0, 0, 0)), (position, (255, 255, 255))):
                cv2.putText(
                    picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45 * thickness, shade, thickness, cv2.LINE_AA
                )
    return picture


def bed_ends(estimate: CalibrationEstimate) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The middles (2,) of the head end and the foot end in the picture, px; None when one is behind the camera."""
    ends = np.array([[-estimate.bed.length / 2, 0.0, 0.0], [estimate.bed.length / 2, 0.0, 0.0]])
    seen = ends @ estimate.camera_from_bed[:3, :3].T + estimate.camera_from_bed[:3, 3]
    if (seen[:, 2] <= 0.05).any():
        return None
    head, foot = estimate.camera.project(seen)
    return head, foot


def where_the_head_is(estimate: CalibrationEstimate) -> str:
    """Head and foot in words that a person can check by looking at the bed."""
    ends = bed_ends(estimate)
    if ends is None:
        return "one end of the bed lies behind the camera"
    (head_x, head_y), (foot_x, foot_y) = ends
    if abs(head_x - foot_x) > abs(head_y - foot_y):
        side = "left" if head_x < foot_x else "right"
    else:
        side = "upper" if head_y < foot_y else "lower"
    return f"the head is taken to be at the {side} end in the picture"


def _project_visible(points: NDArray[np.float64], estimate: CalibrationEstimate) -> NDArray[np.float64]:
    in_camera = points @ estimate.camera_from_bed[:3, :3].T + estimate.camera_from_bed[:3, 3]
    pixels = np.full((len(points), 2), np.nan)
    # The rational model folds back far outside the picture, so only points near the field of view are projected.
    limit = (
        1.3 * np.array([estimate.camera.width / estimate.camera.fx, estimate.camera.height / estimate.camera.fy]) / 2
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        near = (in_camera[:, 2] > 0.05) & (np.abs(in_camera[:, :2] / in_camera[:, 2:]) < limit + 0.15).all(axis=1)
    pixels[near] = estimate.camera.project(in_camera[near])
    return pixels


def _polyline(
    picture: NDArray[np.uint8], pixels: NDArray[np.float64], shade: tuple[int, int, int], thickness: int
) -> None:
    for start, end in itertools.pairwise(pixels):
        if np.isfinite([*start, *end]).all():
            cv2.line(
                picture,
                tuple(np.round(start).astype(int).tolist()),
                tuple(np.round(end).astype(int).tolist()),
                shade,
                thickness,
                cv2.LINE_AA,
            )
