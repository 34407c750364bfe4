"""Postures by class: the joints' limits, the axes of somebody lying, and how people sit, stand and walk.

Angles are degrees about SMPL-X axes for the *left* side, composed as intrinsic x-y-z Euler angles; y and z change sign
on the right. Limits: BodyPressure (Clever et al. 2022), and what fits of real people in beds reach. How people lie
is in `in_bed`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from synth.body.body_model import FINGER_JOINTS, JOINT_INDEX, Pose

POSTURES = (
    "supine", "lateral_left", "lateral_right", "prone", "fowler", "long_sitting", "bed_edge", "standing",
    "arm_over_head", "knees_bent", "reaching", "assisted",
)  # fmt: skip
# Limits in degrees (x, y, z), left side.
LIMITS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "spine1": ((-15, 55), (-25, 25), (-20, 20)),
    "spine2": ((-20, 30), (-25, 25), (-15, 15)),
    "spine3": ((-15, 25), (-25, 25), (-15, 15)),
    "neck": ((-30, 40), (-60, 60), (-25, 25)),
    "head": ((-20, 45), (-35, 35), (-20, 20)),
    "hip": ((-140, 22), (-60, 90), (-40, 70)),
    "knee": ((-1, 150), (-1, 1), (-1, 1)),
    "ankle": ((-20, 62), (-18, 18), (-20, 20)),
    "foot": ((-20, 20), (-1, 1), (-1, 1)),
    "collar": ((-62, 52), (-55, 24), (-40, 53)),
    "shoulder": ((-122, 86), (-110, 45), (-126, 80)),
    "elbow": ((-1, 1), (-150, 1), (-1, 1)),
    "wrist": ((-35, 35), (-18, 18), (-50, 50)),
}
SIDES = (("left", 1.0), ("right", -1.0))
Angles = dict[str, tuple[float, float, float]]

# Lying face up, head toward −x: SMPL-X's left, up and front in bed axes.
FACE_UP: NDArray[np.float64] = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def limits_of(joint: str) -> tuple[tuple[float, float], ...]:
    """(low, high) degrees about x, y and z of one SMPL-X joint, signs already turned for the right side."""
    side, _, name = joint.partition("_")
    if side not in ("left", "right"):
        return LIMITS[joint]
    if side == "left":
        return LIMITS[name]
    x, (y0, y1), (z0, z1) = LIMITS[name]
    return x, (-y1, -y0), (-z1, -z0)


def about(axis: str, degrees: float) -> NDArray[np.float64]:
    """Rotation (3, 3) about a bed axis."""
    return np.asarray(Rotation.from_euler(axis, degrees, degrees=True).as_matrix())


def upright_root(yaw_deg: float, lean_deg: float = 0.0) -> NDArray[np.float64]:
    """Root of somebody upright who faces `yaw_deg` (0 = the foot end, 90 = the patient's left), leaning forward."""
    yaw = np.radians(yaw_deg)
    front, left = np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    return np.stack([left, [0.0, 0.0, 1.0], front], axis=1) @ about("x", lean_deg)


def joint_vectors(angles: Angles) -> NDArray[np.float64]:
    """(21, 3) axis-angle radians from Euler degrees, each clipped to its joint's limits."""
    degrees = np.zeros((21, 3))
    for joint, xyz in angles.items():
        low, high = np.array(limits_of(joint), dtype=float).T
        degrees[JOINT_INDEX[joint]] = np.clip(xyz, low, high)
    return np.asarray(Rotation.from_euler("XYZ", degrees, degrees=True).as_rotvec())


def relaxed_hands(rng: np.random.Generator) -> NDArray[np.float64]:
    """(2, 15, 3) axis-angle of loosely curled fingers; each hand has its own curl."""
    hands = np.zeros((2, 15, 3))
    for hand, sign in enumerate((1.0, -1.0)):
        curl = rng.uniform(8.0, 45.0)
        for k, joint in enumerate(FINGER_JOINTS):
            if joint.startswith("thumb"):
                hands[hand, k] = (0.0, -sign * curl * 0.25, 0.0)
            else:
                hands[hand, k] = (0.0, 0.0, -sign * (curl + rng.uniform(-5.0, 5.0)))
    return np.radians(hands)


def _trunk(rng: np.random.Generator, bend: tuple[float, float] = (-4.0, 10.0)) -> Angles:
    u = rng.uniform
    found: Angles = {name: (u(*bend), u(-6, 6), u(-6, 6)) for name in ("spine1", "spine2", "spine3")}
    found["neck"] = (u(-10, 20), u(-28, 28), u(-10, 10))
    found["head"] = (u(-8, 12), u(-18, 18), u(-8, 8))
    return found


def _arm(rng: np.random.Generator, side: str, sign: float) -> Angles:
    """One arm at the side."""
    u = rng.uniform
    shoulder, elbow = (u(-15, 35), u(-25, 10), u(-78, -50)), u(-60, 0)
    return {
        f"{side}_collar": (0.0, 0.0, sign * u(0, 8)),
        f"{side}_shoulder": (shoulder[0], sign * shoulder[1], sign * shoulder[2]),
        f"{side}_elbow": (0.0, sign * elbow, 0.0),
        f"{side}_wrist": (u(-20, 20), 0.0, sign * u(-25, 25)),
    }


def _flat_leg(rng: np.random.Generator, side: str, sign: float, pitch_deg: float, knee: tuple[float, float]) -> Angles:
    """A leg whose heel stays on the mattress while the trunk is pitched: the thigh rises half the knee's angle."""
    bend = float(rng.uniform(*knee))
    return {
        f"{side}_hip": (-pitch_deg - 0.52 * bend, sign * float(rng.uniform(-5, 20)), sign * float(rng.uniform(0, 12))),
        f"{side}_knee": (bend, 0.0, 0.0),
        f"{side}_ankle": (float(rng.uniform(0, 30)), 0.0, 0.0),
    }


def sample_sitting(
    rng: np.random.Generator, posture: str, side_of_bed: float = 1.0
) -> tuple[NDArray[np.float64], Angles]:
    """Root and angles of sitting in bed (`long_sitting`, `reaching`, `assisted`) or on its edge (`bed_edge`)."""
    u = rng.uniform
    angles = _trunk(rng, bend=(4.0, 15.0))
    if posture == "bed_edge":
        lean = u(-6, 8)
        root = upright_root(90.0 * side_of_bed + u(-12, 12), lean)
        for side, sign in SIDES:
            level = u(80, 94)  # thigh against the vertical; the shin then hangs, or points a little forward
            angles |= {
                f"{side}_hip": (-level - lean, sign * u(-5, 15), sign * u(2, 16)),
                f"{side}_knee": (level - u(2, 22), 0.0, 0.0),
                f"{side}_ankle": (u(-5, 15), 0.0, 0.0),
            }
    else:
        pitch = u(78, 95)
        root = about("z", u(-8, 8)) @ about("y", pitch) @ FACE_UP
        for side, sign in SIDES:
            angles |= _flat_leg(rng, side, sign, pitch, (0.0, 25.0))
    for side, sign in SIDES:
        angles |= _arm(rng, side, sign)
        angles[f"{side}_shoulder"] = (u(5, 40), sign * u(-45, -10), sign * u(-72, -55))
        angles[f"{side}_elbow"] = (0.0, sign * u(-80, -15), 0.0)
    if posture == "reaching":
        side, sign = SIDES[int(rng.integers(2))]
        angles[f"{side}_shoulder"] = (u(-15, 15), sign * u(-85, -50), sign * u(-25, 15))
        angles[f"{side}_elbow"] = (0.0, sign * u(-35, 0), 0.0)
        for name in ("spine1", "spine2", "spine3"):
            angles[name] = (u(5, 18), -sign * u(0, 12), u(-6, 6))
    return root, angles


def sample_upright(rng: np.random.Generator, yaw_deg: float, activity: str) -> tuple[NDArray[np.float64], Angles]:
    """Root and angles of somebody on the floor: `standing`, `walking`, `sitting` (on a chair), `leaning` over a bed."""
    u = rng.uniform
    lean = u(-3, 4)
    angles = _trunk(rng, bend=(-3.0, 6.0))
    for side, sign in SIDES:
        angles |= _arm(rng, side, sign)
        angles[f"{side}_shoulder"] = (u(-12, 18), sign * u(-20, 5), sign * u(-76, -60))
        angles[f"{side}_elbow"] = (0.0, sign * u(-40, -5), 0.0)
        angles |= {
            f"{side}_hip": (u(-8, 4), sign * u(0, 12), sign * u(0, 7)),
            f"{side}_knee": (u(0, 8), 0.0, 0.0),
            f"{side}_ankle": (0.0, 0.0, 0.0),
        }
    if activity == "standing":
        if rng.random() < 0.35:  # hands busy in front: a clipboard, a telephone, folded arms
            for side, sign in SIDES:
                angles[f"{side}_shoulder"] = (u(10, 40), sign * u(-40, -15), sign * u(-72, -58))
                angles[f"{side}_elbow"] = (0.0, sign * u(-125, -75), 0.0)
    elif activity == "walking":
        swing, forward = u(15, 32), SIDES[int(rng.integers(2))][0]
        lean = u(0, 8)
        for side, sign in SIDES:
            ahead = side == forward
            angles[f"{side}_hip"] = (-swing if ahead else 0.7 * swing, 0.0, sign * u(0, 5))
            angles[f"{side}_knee"] = (u(2, 12) if ahead else u(15, 45), 0.0, 0.0)
            angles[f"{side}_ankle"] = (-5.0 if ahead else u(0, 20), 0.0, 0.0)
            angles[f"{side}_shoulder"] = (u(0, 10), sign * (swing * 0.8 if ahead else -swing * 0.9), sign * u(-76, -66))
            angles[f"{side}_elbow"] = (0.0, sign * u(-50, -10), 0.0)
    elif activity == "sitting":
        lean = u(-12, 12)
        for side, sign in SIDES:
            angles[f"{side}_hip"] = (u(-98, -80), sign * u(-5, 15), sign * u(0, 16))
            angles[f"{side}_knee"] = (u(70, 100), 0.0, 0.0)
            angles[f"{side}_shoulder"] = (u(5, 30), sign * u(-45, -15), sign * u(-74, -60))
            angles[f"{side}_elbow"] = (0.0, sign * u(-95, -30), 0.0)
    elif activity == "leaning":
        lean = u(5, 15)
        for name in ("spine1", "spine2", "spine3"):
            angles[name] = (u(7, 14), u(-5, 5), u(-4, 4))
        for side, sign in SIDES:
            angles[f"{side}_hip"] = (-lean - u(0, 12), 0.0, sign * u(2, 8))
            angles[f"{side}_shoulder"] = (u(-5, 20), sign * u(-75, -40), sign * u(-62, -35))
            angles[f"{side}_elbow"] = (0.0, sign * u(-60, -10), 0.0)
    else:
        raise ValueError(f"unknown activity {activity!r}")
    return upright_root(yaw_deg, lean), angles


def make_pose(rng: np.random.Generator, root: NDArray[np.float64], angles: Angles) -> Pose:
    """A pose with its pelvis at the origin and relaxed hands."""
    return Pose(root, np.zeros(3), joint_vectors(angles), relaxed_hands(rng))
