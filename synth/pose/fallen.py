"""Postures of people on a floor: lying as they fell, sitting up, or propped on an arm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from synth.body.body_model import JOINT_INDEX, Pose
from synth.pose.bank import pose_bank
from synth.pose.clinical import SIDES, about, make_pose, sample_sitting

# Poses settled on a flat mattress lie on a floor as well.
_LYING = ("supine", "lateral_left", "lateral_right", "prone", "arm_over_head", "knees_bent")
_LYING_SHARE = (0.24, 0.19, 0.19, 0.2, 0.08, 0.1)
_SITTING_SHARE = 0.25
_SPRAWL_DEG = {"shoulder": 20.0, "hip": 8.0}  # standard deviation


def sample_fallen(rng: np.random.Generator, yaw_deg: float) -> Pose:
    """Somebody on a floor, pelvis at the origin: lying with the feet toward `yaw_deg`, or sitting and facing it."""
    pose = _sitting(rng) if rng.random() < _SITTING_SHARE else _sprawled(rng)
    return replace(pose, root=about("z", yaw_deg) @ pose.root, pelvis=np.zeros(3))


def _sprawled(rng: np.random.Generator) -> Pose:
    """Lying, with limbs flung further than anybody lies in bed."""
    posture = _LYING[int(rng.choice(len(_LYING), p=_LYING_SHARE))]
    pose = pose_bank().sample(rng, posture)
    # The trunk's axis that stands upright: a limb turned about it stays on the floor.
    axis = "x" if posture.startswith("lateral") else "z"
    joints = pose.joints.copy()
    for name, spread in _SPRAWL_DEG.items():
        for side, _ in SIDES:
            index = JOINT_INDEX[f"{side}_{name}"]
            swing = Rotation.from_euler(axis, rng.normal(0, spread), degrees=True)
            joints[index] = (swing * Rotation.from_rotvec(joints[index])).as_rotvec()
    return replace(pose, joints=joints)


def _sitting(rng: np.random.Generator) -> Pose:
    """On the floor, legs stretched or drawn up, the trunk leaning back or to a side."""
    root, angles = sample_sitting(rng, "long_sitting")
    back = rng.uniform(-8, 35)
    for side, sign in SIDES:
        if rng.random() < 0.5:
            bend = rng.uniform(20, 80)
            angles[f"{side}_hip"] = (-85.0 - 0.5 * bend, 0.0, sign * rng.uniform(0, 20))
            angles[f"{side}_knee"] = (bend, 0.0, 0.0)
        x, y, z = angles[f"{side}_hip"]
        angles[f"{side}_hip"] = (x + back, y, z)  # the legs stay down
    return make_pose(rng, about("x", rng.normal(0, 10)) @ about("y", -back) @ root, angles)
