"""Keypoints are seen, hidden or outside as COCO means it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.body.figure import Figure, Traits
from synth.render.mesh import Mesh
from synth.render.renderer import Rendering
from synth.visibility import ABSENT, HIDDEN, VISIBLE, keypoint_visibility

HIP, WRIST = 11, 9


def _one(
    x: float, y: float, z: float, instance: NDArray[np.uint8], depth: NDArray[np.float32], joint: int = HIP,
    over: bool = True,
) -> int:  # fmt: skip
    """v of one joint at depth z behind pixel (x, y); `over`: whether the skin near it is skin over this joint."""
    keypoints = np.tile([0.0, 0.0, z], (17, 1))
    body = Mesh(np.float32([[0, 0, 1], [0, 0, 2], [0, 0, 3]]), np.int32([[0, 1, 2]]), np.ones((3, 3), np.float32), 1)
    skin = np.full((3, 17), over)
    figure = Figure((body,), keypoints, skin, "supine", Traits(40.0, "female", 23.0, 1.6, 5, "gown"))
    seen = Rendering(np.zeros((*depth.shape, 3), np.uint8), depth, instance, instance)
    return int(keypoint_visibility(figure, 1, np.tile([[x, y]], (17, 1)), np.eye(4), seen)[joint])


def _picture(instance: int = 1, depth: float = 2.0) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return np.full((40, 60), instance, np.uint8), np.full((40, 60), depth, np.float32)


def test_a_joint_under_its_own_skin_is_seen() -> None:
    assert _one(30, 20, 2.05, *_picture()) == VISIBLE


def test_a_joint_behind_another_part_of_the_person_is_hidden() -> None:
    assert _one(30, 20, 2.05, *_picture(), over=False) == HIDDEN


def test_a_face_seen_from_behind_is_hidden() -> None:
    assert _one(30, 20, 2.02, *_picture(), joint=0) == VISIBLE
    assert _one(30, 20, 2.18, *_picture(), joint=0) == HIDDEN


def test_a_joint_under_a_blanket_or_behind_somebody_is_hidden() -> None:
    assert _one(30, 20, 2.05, *_picture(instance=0)) == HIDDEN
    assert _one(30, 20, 2.05, *_picture(instance=2)) == HIDDEN


def test_what_lies_behind_a_joint_hides_nothing() -> None:
    """A nose in profile: the pixel's centre may fall on the wall."""
    assert _one(30, 20, 1.5, *_picture(instance=0), joint=0) == VISIBLE


def test_a_joint_outside_the_picture_or_behind_the_camera_is_absent() -> None:
    for x, y, z in ((-1, 20, 2), (60, 20, 2), (30, -0.6, 2), (30, 39.5, 2), (30, 20, -1)):
        assert _one(x, y, z, *_picture()) == ABSENT


def test_the_last_pixel_belongs_to_the_picture() -> None:
    assert _one(59.4, 39.4, 2.0, *_picture()) == VISIBLE
    assert _one(-0.4, -0.4, 2.0, *_picture()) == VISIBLE
