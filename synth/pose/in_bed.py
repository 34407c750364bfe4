"""Postures in bed before physics: drawn as people were observed to lie, and some habits that matter at a bedside.

Angles as in `clinical`: Euler degrees. Habits are what a camera over a bed meets and independent draws seldom make:
crossed ankles, a figure of four, knees drawn up, hands under the head or between the knees, curled up, half on the
belly, slid down on a raised backrest, a hand on the rail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from synth.body.body_model import JOINT_INDEX
from synth.pose.clinical import FACE_UP, SIDES, Angles, about, joint_vectors
from synth.pose.observed import LATERAL, SUPINE, draw_limbs, draw_trunk
from synth.pose.room import LOWER, ON_THE_BACK, ON_THE_BELLY, UPPER, leg_points

Side = tuple[str, float]
_TRIES = 20  # arms drawn until there is room for one, at most
_TO_HEAD = 0.65  # metres from the hips
_SLID_DOWN = 0.3  # of those on a raised backrest
_FACE_UP_LEGS = ("one knee", "both knees", "figure of four", "crossed")
_FACE_UP_LEGS_SHARE = (0.36, 0.24, 0.22, 0.18)
_LATERAL_HABITS = ("", "curled up", "hands between knees", "half prone")
_LATERAL_SHARE = (0.86, 0.05, 0.04, 0.05)


def sample_in_bed(
    rng: np.random.Generator, posture: str, backrest_deg: float = 0.0
) -> tuple[NDArray[np.float64], Angles]:
    """A target before physics: the root (3, 3) and joint angles in degrees of one in-bed class.

    `arm_over_head` and `knees_bent` take the flat or raised bed as it is; `fowler` needs a raised one.
    """
    if posture == "lateral_left":
        return _lateral(rng, SIDES)
    if posture == "lateral_right":
        return _lateral(rng, SIDES[::-1])
    if posture == "prone":
        return _prone(rng)
    if posture not in ("supine", "fowler", "knees_bent", "arm_over_head"):
        raise ValueError(f"{posture!r} is no posture settled in bed")
    root, angles = _face_up(rng, backrest_deg)
    if posture == "knees_bent":
        angles |= _legs_bent(rng, backrest_deg)
    elif posture == "arm_over_head":
        raised = SIDES if rng.random() < 0.35 else (SIDES[int(rng.integers(2))],)
        for side in raised:
            angles |= _over_head(rng, side)
    return root, angles


def hand_on_rail(rng: np.random.Generator, angles: Angles) -> Angles:
    """`angles` with one arm out to the side, its hand as high over the mattress' edge as a bed rail is."""
    u = rng.uniform
    side, sign = SIDES[int(rng.integers(2))]
    return angles | {
        f"{side}_collar": (0.0, sign * u(-12, 4), sign * u(-4, 8)),
        f"{side}_shoulder": (u(-15, 10), sign * u(-35, -12), sign * u(-55, -32)),
        f"{side}_elbow": (0.0, sign * u(-75, -30), 0.0),
    }


def _joint(vector: NDArray[np.float64], sign: float = 1.0, pitch_deg: float = 0.0) -> tuple[float, float, float]:
    """Euler degrees of a rotation vector in degrees as on the left, turned about the parent's x axis by `pitch_deg`."""
    vector = np.asarray(vector) * [1.0, sign, sign]
    if np.count_nonzero(vector) == 1 and not pitch_deg:  # a hinge: exact beyond a quarter turn too
        return float(vector[0]), float(vector[1]), float(vector[2])
    turn = Rotation.from_rotvec(vector, degrees=True)
    if pitch_deg:
        turn = Rotation.from_euler("x", pitch_deg, degrees=True) * turn
    x, y, z = turn.as_euler("XYZ", degrees=True)
    return float(x), float(y), float(z)


def _limbs(found: dict[str, NDArray[np.float64]], side: Side, pitch_deg: float = 0.0) -> Angles:
    """One side's limbs as joint angles; the hip makes up for a trunk pitched by a backrest."""
    return {
        f"{side[0]}_{name}": _joint(vector, side[1], -pitch_deg if name == "hip" else 0.0)
        for name, vector in found.items()
    }


