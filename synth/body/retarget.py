"""From SMPL-X's joints and axes to anny's bones and axes.

anny rests in an A-pose, z up, facing −y; SMPL-X in a T-pose, y up, facing z. A bone's rotation in the bed frame is
`root · Π (joint rotations down to it) · straighten(bone)`, where `straighten` turns the limbs from A- to T-pose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from synth.body.body_model import FINGER_JOINTS, JOINTS, Pose

ANNY_FROM_SMPLX = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])

BONE_OF_JOINT = {
    "pelvis": "root",
    "spine1": "spine05",
    "spine2": "spine03",
    "spine3": "spine02",
    "neck": "neck01",
    "head": "head",
}
for _side, _letter in (("left", "L"), ("right", "R")):
    BONE_OF_JOINT |= {
        f"{_side}_hip": f"upperleg01.{_letter}",
        f"{_side}_knee": f"lowerleg01.{_letter}",
        f"{_side}_ankle": f"foot.{_letter}",
        f"{_side}_foot": f"toe3-1.{_letter}",
        f"{_side}_collar": f"clavicle.{_letter}",
        f"{_side}_shoulder": f"upperarm01.{_letter}",
        f"{_side}_elbow": f"lowerarm01.{_letter}",
        f"{_side}_wrist": f"wrist.{_letter}",
    }
_FINGERS = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
# Bones that are straightened: from where, to the beginning of which other, toward which direction.
_LIMBS = tuple(
    (f"{start}.{letter}", f"{tip}.{letter}", toward)
    for letter, sign in (("L", 1.0), ("R", -1.0))
    for start, tip, toward in (
        ("upperarm01", "lowerarm01", (sign, 0.0, 0.0)),
        ("lowerarm01", "wrist", (sign, 0.0, 0.0)),
        ("upperleg01", "lowerleg01", (sign * 0.06, 0.0, -1.0)),
        ("lowerleg01", "foot", (sign * 0.02, 0.05, -1.0)),
    )
)
# Bones without a joint of their own that still lie along a straightened limb.
_FOLLOWS_LIMB = ("arm02", "leg02", "wrist", "finger", "metac")


def finger_bones(letter: str) -> tuple[str, ...]:
    """anny's bones of one hand ("L" or "R"), in the order of SMPL-X's finger joints."""
    return tuple(f"finger{_FINGERS[joint[:-1]]}-{joint[-1]}.{letter}" for joint in FINGER_JOINTS)


def rotation_between(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest rotation (3, 3) that turns direction `start` (3,) into direction `end` (3,)."""
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    (ax, ay, az), (bx, by, bz), c = a, b, float(a @ b)
    x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + k + k @ k / (1.0 + c))


class Retargeter:
    """Turns poses into bone rotations and positions for one skeleton layout."""

    def __init__(self, bone_names: tuple[str, ...], bone_parents: tuple[int, ...]) -> None:
        self._index = {name: i for i, name in enumerate(bone_names)}
        self._joint_bones = [self._index[BONE_OF_JOINT[joint]] for joint in JOINTS]
        self._finger_bones = [self._index[bone] for letter in "LR" for bone in finger_bones(letter)]
        self._parents = np.array(bone_parents)
        starts = [start for start, _, _ in _LIMBS]
        depth = np.zeros(len(bone_parents), int)
        self._limb = np.full(len(bone_parents), len(_LIMBS))  # which of them each bone lies along, or none
        for bone, (name, parent) in enumerate(zip(bone_names, bone_parents, strict=True)):
            if parent >= 0:
                depth[bone] = depth[parent] + 1
            if name in starts:
                self._limb[bone] = starts.index(name)
            elif parent >= 0 and any(part in name for part in _FOLLOWS_LIMB):
                self._limb[bone] = self._limb[parent]
        # All bones whose parents are turned can be turned at once.
        self._levels = [np.flatnonzero(depth == level) for level in range(1, depth.max() + 1)]

    def straighten(self, heads: NDArray[np.float64]) -> NDArray[np.float64]:
        """(J, 3, 3) rotations from anny's rest pose to the T-pose, for a body whose bones begin at `heads` (J, 3)."""
        turns = [
            rotation_between(heads[self._index[tip]] - heads[self._index[start]], np.array(toward))
            for start, tip, toward in _LIMBS
        ]
        return np.stack([*turns, np.eye(3)])[self._limb]

    def bone_transforms(
        self, heads: NDArray[np.float64], pose: Pose
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rotations (J, 3, 3) and head positions (J, 3) in the bed frame of a body with rest `heads` (J, 3)."""
        parents = self._parents
        local = np.tile(np.eye(3), (len(parents), 1, 1))
        c = ANNY_FROM_SMPLX
        moved = Rotation.from_rotvec(np.concatenate([pose.joints, pose.hands.reshape(30, 3)])).as_matrix()
        local[self._joint_bones + self._finger_bones] = c @ moved @ c.T
        chain, position = np.empty_like(local), np.empty((len(heads), 3))
        chain[0], position[0] = pose.root @ c.T, pose.pelvis
        for bones in self._levels:
            chain[bones] = chain[parents[bones]] @ local[bones]
        rotation = chain @ self.straighten(heads)
        offset = rotation[parents] @ (heads - heads[parents])[:, :, None]
        for bones in self._levels:
            position[bones] = position[parents[bones]] + offset[bones, :, 0]
        return rotation, position

    def joint_positions(self, heads: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Where SMPL-X's joints lie in the T-pose, SMPL-X axes, relative to the pelvis."""
        t_pose = Pose(np.eye(3), np.zeros(3), np.zeros((21, 3)))
        position = self.bone_transforms(heads, t_pose)[1]
        return {joint: position[self._index[bone]] for joint, bone in BONE_OF_JOINT.items()}
