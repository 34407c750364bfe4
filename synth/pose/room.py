"""Where drawn angles put the hands and feet of an average adult, and whether there is room: mattress, trunk, width.

Independent draws of a shoulder and an elbow would often put a hand through the mattress or the trunk, or far over the
bed's edge; physics could only push it out again, or the pose be thrown away, and with it those that lie flat and wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Vector = NDArray[np.float64]
Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

# T-pose joints of the average adult, metres: x to the left, y up, z to the front, from the joint before.
_COLLAR = np.array([0.05, 0.0, 0.0])  # from the line of the spine, at the shoulders' height
_SHOULDER = np.array([0.115, 0.0, 0.0])
_UPPER_ARM = np.array([0.26, 0.0, 0.0])
_TO_PALM = np.array([0.33, 0.0, 0.0])
_HIP = np.array([0.085, 0.0, 0.0])
_THIGH = np.array([0.0, -0.4, 0.0])
_TO_HEEL = np.array([0.0, -0.42, 0.0])


def _turn(vector: Vector) -> Rotation:
    return Rotation.from_rotvec(vector, degrees=True)


def arm_points(collar: Vector, shoulder: Vector, elbow: Vector) -> tuple[Vector, Vector]:
    """Elbow and palm (3,), metres from the middle between the shoulders; rotation vectors in degrees, left side."""
    upper = _turn(collar)
    lower = upper * _turn(shoulder)
    elbow_at = _COLLAR + upper.apply(_SHOULDER) + lower.apply(_UPPER_ARM)
    return elbow_at, elbow_at + (lower * _turn(elbow)).apply(_TO_PALM)


def leg_points(hip: Vector, knee: Vector) -> tuple[Vector, Vector]:
    """Knee and heel (3,), metres from the middle between the hips; rotation vectors in degrees, left side."""
    thigh = _turn(hip)
    knee_at = _HIP + thigh.apply(_THIGH)
    return knee_at, knee_at + (thigh * _turn(knee)).apply(_TO_HEEL)


@dataclass(frozen=True, slots=True)
class Room:
    """arm, leg: the box, metres in the trunk's axes as on the left, in which elbow and palm, knee and heel may be.
    palm_height: how far before the shoulders a palm beside the trunk may be, which has nothing but the mattress to rest
    on."""

    arm: Box
    leg: Box
    palm_height: float = np.inf

    def for_arm(self, collar: Vector, shoulder: Vector, elbow: Vector) -> bool:
        """Whether elbow and palm lie in the box, and the palm neither inside the trunk nor in the air beside it."""
        elbow_at, palm = arm_points(collar, shoulder, elbow)
        in_trunk = abs(palm[0]) < _TRUNK[0] and abs(palm[2]) < _TRUNK[1] and -0.55 < palm[1] < 0.0
        in_the_air = palm[2] > self.palm_height and abs(palm[0]) > _BESIDE
        return _inside(self.arm, elbow_at) and _inside(self.arm, palm) and not in_trunk and not in_the_air

    def for_leg(self, hip: Vector, knee: Vector) -> bool:
        """Whether knee and heel lie in the box."""
        return all(_inside(self.leg, point) for point in leg_points(hip, knee))


_TRUNK = (0.14, 0.08)  # half width and half depth
_BESIDE = 0.22  # from the middle: beyond it a palm is not over the trunk


def _inside(box: Box, point: Vector) -> bool:
    return all(low <= value <= high for (low, high), value in zip(box, point, strict=True))


_ANYWHERE = (-9.0, 9.0)
ON_THE_BACK = Room(
    arm=((-0.2, 0.4), _ANYWHERE, (-0.2, 0.26)), leg=((-0.25, 0.4), _ANYWHERE, (-0.2, 0.6)), palm_height=0.1
)
# On the left side, x points down: the lower arm and leg lie on the mattress, the upper ones on them or before them.
LOWER = Room(arm=((-0.35, 0.27), _ANYWHERE, (-0.15, 0.42)), leg=((-0.3, 0.22), _ANYWHERE, (-0.36, 0.42)))
UPPER = Room(arm=((-0.3, 0.5), _ANYWHERE, (-0.15, 0.42)), leg=((-0.25, 0.4), _ANYWHERE, (-0.36, 0.42)))
# On the belly, with the arms where they lie on the mattress: beside the trunk or up beside the head.
ON_THE_BELLY = Room(arm=((-0.15, 0.38), _ANYWHERE, (-0.2, 0.16)), leg=((-0.25, 0.4), _ANYWHERE, (-0.6, 0.2)))