def _face_up(rng: np.random.Generator, backrest_deg: float) -> tuple[NDArray[np.float64], Angles]:
    u = rng.uniform
    trunk = draw_trunk(rng, SUPINE)
    pitch = backrest_deg
    if backrest_deg > 0 and rng.random() < _SLID_DOWN:
        # The pelvis has slid from the backrest, and only the upper back still leans on it.
        slid = min(float(u(10, 25)), backrest_deg)
        pitch -= slid
        trunk["spine1"] = trunk["spine1"] * 0.5 + [0.7 * slid, 0.0, 0.0]
        trunk["spine2"] = trunk["spine2"] * 0.5 + [0.3 * slid, 0.0, 0.0]
    angles: Angles = {name: _joint(vector) for name, vector in trunk.items()}
    for side in SIDES:
        angles |= _limbs(draw_limbs(rng, SUPINE, ON_THE_BACK), side, pitch)
    root = about("y", pitch) @ about("x", u(-10, 10)) @ about("z", u(-5, 5)) @ FACE_UP
    return root, angles


def _legs_bent(rng: np.random.Generator, backrest_deg: float) -> Angles:
    """Knees drawn up with the feet on the mattress, ankles crossed, or one ankle on the other knee."""
    u = rng.uniform
    habit = _FACE_UP_LEGS[int(rng.choice(len(_FACE_UP_LEGS), p=_FACE_UP_LEGS_SHARE))]
    first = int(rng.integers(2))
    one, other = SIDES[first], SIDES[1 - first]
    if habit == "crossed":
        under = _leg(other, (-backrest_deg + 2.0, u(0, 30), u(-14, -6)), u(0, 8), u(15, 45))
        return under | _leg(one, (-backrest_deg - 6.0, u(0, 25), u(-16, -10)), u(4, 16), u(15, 45))
    bend = u(70, 118)
    angles = _leg(one, (-backrest_deg - 0.5 * bend, u(-5, 18), u(-6, 12)), bend, 0.5 * bend - u(10, 30))
    if habit == "both knees":
        bend = u(65, 118)
        angles |= _leg(other, (-backrest_deg - 0.5 * bend, u(-5, 18), u(-6, 12)), bend, 0.5 * bend - u(10, 30))
    elif habit == "figure of four":
        if rng.random() < 0.5:  # the other ankle on this knee
            angles |= _leg(other, (-backrest_deg - 0.5 * bend - u(18, 30), u(42, 58), u(0, 12)), u(85, 110), u(5, 30))
        else:  # this thigh fallen outward, its foot beside the other knee
            angles |= _leg(one, (-backrest_deg - u(20, 45), u(45, 70), u(10, 30)), u(85, 125), u(15, 45))
    return angles


def _leg(side: Side, hip: tuple[float, float, float], knee: float, ankle: float) -> Angles:
    name, sign = side
    return {
        f"{name}_hip": (hip[0], sign * hip[1], sign * hip[2]),
        f"{name}_knee": (knee, 0.0, 0.0),
        f"{name}_ankle": (ankle, 0.0, 0.0),
    }


def _over_head(rng: np.random.Generator, side: Side) -> Angles:
    """A hand under the head, or thrown up beside it."""
    u = rng.uniform
    name, sign = side
    if rng.random() < 0.6:
        shoulder, elbow = (u(-98, -72), u(-55, -25), u(-12, 8)), u(-142, -105)
    else:
        shoulder, elbow = (u(-60, 10), u(-25, 15), u(25, 75)), u(-120, -30)
    return {
        f"{name}_shoulder": (shoulder[0], sign * shoulder[1], sign * shoulder[2]),
        f"{name}_elbow": (0.0, sign * elbow, 0.0),
    }


