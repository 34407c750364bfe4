"""Settled poses, ready to use: the bank that ships, adapted to a bed's backrest, jittered and mirrored."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from synth.body.body_model import JOINT_INDEX, Pose
from synth.npz import npz_shapes, read_npz
from synth.pose.clinical import about, relaxed_hands

SHIPPED = Path(__file__).with_name("settled.npz")
VERSION = 1
_MEND = "make one: wardpose poses --out FILE"
# Degrees of jitter (one standard deviation) where a change does not lift anything off the mattress much.
_JITTER = {"neck": 4.0, "head": 5.0, "wrist": 8.0, "elbow": 4.0, "shoulder": 2.0, "ankle": 5.0, "knee": 1.5, "hip": 1.0}


def _jitter_scale() -> NDArray[np.float64]:
    scale = np.zeros(21)
    for joint, index in JOINT_INDEX.items():
        scale[index] = _JITTER.get(joint.removeprefix("left_").removeprefix("right_"), 0.7)
    return np.radians(scale)[:, None]


class PoseBank:
    """posture (P,) str, backrest_deg (P,), root (P, 3), joints (P, 21, 3) axis-angle radians, pelvis (P, 3) metres."""

    @staticmethod
    def check(path: Path) -> None:
        """Raise WardposeError, from the file's headers alone, where it is no bank."""
        if missing := {"version", "posture", "backrest_deg", "root", "pelvis", "joints"} - set(npz_shapes(path)):
            raise WardposeError(
                f"is no bank of settled poses ({', '.join(sorted(missing))} missing)", where=str(path), mend=_MEND
            )

    def __init__(self, path: Path = SHIPPED) -> None:
        self.check(path)
        file = read_npz(path, ["version", "backrest_deg", "root", "pelvis", "joints"], texts=["posture"])
        self.posture: NDArray[np.str_] = file["posture"]
        self.backrest_deg = file["backrest_deg"].astype(np.float64)
        self.root = file["root"].astype(np.float64)
        self.pelvis = file["pelvis"].astype(np.float64)
        self.joints = file["joints"].astype(np.float64)
        version = file["version"].ravel().tolist()
        if version != [VERSION]:
            raise WardposeError(f"is a bank of version {version}, not {VERSION}", where=str(path), mend=_MEND)
        count = len(self.backrest_deg) if self.backrest_deg.ndim == 1 else 0
        shapes = [array.shape for array in (self.posture, self.root, self.pelvis, self.joints)]
        if not count or shapes != [(count,), (count, 3), (count, 3), (count, 21, 3)]:
            raise WardposeError(f"is no bank of settled poses (arrays {shapes})", where=str(path), mend=_MEND)

    def __len__(self) -> int:
        return len(self.posture)

    def sample(self, rng: np.random.Generator, posture: str, backrest_deg: float = 0.0) -> Pose:
        """A jittered pose of one class on a bed with this backrest; its place on the bed is only a first guess.

        A raised backrest takes the poses settled on the nearest raised one; trunk and hips turn by the difference, so
        that the back stays on the backrest and the legs on the mattress.
        """
        stored, mirror = posture, bool(rng.random() < 0.5)
        if "lateral" in posture:
            stored, mirror = posture.replace("right", "left"), posture.endswith("right")
        fits = self.posture == stored
        raised = backrest_deg > 0
        fits &= (self.backrest_deg > 0) == raised
        if not fits.any():
            raise WardposeError(
                f"posture {posture!r} does not go with a backrest at {backrest_deg:.0f} degrees",
                mend="lower the backrest" if raised else "raise the backrest",
            )
        if raised:
            distance = np.abs(self.backrest_deg - backrest_deg)
            fits &= distance == distance[fits].min()
        choices = np.flatnonzero(fits)
        row = int(choices[rng.integers(len(choices))])
        joints = Rotation.from_rotvec(self.joints[row] + rng.standard_normal((21, 3)) * _jitter_scale())
        root = Rotation.from_rotvec(self.root[row]).as_matrix()
        turn = backrest_deg - self.backrest_deg[row]
        matrices = joints.as_matrix()
        for side in ("left_hip", "right_hip"):
            matrices[JOINT_INDEX[side]] = (
                Rotation.from_euler("x", -turn, degrees=True).as_matrix() @ matrices[JOINT_INDEX[side]]
            )
        pose = Pose(
            about("y", turn) @ root, self.pelvis[row], Rotation.from_matrix(matrices).as_rotvec(), relaxed_hands(rng)
        )
        if mirror:
            pose = pose.mirrored()
        return replace(pose, pelvis=pose.pelvis * [1.0, 0.0, 1.0])


@cache
def pose_bank(path: Path = SHIPPED) -> PoseBank:
    """The bank that ships, or another, read once a process."""
    return PoseBank(path)
