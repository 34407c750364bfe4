"""How people were seen to lie: joint angles of 4,590 fits of 102 people on a flat bed, and poses drawn like them.

Published fits of SMPL to people asked to lie on their back and on either side (BodyPressure, Clever et al. 2022, on the
SLP data set, Liu et al. 2022), aggregated. Degrees: components of SMPL's rotation vectors for the *left* side, left and
right taken together; y and z change sign on the right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from synth.pose.room import Room

Percentiles = tuple[float, float, float]  # 5th, 50th, 95th


class Spread(NamedTuple):
    """Percentiles of a joint's rotation vector, by component, and of its whole angle."""

    x: Percentiles
    y: Percentiles
    z: Percentiles
    angle: Percentiles


_HINGE = (-1.0, 0.0, 1.0)
SUPINE: dict[str, Spread] = {
    "spine1": Spread((0, 15, 36), (-7, 0, 7), (-7, 0, 7), (5, 16, 37)),
    "spine2": Spread((-18, -1, 14), (-7, 0, 7), (-6, 0, 6), (3, 9, 19)),
    "spine3": Spread((-11, -1, 14), (-7, 0, 7), (-6, 0, 6), (3, 8, 16)),
    "neck": Spread((-23, -23, -14), (-14, 0, 14), (-15, 0, 15), (19, 26, 31)),
    "head": Spread((-9, 12, 35), (-4, 0, 4), (-4, 0, 4), (3, 13, 35)),
    "hip": Spread((-47, -10, 4), (-14, 40, 76), (-10, 6, 30), (14, 47, 85)),
    "knee": Spread((2, 10, 122), _HINGE, _HINGE, (1, 8, 121)),
    "ankle": Spread((-8, 40, 58), (-14, 6, 14), (-14, -9, 14), (19, 44, 61)),
    "collar": Spread((-44, 9, 32), (-28, -4, 12), (-26, -4, 32), (11, 28, 54)),
    "shoulder": Spread((-76, 20, 50), (-60, -26, 4), (-66, -44, 22), (50, 68, 88)),
    "elbow": Spread(_HINGE, (-132, -90, -14), _HINGE, (13, 90, 130)),
    "wrist": Spread((-28, -8, 28), (-14, -10, 14), (-29, -20, 24), (15, 30, 42)),
}
# Lying on the left side: "lower" is the left arm and leg, "upper" the right one, with the left's signs.
LATERAL: dict[str, Spread] = {
    "spine1": Spread((-5, 22, 49), (-8, 0, 8), (-7, 2, 8), (8, 23, 49)),
    "spine2": Spread((-14, 4, 19), (-8, -1, 8), (-7, 4, 8), (6, 11, 20)),
    "spine3": Spread((-12, 6, 19), (-8, -2, 8), (-7, 3, 8), (6, 12, 20)),
    "neck": Spread((-23, -20, 13), (-14, 6, 14), (-19, -18, 13), (16, 28, 33)),
    "head": Spread((-14, 18, 42), (-4, 2, 4), (-5, -2, 3), (5, 18, 42)),
    "lower_hip": Spread((-72, -30, 4), (-15, 12, 58), (-19, -4, 20), (14, 42, 80)),
    "lower_knee": Spread((4, 58, 118), _HINGE, _HINGE, (3, 58, 118)),
    "lower_ankle": Spread((-8, 30, 58), (-14, 4, 14), (-14, -2, 14), (15, 34, 60)),
    "lower_collar": Spread((-47, -8, 32), (-49, -38, 16), (-17, 20, 38), (22, 51, 67)),
    "lower_shoulder": Spread((-77, -40, 34), (-82, -51, -5), (-71, -38, 30), (58, 86, 109)),
    "lower_elbow": Spread(_HINGE, (-141, -106, -2), _HINGE, (1, 105, 140)),
    "lower_wrist": Spread((-29, -5, 28), (-14, -10, 14), (-29, -8, 29), (16, 32, 42)),
    "upper_hip": Spread((-74, -27, 2), (-26, 8, 44), (-26, -6, 10), (12, 38, 80)),
    "upper_knee": Spread((4, 58, 119), _HINGE, _HINGE, (4, 57, 118)),
    "upper_ankle": Spread((-2, 30, 58), (-14, 8, 14), (-14, -6, 14), (16, 34, 60)),
    "upper_collar": Spread((-32, 12, 36), (-48, -32, 12), (-31, -7, 34), (20, 44, 62)),
    "upper_shoulder": Spread((-70, -15, 36), (-76, -48, -5), (-66, -40, -8), (48, 73, 99)),
    "upper_elbow": Spread(_HINGE, (-132, -96, -4), _HINGE, (2, 96, 132)),
    "upper_wrist": Spread((-29, -5, 28), (-14, -10, 14), (-29, -8, 29), (16, 32, 42)),
}
# A hip goes with its own knee: of the angles' sizes r was .48 to .62; left and right hardly depend on each other.
_HIP_WITH_KNEE = 0.7
_TURN_WITH_BEND = 0.7  # a bent leg falls outward
_TRIES = 25  # limbs drawn until there is room for one, at most
_CANDIDATES = 5  # rotation vectors drawn until one has about the whole angle that was drawn