def _lateral(rng: np.random.Generator, sides: tuple[Side, ...]) -> tuple[NDArray[np.float64], Angles]:
    """On the first of two sides."""
    u = rng.uniform
    below, above = sides
    low, (upper, up) = below[1], above
    habit = _LATERAL_HABITS[int(rng.choice(len(_LATERAL_HABITS), p=_LATERAL_SHARE))]
    # LATERAL is of the left side; on the right, trunk and limbs are mirror images.
    angles: Angles = {name: _joint(vector, low) for name, vector in draw_trunk(rng, LATERAL).items()}
    angles |= _limbs(draw_limbs(rng, LATERAL, LOWER, "lower_"), sides[0]) | _limbs(
        draw_limbs(rng, LATERAL, UPPER, "upper_"), sides[1]
    )
    roll = u(60, 102)
    if habit == "curled up":
        angles |= {"spine1": (u(28, 50), 0.0, 0.0), "spine2": (u(6, 20), 0.0, 0.0), "spine3": (u(6, 20), 0.0, 0.0)}
        for side in sides:
            angles |= _leg(side, (u(-105, -62), u(-5, 15), u(-6, 6)), u(85, 125), u(0, 35))
            angles[f"{side[0]}_elbow"] = (0.0, side[1] * u(-142, -85), 0.0)
    elif habit == "hands between knees":
        bend = u(35, 65)
        for side in sides:
            angles |= _leg(side, (-bend + u(-8, 8), u(-5, 12), u(-2, 8)), 1.1 * bend + u(-10, 20), u(10, 40))
            angles[f"{side[0]}_shoulder"] = (u(-5, 20), side[1] * u(-50, -28), side[1] * u(-78, -58))
            angles[f"{side[0]}_elbow"] = (0.0, side[1] * u(-45, -10), 0.0)
    elif habit == "half prone":
        roll = u(106, 122)
        angles |= _leg(below, (u(-15, 5), u(-5, 20), u(-5, 8)), u(5, 30), u(20, 50))
        angles |= _leg(above, (u(-85, -50), u(-10, 10), u(-5, 10)), u(60, 110), u(10, 45))
        angles |= {
            "spine1": (u(-5, 12), 0.0, 0.0),
            f"{upper}_shoulder": (u(-40, 10), up * u(-75, -45), up * u(-30, 10)),
        }
    # Head and feet lie along the bed, however much trunk and hips are bent.
    lean = low * (0.8 * _bow_deg(angles) + u(-6, 6))
    return about("z", lean) @ about("x", -low * roll) @ FACE_UP, angles


def _bow_deg(angles: Angles) -> float:
    """How far before the pelvis' long axis the line from the heels to the head leans, seen from the side."""
    vectors = np.degrees(joint_vectors(angles))
    heels = np.mean(
        [leg_points(*(vectors[JOINT_INDEX[f"{side}_{name}"]] for name in ("hip", "knee")))[1] for side, _ in SIDES],
        axis=0,
    )
    bend = 0.8 * np.radians(sum(angles[name][0] for name in ("spine1", "spine2", "spine3")))
    head = _TO_HEAD * np.array([0.0, np.cos(bend), np.sin(bend)])
    return float(np.degrees(np.arctan2(head[2] - heels[2], head[1] - heels[1])))


def _prone(rng: np.random.Generator) -> tuple[NDArray[np.float64], Angles]:
    """Face down, the head turned; arms along the trunk or up beside the head, perhaps a leg drawn out to the side."""
    u = rng.uniform
    root = about("z", u(-6, 6)) @ about("x", 180.0 + u(-10, 10)) @ FACE_UP
    look = float(rng.choice([-1.0, 1.0]))
    angles: Angles = {name: (u(-5, 6), u(-7, 7), u(-7, 7)) for name in ("spine1", "spine2", "spine3")}
    angles["neck"] = (u(-12, 5), look * u(40, 60), u(-10, 10))
    angles["head"] = (u(-4, 8), look * u(12, 30), u(-6, 6))
    drawn = int(rng.integers(2)) if rng.random() < 0.45 else -1
    for k, side in enumerate(SIDES):
        name, sign = side
        angles |= _leg(side, (u(-6, 6), u(-12, 25), u(0, 16)), u(0, 30), u(35, 58))
        if k == drawn:  # out to the side like a frog's, so that it lies on the mattress
            angles |= _leg(side, (u(-35, -8), u(45, 72), u(10, 35)), u(45, 110), u(20, 50))
        angles |= _prone_arm(rng, side) | {f"{name}_wrist": (u(-20, 20), 0.0, sign * u(-25, 25))}
    return root, angles


def _prone_arm(rng: np.random.Generator, side: Side) -> Angles:
    u = rng.uniform
    name, sign = side
    raised = rng.random() < 0.55
    for _ in range(_TRIES):
        if raised:
            shoulder, elbow = (u(-85, -15), u(-15, 20), u(-35, 65)), u(-142, -45)
        else:
            shoulder, elbow = (u(-15, 35), u(-20, 15), u(-80, -50)), u(-75, 0)
        collar = (u(-25, 15), u(-15, 12), u(-8, 22))
        vectors = Rotation.from_euler("XYZ", [collar, shoulder], degrees=True).as_rotvec(degrees=True)
        if ON_THE_BELLY.for_arm(vectors[0], vectors[1], np.array([0.0, elbow, 0.0])):
            break
    return {
        f"{name}_collar": (collar[0], sign * collar[1], sign * collar[2]),
        f"{name}_shoulder": (shoulder[0], sign * shoulder[1], sign * shoulder[2]),
        f"{name}_elbow": (0.0, sign * elbow, 0.0),
    }
