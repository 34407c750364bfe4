"""In-bed and bedside postures: joint ranges by class, from fits of real people in beds and published joint limits.

Angles are degrees about SMPL-X axes for the *left* side, composed as intrinsic x-y-z Euler angles; y and z change sign
on the right. Ranges: in-bed fits' 5th–95th percentiles; limits: BodyPressure (Clever et al. 2022).
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
LYING_FLAT = ("supine", "lateral_left", "lateral_right", "prone")
# Limits in degrees (x, y, z), left side.
LIMITS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "spine1": ((-15, 45), (-25, 25), (-20, 20)),
    "spine2": ((-10, 30), (-25, 25), (-15, 15)),
    "spine3": ((-10, 25), (-25, 25), (-15, 15)),
    "neck": ((-30, 40), (-60, 60), (-25, 25)),
    "head": ((-20, 30), (-35, 35), (-20, 20)),
    "hip": ((-140, 10), (-60, 60), (-30, 60)),
    "knee": ((-1, 150), (-1, 1), (-1, 1)),
    "ankle": ((-20, 50), (-15, 15), (-20, 20)),
    "foot": ((-20, 20), (-1, 1), (-1, 1)),
    "collar": ((-10, 10), (-20, 20), (-20, 20)),
    "shoulder": ((-70, 70), (-90, 35), (-90, 80)),
    "elbow": ((-1, 1), (-150, 1), (-1, 1)),
    "wrist": ((-35, 35), (-15, 15), (-50, 50)),
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


def _arm(rng: np.random.Generator, side: str, sign: float, kind: str) -> Angles:
    """One arm: at the side, on the belly or chest, forward (lying on the side), or over the head."""
    u = rng.uniform
    if kind == "side":
        shoulder, elbow = (u(-15, 35), u(-25, 10), u(-78, -50)), u(-60, 0)
    elif kind == "belly":
        shoulder, elbow = (u(15, 50), u(-25, 10), u(-70, -42)), u(-130, -75)
    elif kind == "wide":
        shoulder, elbow = (u(-65, -30), u(-15, 10), u(-68, -40)), u(-130, -70)
    elif kind == "forward":
        shoulder, elbow = (u(-15, 25), u(-80, -40), u(-60, -10)), u(-140, -40)
    else:
        shoulder, elbow = (u(-20, 20), u(-15, 15), u(35, 80)), u(-140, -75)
    return {
        f"{side}_collar": (0.0, 0.0, sign * u(0, 8)),
        f"{side}_shoulder": (shoulder[0], sign * shoulder[1], sign * shoulder[2]),
        f"{side}_elbow": (0.0, sign * elbow, 0.0),
        f"{side}_wrist": (u(-20, 20), 0.0, sign * u(-25, 25)),
    }


def _leg(rng: np.random.Generator, side: str, sign: float, hip: tuple[float, float], knee: tuple[float, float],
         spread: tuple[float, float] = (0.0, 14.0)) -> Angles:  # fmt: skip
    u = rng.uniform
    return {
        f"{side}_hip": (u(*hip), sign * u(-5, 25), sign * u(*spread)),
        f"{side}_knee": (u(*knee), 0.0, 0.0),
        f"{side}_ankle": (u(5, 40), 0.0, 0.0),
    }


def _flat_leg(rng: np.random.Generator, side: str, sign: float, pitch_deg: float, knee: tuple[float, float]) -> Angles:
    """A leg whose heel stays on the mattress while the trunk is pitched: the thigh rises half the knee's angle."""
    bend = float(rng.uniform(*knee))
    return {
        f"{side}_hip": (-pitch_deg - 0.52 * bend, sign * float(rng.uniform(-5, 20)), sign * float(rng.uniform(0, 12))),
        f"{side}_knee": (bend, 0.0, 0.0),
        f"{side}_ankle": (float(rng.uniform(0, 30)), 0.0, 0.0),
    }


