"""Keypoints are seen, hidden or outside as COCO means it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.visibility import ABSENT, HIDDEN, VISIBLE, keypoint_visibility


def _one(
    x: float, y: float, z: float, instance: NDArray[np.uint8], depth: NDArray[np.float32], radius: float = 0.05
) -> int:
    pixels, depths, radii = np.array([[x, y]]), np.array([z]), np.array([radius])
    return int(keypoint_visibility(pixels, depths, radii, instance, depth, 1)[0])


def _picture(instance: int = 1, depth: float = 2.0) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return np.full((40, 60), instance, np.uint8), np.full((40, 60), depth, np.float32)


def test_a_joint_under_its_own_flesh_is_seen() -> None:
    assert _one(30, 20, 2.05, *_picture()) == VISIBLE


def test_a_joint_behind_the_persons_own_chest_is_hidden() -> None:
    assert _one(30, 20, 2.25, *_picture()) == HIDDEN


def test_a_joint_under_a_blanket_or_behind_somebody_is_hidden() -> None:
    assert _one(30, 20, 2.05, *_picture(instance=0)) == HIDDEN
    assert _one(30, 20, 2.05, *_picture(instance=2)) == HIDDEN


def test_a_joint_outside_the_picture_or_behind_the_camera_is_absent() -> None:
    for x, y, z in ((-1, 20, 2), (60, 20, 2), (30, -0.6, 2), (30, 39.5, 2), (30, 20, -1)):
        assert _one(x, y, z, *_picture()) == ABSENT


def test_the_last_pixel_belongs_to_the_picture() -> None:
    assert _one(59.4, 39.4, 2.0, *_picture()) == VISIBLE
    assert _one(-0.4, -0.4, 2.0, *_picture()) == VISIBLE


def test_a_single_stray_pixel_does_not_decide() -> None:
    instance, depth = _picture()
    instance[20, 30] = 0
    assert _one(30, 20, 2.02, instance, depth) == VISIBLE
