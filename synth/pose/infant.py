"""How infants lie: legs drawn up and fallen apart like a frog's, arms up beside the head, or swaddled straight.

Angles as in `clinical`. Ranges follow the resting posture of healthy newborns (Dubowitz & Dubowitz 1999: hips flexed
and abducted, knees flexed, arms flexed), widened toward that of a sleeping one-year-old.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.pose.clinical import FACE_UP, SIDES, Angles, about

INFANT_POSTURES = ("supine", "lateral_left", "prone")
_SWADDLED_SHARE = 0.25


def sample_infant(rng: np.random.Generator, posture: str) -> tuple[NDArray[np.float64], Angles]:
    """A target before physics: the root (3, 3) and joint angles in degrees of one of `INFANT_POSTURES`."""
    u = rng.uniform
    angles: Angles = {name: (u(-2, 10), u(-5, 5), u(-6, 6)) for name in ("spine1", "spine2", "spine3")}
    look = float(rng.choice([-1.0, 1.0]))
    angles["neck"], angles["head"] = (u(-5, 8), look * u(5, 45), u(-8, 8)), (u(-4, 6), look * u(0, 25), u(-5, 5))
    turn = {"supine": u(-8, 8), "lateral_left": -u(72, 98), "prone": 180.0 + u(-8, 8)}[posture]
    root = about("z", u(-12, 12)) @ about("x", turn) @ FACE_UP
    swaddled = posture == "supine" and rng.random() < _SWADDLED_SHARE
    if posture == "prone":
        angles["neck"], angles["head"] = (u(-5, 5), look * u(45, 60), u(-6, 6)), (0.0, look * u(15, 30), 0.0)
    for side, sign in SIDES:
        if swaddled:
            hip, knee = (u(-20, -4), sign * u(0, 15), sign * u(0, 8)), u(2, 25)
            shoulder, elbow = (u(0, 35), sign * u(-20, 5), sign * u(-78, -60)), u(-90, -10)
        elif posture == "lateral_left":
            hip, knee = (u(-85, -35), sign * u(-5, 15), sign * u(0, 12)), u(40, 110)
            shoulder, elbow = (u(-15, 20), sign * u(-80, -45), sign * u(-50, -5)), u(-125, -50)
        else:
            hip = (u(-80, -35) if posture == "supine" else u(-55, -20), sign * u(20, 50), sign * u(22, 50))
            knee = u(55, 115)
            shoulder = (u(-70, -40), sign * u(-15, 10), sign * u(-35, 30))
            elbow = u(-115, -45)
        angles |= {
            f"{side}_hip": hip, f"{side}_knee": (knee, 0.0, 0.0), f"{side}_ankle": (u(-5, 20), 0.0, 0.0),
            f"{side}_shoulder": shoulder, f"{side}_elbow": (0.0, sign * elbow, 0.0),
        }  # fmt: skip
    return root, angles
