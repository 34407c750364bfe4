"""BVH recordings (Biovision): any skeleton with the usual joint names, such as CMU's, Mixamo's or Blender's."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from synth.body.body_model import JOINT_INDEX, JOINTS, PARENTS
from synth.body.retarget import rotation_between
from synth.pose.motion import MotionFrame, MotionPoses

_ELBOW = ("forearm", "elbow", "lowarm", "lowerarm")
_KNEE = ("leg", "knee", "shin", "lowleg", "lowerleg", "calf")
# Directions of the limbs in SMPL-X's T-pose, SMPL-X axes, of the left side; x changes sign on the right.
_LIMBS = {"shoulder": (1.0, 0.0, 0.0), "elbow": (1.0, 0.0, 0.0), "hip": (0.06, -1.0, 0.0), "knee": (0.02, -1.0, -0.05)}


@dataclass
class Skeleton:
    """names, parents (−1 at the root), offsets (J, 3) in the file's unit, and each joint's rotation channels.

    channels: of each joint, the order of its rotations such as "ZXY" and the column of the first; frames (T, C).
    """

    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: list[list[float]] = field(default_factory=list)
    channels: list[tuple[str, list[int]]] = field(default_factory=list)
    frames: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))

    def first_child(self, joint: int) -> int | None:
        """The first joint that hangs from `joint`."""
        return next((k for k, parent in enumerate(self.parents) if parent == joint), None)

    def rotations(self, index: int) -> NDArray[np.float64]:
        """(J, 3, 3) rotations of all joints in the world, in frame `index`."""
        row = self.frames[index]
        found = np.empty((len(self.names), 3, 3))
        for joint, (order, columns) in enumerate(self.channels):
            own = Rotation.from_euler(order, row[columns], degrees=True).as_matrix() if order else np.eye(3)
            parent = self.parents[joint]
            found[joint] = own if parent < 0 else found[parent] @ own
        return found

    def rest_positions(self) -> NDArray[np.float64]:
        """(J, 3) joints with no rotation."""
        found = np.zeros((len(self.names), 3))
        for joint, parent in enumerate(self.parents):
            found[joint] = self.offsets[joint] if parent < 0 else found[parent] + self.offsets[joint]
        return found


@lru_cache(maxsize=16)
def read_bvh(path: Path) -> Skeleton:
    """Parse one file. Raises WardposeError where it is none."""
    try:
        words = path.read_text(encoding="utf-8", errors="replace").split()
    except OSError as error:
        raise WardposeError(f"cannot be read: {(error.strerror or str(error)).lower()}", where=str(path)) from None
    try:
        return _parsed(words)
    except (ValueError, IndexError):
        raise WardposeError(
            "is no BVH recording, or a damaged one", where=str(path), mend="export it anew, or take it out"
        ) from None


def _parsed(words: list[str]) -> Skeleton:
    if not words or words[0] != "HIERARCHY":
        raise ValueError("no hierarchy")
    skeleton, stack, column, at = Skeleton(), [-1], 0, 1
    end_site = False
    while words[at] != "MOTION":
        word = words[at]
        if word in ("ROOT", "JOINT"):
            skeleton.names.append(words[at + 1])
            skeleton.parents.append(stack[-1])
            skeleton.channels.append(("", []))
            at += 2
        elif word == "End":
            end_site, at = True, at + 2
        elif word == "{":
            stack.append(stack[-1] if end_site else len(skeleton.names) - 1)
            at += 1
        elif word == "}":
            stack.pop()
            end_site, at = False, at + 1
        elif word == "OFFSET":
            if not end_site:
                skeleton.offsets.append([float(value) for value in words[at + 1 : at + 4]])
            at += 4
        elif word == "CHANNELS":
            count = int(words[at + 1])
            kinds = words[at + 2 : at + 2 + count]
            turns = [(kind[0], column + k) for k, kind in enumerate(kinds) if kind.endswith("rotation")]
            skeleton.channels[-1] = ("".join(axis for axis, _ in turns), [k for _, k in turns])
            column, at = column + count, at + 2 + count
        else:
            raise ValueError(word)
    if words[at + 1] != "Frames:" or words[at + 3 : at + 5] != ["Frame", "Time:"]:
        raise ValueError("no motion")
    count = int(words[at + 2])
    values = np.array(words[at + 6 :], dtype=np.float64)
    if not count or len(values) != count * column or not np.isfinite(values).all():
        raise ValueError("frames")
    skeleton.frames = values.reshape(count, column)
    return skeleton


def joint_map(skeleton: Skeleton) -> dict[str, int]:
    """Which joint of the file stands for each of SMPL-X's, "pelvis" among them, found by names and hierarchy."""
    labels = [name.lower().rpartition(":")[2] for name in skeleton.names]
    plain = [re.sub(r"[^a-z0-9]", "", label).removeprefix("mixamorig") for label in labels]
    found = {"pelvis": 0}

    def named(side: str, words: tuple[str, ...]) -> int | None:
        forms = {form for word in words for form in (side + word, side[0] + word, word + side, word + side[0])}
        return next((k for k, name in enumerate(plain) if name in forms), None)

    for side in ("left", "right"):
        for middle, words, upper, lower in (("elbow", _ELBOW, "shoulder", "wrist"), ("knee", _KNEE, "hip", "ankle")):
            joint = named(side, words)
            if joint is None:
                raise ValueError(f"{side} {middle}")
            found |= {f"{side}_{middle}": joint, f"{side}_{upper}": skeleton.parents[joint]}
            end = skeleton.first_child(joint)
            if end is not None:
                found[f"{side}_{lower}"] = end
        toe = skeleton.first_child(found[f"{side}_ankle"]) if f"{side}_ankle" in found else None
        if toe is not None:
            found[f"{side}_foot"] = toe
    up: dict[str, list[int]] = {}
    for side in ("left", "right"):
        chain = [skeleton.parents[found[f"{side}_shoulder"]]]
        while chain[-1] > 0:
            chain.append(skeleton.parents[chain[-1]])
        up[side] = chain
    spine = [joint for joint in up["left"] if joint in up["right"] and joint > 0][::-1]
    for side in ("left", "right"):
        if up[side][0] not in (*spine, 0):
            found[f"{side}_collar"] = up[side][0]
    if spine:
        found |= {"spine1": spine[0], "spine3": spine[-1]}
        if len(spine) > 2:
            found["spine2"] = spine[len(spine) // 2]
    for name in ("neck", "head"):
        joint = next((k for k, label in enumerate(plain) if label == name), None)
        if joint is not None:
            found[name] = joint
    return found


def frame_of(skeleton: Skeleton, index: int) -> MotionFrame:
    """One frame in SMPL-X's joints; the file's own rest pose may be a T- or an A-pose, with y or z up."""
    joints, rest, turned = joint_map(skeleton), skeleton.rest_positions(), skeleton.rotations(index)
    basis = _basis(rest, joints)
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
    """(3, 3) from SMPL-X axes (left, up, front) to the file's, each snapped to one of its axes."""

    def snapped(direction: NDArray[np.float64]) -> NDArray[np.float64]:
        axis = np.zeros(3)
        largest = int(np.abs(direction).argmax())
        axis[largest] = np.sign(direction[largest])
        return axis

    shoulders = 0.5 * (rest[joints["left_shoulder"]] + rest[joints["right_shoulder"]])
    up = snapped(shoulders - rest[joints["pelvis"]])
    left = rest[joints["left_hip"]] - rest[joints["right_hip"]]
    left = snapped(left - up * float(left @ up))
    return np.stack([left, up, np.cross(left, up)], axis=1)


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
        return len(skeleton.frames)

    @classmethod
    def read_frame(cls, path: Path, index: int) -> MotionFrame:
        return frame_of(read_bvh(path), index)