def quantile(percentiles: Percentiles, share: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """The value that a share 0…1 of people lie below: straight lines through the percentiles, and a little beyond."""
    low, middle, high = percentiles
    ends = low - (middle - low) / 9.0, high + (high - middle) / 9.0
    return np.asarray(np.interp(share, [0.0, 0.05, 0.5, 0.95, 1.0], [ends[0], low, middle, high, ends[1]]))


def draw_vector(rng: np.random.Generator, spread: Spread, bend: float | None = None) -> NDArray[np.float64]:
    """(3,) degrees: a rotation vector whose components and whole angle are spread as observed.

    bend: standard normal; how much the joint is flexed (x below the median) among people.
    """
    shares = rng.random((_CANDIDATES, 3))
    if bend is not None:
        turn = _TURN_WITH_BEND * bend + np.sqrt(1.0 - _TURN_WITH_BEND**2) * rng.standard_normal(_CANDIDATES)
        shares[:, 0], shares[:, 1] = ndtr(-bend), ndtr(turn)
    vectors = np.stack([quantile(spread[k], shares[:, k]) for k in range(3)], axis=1)
    wanted = quantile(spread.angle, rng.random())
    return np.asarray(vectors[np.abs(np.linalg.norm(vectors, axis=1) - wanted).argmin()])


def draw_limbs(
    rng: np.random.Generator, spreads: dict[str, Spread], room: Room, limb: str = ""
) -> dict[str, NDArray[np.float64]]:
    """One arm and one leg: rotation vectors, degrees, as on the left, by joint name without its side.

    Knee and elbow are drawn first, then hip and shoulder until hand and foot are where there is room for them.
    limb: "lower_" or "upper_" of somebody lying on a side.
    """
    found = {name: draw_vector(rng, spreads[limb + name]) for name in ("ankle", "wrist")}
    own = float(rng.standard_normal())
    found["knee"] = np.array([float(quantile(spreads[f"{limb}knee"].x, float(ndtr(own)))), 0.0, 0.0])
    found["elbow"] = np.array([0.0, float(quantile(spreads[f"{limb}elbow"].y, rng.random())), 0.0])
    for _ in range(_TRIES):
        bend = _HIP_WITH_KNEE * own + float(np.sqrt(1.0 - _HIP_WITH_KNEE**2) * rng.standard_normal())
        found["hip"] = draw_vector(rng, spreads[f"{limb}hip"], bend)
        if room.for_leg(found["hip"], found["knee"]):
            break
    for _ in range(_TRIES):
        found |= {name: draw_vector(rng, spreads[limb + name]) for name in ("collar", "shoulder")}
        if room.for_arm(found["collar"], found["shoulder"], found["elbow"]):
            break
    return found


def draw_trunk(rng: np.random.Generator, spreads: dict[str, Spread]) -> dict[str, NDArray[np.float64]]:
    """Spine, neck and head: rotation vectors, degrees."""
    return {name: draw_vector(rng, spreads[name]) for name in ("spine1", "spine2", "spine3", "neck", "head")}
