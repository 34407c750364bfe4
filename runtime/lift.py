"""Joints in metres in the bed frame, from a camera that measures depth, each with an error bar.

A depth camera sees the body's surface; the joint lies a little beneath it. What is measured at a joint's pixel may be
somebody who stands before it, or the mattress where the joint was placed wrongly: the former shows as a spread of
readings, the latter as a place in the mattress, and then there is no joint.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from runtime.bed_view import BedView
from runtime.capture.registration import depth_at
from runtime.frames import Frame
from runtime.skeleton import Skeletons

# Metres from the skin to the joint along the ray, and how much that varies between people and clothes.
_BENEATH = np.array([0.01] * 5 + [0.05, 0.05, 0.035, 0.035, 0.025, 0.025, 0.09, 0.09, 0.05, 0.05, 0.035, 0.035])
_BENEATH_SD = np.array([0.01] * 5 + [0.02, 0.02, 0.015, 0.015, 0.01, 0.01, 0.04, 0.04, 0.02, 0.02, 0.015, 0.015])
# A joint that is believed lies within this part of the trunk of its true place in most cases (`runtime.belief`).
_TRUNK_PART_M = 0.05
_BELIEVED = 0.3
# Systematic and random error of a time-of-flight reading: 11 mm + 0.1 % of the distance (Azure Kinect's data sheet).
_DEPTH_ERROR_M, _DEPTH_ERROR_PART = 0.011, 0.001
# A joint this far beneath the mattress's top lies in it: a body presses a few centimetres in.
_SUNK_M = 0.06
_RIM_M = 0.02


def joints_in_bed_frame(view: BedView, frame: Frame, skeletons: Skeletons) -> NDArray[np.float64]:
    """(N, 17, 4) x, y, z and their standard error, in metres of the bed frame; NaN where a joint can't be lifted.

    That is: one that is not believed, one without a reading at its pixel, and one that lies in the mattress. A frame
    without depth, without its calibration or of another shape than the bed's calibration lifts none.
    """
    lifted = np.full((len(skeletons), 17, 4), np.nan)
    height, width = frame.color.shape[:2]
    camera = view.camera_for(width, height)
    if not len(skeletons) or camera is None or frame.depth is None or frame.depth_camera is None:
        return lifted
    if frame.color_from_depth is None:
        return lifted
    believed = skeletons.score >= _BELIEVED
    pixels = skeletons.keypoints[believed].astype(np.float64)
    if not len(pixels):
        return lifted
    z, spread = depth_at(frame, camera, pixels)
    lifted[believed] = _lift(view, camera, pixels, z, spread, np.nonzero(believed)[1])
    return lifted


def _lift(
    view: BedView, camera: CameraModel, pixels: NDArray[np.float64], z: NDArray[np.float64],
    spread: NDArray[np.float64], joint: NDArray[np.intp],
) -> NDArray[np.float64]:  # fmt: skip
    """(K, 4) of K joints at `pixels` (K, 2) whose surface is at depth z (K,) metres, NaN where there is none."""
    rays = camera.unproject(pixels)
    length = np.linalg.norm(rays, axis=1)
    points = rays * (z + _BENEATH[joint] / length)[:, None]
    rotation, origin = view.camera_from_bed[:3, :3], view.camera_from_bed[:3, 3]
    in_bed = (points - origin) @ rotation
    along = np.hypot(_DEPTH_ERROR_M + _DEPTH_ERROR_PART * z, np.hypot(spread, _BENEATH_SD[joint]))
    error = np.sqrt(along**2 + 2 * _TRUNK_PART_M**2)
    half = np.array([view.bed.length, view.bed.width]) / 2 - _RIM_M
    sunk = (np.abs(in_bed[:, :2]) < half).all(1) & (in_bed[:, 2] < -_SUNK_M) & (in_bed[:, 2] > -view.bed.height)
    answer = np.column_stack([in_bed, error])
    answer[sunk | ~np.isfinite(answer).all(1)] = np.nan
    return answer
