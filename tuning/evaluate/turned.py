"""A labelled picture turned by a quarter: the same people, lying where they stood."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tuning.coco_folder import Picture

QUARTERS = (0, 90, 180, 270)
_CODES = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


def turn_pixels(color: NDArray[np.uint8], degrees: int) -> NDArray[np.uint8]:
    """The (H, W, 3) picture turned clockwise by 0, 90, 180 or 270 degrees."""
    if degrees == 0:
        return color
    return np.ascontiguousarray(cv2.rotate(color, _CODES[degrees])).astype(np.uint8)


def turn_labels(picture: Picture, degrees: int) -> Picture:
    """The labels of the picture turned clockwise by 0, 90, 180 or 270 degrees. Boxes are edges, keypoints are pixel
    centres at whole numbers, so that a keypoint at 0 comes to lie at width - 1 where a box's edge comes to width."""
    width, height = picture.width, picture.height
    for _ in range(degrees // 90):
        boxes = picture.boxes
        boxes = np.stack([height - boxes[:, 3], boxes[:, 0], height - boxes[:, 1], boxes[:, 2]], axis=1)
        keypoints = picture.keypoints.copy()
        known = keypoints[..., 2] > 0
        keypoints[..., 0] = np.where(known, height - 1 - picture.keypoints[..., 1], 0)
        keypoints[..., 1] = np.where(known, picture.keypoints[..., 0], 0)
        width, height = height, width
        picture = replace(
            picture, width=width, height=height, boxes=boxes.reshape(-1, 4), keypoints=keypoints, space=None
        )
    return picture