def sample_in_bed(
    rng: np.random.Generator, posture: str, backrest_deg: float = 0.0
) -> tuple[NDArray[np.float64], Angles]:
    """A target before physics: the root (3, 3) and joint angles in degrees of one in-bed class.

    `arm_over_head` and `knees_bent` take the flat or raised bed as it is; `fowler` needs a raised one.
    """
    u = rng.uniform
    angles: Angles = _trunk(rng)
    root = about("y", backrest_deg) @ about("x", u(-8, 8)) @ about("z", u(-6, 6)) @ FACE_UP
    arms = [("side", "belly", "wide")[int(rng.choice(3, p=[0.3, 0.47, 0.23]))] for _ in SIDES]
    if posture in ("lateral_left", "lateral_right"):
        down = "left" if posture == "lateral_left" else "right"
        turn = -1.0 if down == "left" else 1.0
        root = about("z", u(-6, 6)) @ about("x", turn * u(70, 100)) @ FACE_UP
        angles |= _trunk(rng, bend=(0.0, 15.0))
        angles["spine1"] = (u(0, 40), u(-6, 6), u(-5, 5))
        for side, sign in SIDES:
            lower = side == down
            angles |= _leg(rng, side, sign, (-50, 0) if lower else (-75, -18), (5, 90) if lower else (25, 120), (-6, 8))
            angles |= _arm(rng, side, sign, "forward" if lower or rng.random() < 0.7 else "side")
        return root, angles
    if posture == "prone":
        root = about("z", u(-6, 6)) @ about("x", 180.0 + u(-8, 8)) @ FACE_UP
        look = float(rng.choice([-1.0, 1.0]))
        angles |= _trunk(rng, bend=(-5.0, 3.0))
        angles["neck"] = (u(-5, 5), look * u(45, 60), u(-8, 8))
        angles["head"] = (u(-4, 4), look * u(15, 30), u(-6, 6))
        for side, sign in SIDES:
            angles |= _leg(rng, side, sign, (-5, 5), (0, 25), (0, 14)) | _arm(rng, side, sign, "side")
            if rng.random() < 0.5:
                angles |= {
                    f"{side}_shoulder": (u(-60, -20), sign * u(-10, 20), sign * u(-10, 45)),
                    f"{side}_elbow": (0.0, sign * u(-120, -50), 0.0),
                }
            angles[f"{side}_ankle"] = (u(35, 50), 0.0, 0.0)
        return root, angles
    knee = (0.0, 25.0) if rng.random() < 0.75 else (15.0, 60.0)
    for k, (side, sign) in enumerate(SIDES):
        if backrest_deg > 0:
            angles |= _flat_leg(rng, side, sign, backrest_deg, (0.0, 40.0))
        else:
            angles |= _flat_leg(rng, side, sign, u(-5, 5), knee)
        angles |= _arm(rng, side, sign, arms[k])
    if posture == "knees_bent":
        if backrest_deg == 0 and rng.random() < 0.4:  # ankles crossed
            over = SIDES[int(rng.integers(2))]
            for side, sign in SIDES:
                angles[f"{side}_hip"] = (-12.0 if side == over[0] else -2.0, 0.0, sign * u(-14, -8))
                angles[f"{side}_knee"] = (u(8, 16) if side == over[0] else u(0, 5), 0.0, 0.0)
        else:
            bent = [u(75, 115), u(75, 115)] if rng.random() < 0.6 else [u(75, 115), u(0, 20)]
            for (side, sign), bend in zip(SIDES, bent if rng.random() < 0.5 else bent[::-1], strict=True):
                angles[f"{side}_hip"] = (-backrest_deg - 0.5 * bend, 0.0, sign * u(-4, 8))
                angles[f"{side}_knee"] = (bend, 0.0, 0.0)
                angles[f"{side}_ankle"] = (0.5 * bend - 20.0, 0.0, 0.0)
    elif posture == "arm_over_head":
        raised = int(rng.integers(2))
        angles |= _arm(rng, *SIDES[raised], "over")
    elif posture not in ("supine", "fowler"):
        raise ValueError(f"{posture!r} is no posture settled in bed")
    return root, angles


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
        angles |= _arm(rng, side, sign, "side")
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
        angles |= _arm(rng, side, sign, "side")
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
