"""BVH recordings as poses: any skeleton whose joints have the usual names, in SMPL-X's joints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from synth.body.body_model import JOINT_INDEX, JOINTS, PARENTS
from synth.body.retarget import rotation_between
from synth.pose.bvh_file import Skeleton, read_bvh
from synth.pose.bvh_joints import joint_map
from synth.pose.motion import MotionFrame, MotionPoses

_ALONG_AXIS = np.cos(np.radians(25))  # rest poses lean a little; what lies farther off is no axis
# Directions of the limbs in SMPL-X's T-pose, SMPL-X axes, of the left side; x changes sign on the right.
_LIMBS = {"shoulder": (1.0, 0.0, 0.0), "elbow": (1.0, 0.0, 0.0), "hip": (0.06, -1.0, 0.0), "knee": (0.02, -1.0, -0.05)}


def frame_of(skeleton: Skeleton, index: int) -> MotionFrame:
    """One frame in SMPL-X's joints; the file's own rest pose may be a T- or an A-pose or any other upright one, with y
    or z up. ValueError says what is wrong with a rest pose that tells nothing."""
    joints, rest, turned = joint_map(skeleton), skeleton.rest_positions(), skeleton.rotations(index)
    basis = _basis(rest, joints)
    trunk = float(np.linalg.norm(rest[joints["left_shoulder"]] - rest[joints["pelvis"]]))
    world = np.zeros((22, 3, 3))
    offsets: dict[str, NDArray[np.float64]] = {}
    for number, name in enumerate(("pelvis", *JOINTS)):
        parent = PARENTS.get(name)
        parent_turn = np.eye(3) if parent is None else world[0 if parent == "pelvis" else 1 + JOINT_INDEX[parent]]
        if name not in joints:
            world[number] = parent_turn
            continue
        side, _, kind = name.partition("_")
        straight = np.eye(3)
        if kind in _LIMBS:
            tip = {"shoulder": "elbow", "elbow": "wrist", "hip": "knee", "knee": "ankle"}[kind]
            if f"{side}_{tip}" in joints:
                direction = np.array(_LIMBS[kind]) * ([-1.0, 1.0, 1.0] if side == "right" else [1.0, 1.0, 1.0])
                bone = rest[joints[f"{side}_{tip}"]] - rest[joints[name]]
                if np.linalg.norm(bone) < 1e-3 * trunk:
                    raise ValueError(f"there is no length between {name.replace('_', ' ')} and {tip}")
                straight = rotation_between(basis @ direction, bone)
        elif kind == "wrist":
            straight = offsets.get(f"{side}_elbow", straight)
        offsets[name] = straight
        world[number] = turned[joints[name]] @ straight @ basis
    local = np.stack(
        [
            world[0 if PARENTS[name] == "pelvis" else 1 + JOINT_INDEX[PARENTS[name]]].T @ world[1 + k]
            for k, name in enumerate(JOINTS)
        ]
    )
    level = np.stack([basis[:, 2], basis[:, 0], basis[:, 1]])  # the file's front, left and up become x, y and z
    return MotionFrame(level @ world[0], Rotation.from_matrix(local).as_rotvec(), np.zeros((2, 15, 3)))


def _basis(rest: NDArray[np.float64], joints: dict[str, int]) -> NDArray[np.float64]:
    """(3, 3) from SMPL-X axes (left, up, front) to the file's. Up is one of its axes, and so is left where the rest
    pose faces along one. ValueError for a rest pose that has no upright trunk, or no left and right."""
    shoulders = 0.5 * (rest[joints["left_shoulder"]] + rest[joints["right_shoulder"]])
    trunk = shoulders - rest[joints["pelvis"]]
    up = _snapped(trunk)
    if not trunk.any() or up @ trunk < _ALONG_AXIS * np.linalg.norm(trunk):
        raise ValueError("its trunk stands along no axis")
    left = rest[joints["left_hip"]] - rest[joints["right_hip"]]
    left = left - up * float(left @ up)
    length = float(np.linalg.norm(left))
    if length < 1e-3 * np.linalg.norm(trunk):
        raise ValueError("its hips are in one place")
    left, axis = left / length, _snapped(left)
    left = axis if axis @ left > _ALONG_AXIS else left
    return np.stack([left, up, np.cross(left, up)], axis=1)


def _snapped(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """The signed axis (3,) nearest to a direction."""
    axis = np.zeros(3)
    largest = int(np.abs(direction).argmax())
    axis[largest] = np.sign(direction[largest])
    return axis


class BvhPoses(MotionPoses):
    """`PoseSource` of a folder of BVH files."""

    name = "bvh"
    patterns = ("*.bvh",)

    @classmethod
    def count_frames(cls, path: Path) -> int:
        skeleton = read_bvh(path)
        try:
            joint_map(skeleton)
        except ValueError as error:
            raise WardposeError(
                f"has no joint that can be told to be the {error}", where=str(path),
                mend="name the joints as CMU, Mixamo or Blender do",
            ) from None  # fmt: skip
        try:
            frame_of(skeleton, 0)
        except ValueError as error:
            raise WardposeError(
                f"its rest pose cannot be read: {error}", where=str(path),
                mend="export it with a rest pose that stands upright, its bones of their lengths",
            ) from None  # fmt: skip
        return len(skeleton.frames)

    @classmethod
    def read_frame(cls, path: Path, index: int) -> MotionFrame:
        return frame_of(read_bvh(path), index)
