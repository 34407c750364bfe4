"""Laying a hand on something: two-bone inverse kinematics of one arm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from synth.body.body_model import JOINT_INDEX, PARENTS, Pose
from synth.body.retarget import rotation_between

_STRAIGHT = 0.98  # share of the arm's length it may stretch to


def reach(pose: Pose, joints: dict[str, NDArray[np.float64]], side: str, target: NDArray[np.float64]) -> Pose:
    """`pose` with the "left" or "right" wrist at `target` (3,), bed frame, or as near as the arm reaches.

    joints: T-pose positions from `BodyModel.joint_positions`. The elbow hangs down.
    """
    chain = [f"{side}_collar"]
    while chain[-1] != "pelvis":
        chain.append(PARENTS[chain[-1]])
    turn, at = pose.root, pose.pelvis
    for parent, joint in zip(chain[::-1], chain[-2::-1], strict=False):
        at = at + turn @ (joints[joint] - joints[parent])
        turn = turn @ Rotation.from_rotvec(pose.joints[JOINT_INDEX[joint]]).as_matrix()
    shoulder = at + turn @ (joints[f"{side}_shoulder"] - joints[f"{side}_collar"])
    upper = joints[f"{side}_elbow"] - joints[f"{side}_shoulder"]
    lower = joints[f"{side}_wrist"] - joints[f"{side}_elbow"]
    a, b = float(np.linalg.norm(upper)), float(np.linalg.norm(lower))
    toward = target - shoulder
    distance = float(np.clip(np.linalg.norm(toward), abs(a - b) + 0.05, _STRAIGHT * (a + b)))
    toward = toward / np.linalg.norm(toward)
    wrist = shoulder + toward * distance
    along = (a * a - b * b + distance * distance) / (2.0 * distance)
    hang = np.array([0.0, 0.0, -1.0]) - 0.5 * (turn @ np.array([0.0, 0.0, 1.0]))
    hang = hang - toward * float(hang @ toward)
    elbow = shoulder + toward * along + hang / np.linalg.norm(hang) * np.sqrt(max(a * a - along * along, 0.0))
    upper_turn = rotation_between(turn @ upper, elbow - shoulder) @ turn
    lower_turn = rotation_between(upper_turn @ lower, wrist - elbow) @ upper_turn
    vectors = pose.joints.copy()
    vectors[JOINT_INDEX[f"{side}_shoulder"]] = Rotation.from_matrix(turn.T @ upper_turn).as_rotvec()
    vectors[JOINT_INDEX[f"{side}_elbow"]] = Rotation.from_matrix(upper_turn.T @ lower_turn).as_rotvec()
    vectors[JOINT_INDEX[f"{side}_wrist"]] = 0.0
    return replace(pose, joints=vectors)
