"""How far joints lie from where they are, in centimetres, by the camera's calibration.

A joint that is found in the picture is a ray; it is taken to the true joint's distance from the camera's plane, so that
the error is the one across the line of sight, which is what a picture can get wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.capture.photograph import picture_size
from tuning.coco_folder import Picture, Space

_LEAST_M = 0.1  # nearer than this no camera of ours sees
VISIBLE = 2


def true_joints(picture: Picture) -> NDArray[np.float64] | None:
    """(P, 17, 3) metres in the camera's frame, NaN where unknown; None where nothing of it is known.

    As the labels say, else from depth: the surface at a visible joint's pixel.
    """
    space = picture.space
    if space is None:
        return None
    joints = space.joints
    if space.depth is not None and np.isnan(joints).any():
        joints = np.where(np.isnan(joints), _from_depth(picture, space), joints)
    return joints if np.isfinite(joints).any() else None


def errors_cm(
    found: NDArray[np.floating], truth: NDArray[np.floating], joints: NDArray[np.floating], space: Space
) -> NDArray[np.float64]:
    """(17,) error of each joint in cm, NaN for those that are not visible or whose place is unknown.

    found: (17, 2) pixels; truth: (17, 3) pixels and visibility; joints: (17, 3) of `true_joints`.
    """
    errors = np.full(len(truth), np.nan)
    known = (truth[:, 2] == VISIBLE) & np.isfinite(joints).all(1) & (joints[:, 2] > _LEAST_M)
    if known.any():
        rays = space.camera.unproject(np.asarray(found, np.float64)[known])[:, :2]
        depth = joints[known, 2:]
        errors[known] = 100 * np.linalg.norm(rays * depth - joints[known, :2], axis=1)
    return errors


def _from_depth(picture: Picture, space: Space) -> NDArray[np.float64]:
    import cv2

    assert space.depth is not None
    size = picture_size(space.depth)  # before it is decoded
    metres = None
    if (size.width, size.height) == (picture.width, picture.height):
        metres = cv2.imread(str(space.depth), cv2.IMREAD_UNCHANGED)
    if metres is None or metres.shape[:2] != (picture.height, picture.width):
        raise WardposeError("is no depth of its picture", where=str(space.depth), mend="make the data set again")
    joints = np.full((*picture.keypoints.shape[:2], 3), np.nan)
    seen = picture.keypoints[..., 2] == VISIBLE
    if seen.any():
        pixels = picture.keypoints[seen][:, :2]
        column, row = np.clip(pixels.round().astype(int), 0, (picture.width - 1, picture.height - 1)).T
        depth = metres[row, column].astype(np.float64) / 1000
        depth[depth <= 0] = np.nan  # a hole
        joints[seen] = np.column_stack([space.camera.unproject(pixels)[:, :2], np.ones(len(pixels))]) * depth[:, None]
    return joints
