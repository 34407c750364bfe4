"""Poses from motion recordings, put to bed: laid on the mattress and settled by physics, or stood beside the bed.

As in the paper, one frame in a hundred of a recording's central 80 % is used, whatever its people were doing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from synth.body.ages import COT_YEARS
from synth.body.body_model import JOINTS, Pose
from synth.pose.clinical import FACE_UP, SIDES, Angles, about, limits_of
from synth.pose.settle import Settler

# Kinds in which motion is handed around as well.
_OTHER_KINDS = frozenset({".pkl", ".pickle", ".npy", ".npz", ".bvh", ".fbx", ".c3d", ".asf", ".amc", ".trc", ".csv"})
_EVERY, _MARGIN = 100, 0.1  # frames; the share of a recording left out at either end
_HELD = 0.6  # share of the legs' weight that muscles carry while a pose settles
_TRIES = 20
_UPRIGHT = 0.85  # vertical part of the trunk's direction of somebody who can be stood beside the bed
_OUTSIDE_DEG = 45.0  # a limb bent further than this beyond what anybody does in bed makes a frame useless there
_FLAT_SHARE = {"supine": 0.4, "lateral_left": 0.15, "lateral_right": 0.15, "prone": 0.1, "standing": 0.2}
_RAISED_SHARE = {"fowler": 0.8, "standing": 0.2}


@dataclass(frozen=True, slots=True)
class MotionFrame:
    """root (3, 3): from SMPL-X axes to a world with z up; joints (21, 3) and hands (2, 15, 3): axis-angle, radians."""

    root: NDArray[np.float64]
    joints: NDArray[np.float64]
    hands: NDArray[np.float64]


def sampled_frames(count: int) -> range:
    """The frames used of a recording of `count`: one in a hundred of the central 80 %, at least one."""
    first, last = int(count * _MARGIN), max(int(np.ceil(count * (1 - _MARGIN))), 1)
    return range(min(first + min(_EVERY, last - first) // 2, last - 1), last, _EVERY)


@cache
def _settler(backrest_deg: float) -> Settler:
    from synth.body.anny_body import AVERAGE_ADULT, anny_body

    body = anny_body()
    return Settler(body, body.rest(AVERAGE_ADULT), backrest_deg, held=_HELD)


def recordings(folder: Path | None, patterns: Sequence[str]) -> list[Path]:
    """The files in a folder and below whose names fit a pattern, sorted. Raises WardposeError where there are none."""
    if folder is None:
        raise WardposeError("motion recordings need a folder", mend='give it, such as pose_folder = "mocap"')
    if not folder.is_dir():
        raise WardposeError("there is no such folder", where=str(folder), mend="give the folder of the recordings")
    found = sorted({path for pattern in patterns for path in folder.rglob(pattern) if path.is_file()})
    if not found:
        other = sorted({path.suffix.lower() for path in folder.rglob("*") if path.suffix.lower() in _OTHER_KINDS})
        holds = f", but {', '.join(other)} files" if other else ""
        raise WardposeError(
            f"holds no motion recordings ({' or '.join(patterns)}){holds}", where=str(folder),
            mend="convert them" if other else "give another folder",
        )  # fmt: skip
    return found


class MotionPoses(ABC):
    """`PoseSource` of a folder of recordings; a subclass says how one is read."""

    name: ClassVar[str] = "motion"
    patterns: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def count_frames(cls, path: Path) -> int:
        """How many frames a recording has; WardposeError where it is none."""

    @classmethod
    @abstractmethod
    def read_frame(cls, path: Path, index: int) -> MotionFrame:
        """One frame of a recording."""

    @classmethod
    def check(cls, path: Path | None) -> None:
        """Read every recording whole, so that a damaged one is named before any work."""
        for file in recordings(path, cls.patterns):
            cls.count_frames(file)
            cls.read_frame(file, 0)

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """All recordings of the folder at `path` and below."""
        return cls(recordings(path, cls.patterns))

    def __init__(self, files: Sequence[Path]) -> None:
        self._frames = [(file, index) for file in files for index in sampled_frames(self.count_frames(file))]

    def __len__(self) -> int:
        return len(self._frames)

    def shares(self, backrest_deg: float, age_years: float) -> dict[str, float]:
        shares = _RAISED_SHARE if backrest_deg > 0 else _FLAT_SHARE
        return {name: share for name, share in shares.items() if name != "standing" or age_years >= COT_YEARS}

    def sample(
        self, rng: np.random.Generator, posture: str, backrest_deg: float, age_years: float, side: float
    ) -> Pose:
        for _ in range(_TRIES):
            frame = self.read_frame(*self._frames[int(rng.integers(len(self._frames)))])
            pose = _stood(rng, frame) if posture == "standing" else _laid(rng, frame, posture, backrest_deg)
            if pose is not None:
                return pose
        raise WardposeError(
            f"none of {_TRIES} frames drawn from {len(self)} can be put into posture {posture!r}",
            where=str(self._frames[0][0].parent), mend="add recordings of other activities",
        )  # fmt: skip


def _stood(rng: np.random.Generator, frame: MotionFrame) -> Pose | None:
    """The frame as it is, facing anywhere."""
    if frame.root[2, 1] < _UPRIGHT:
        return None
    return Pose(about("z", float(rng.uniform(-180, 180))) @ frame.root, np.zeros(3), frame.joints, frame.hands)


def _laid(rng: np.random.Generator, frame: MotionFrame, posture: str, backrest_deg: float) -> Pose | None:
    """The frame's joints with the trunk laid down, come to rest; None where it does not."""
    mirrored = posture == "lateral_right"
    turn = {"lateral_left": -rng.uniform(75, 100), "lateral_right": -rng.uniform(75, 100), "prone": 180.0}.get(
        posture, 0.0
    )
    root = about("y", backrest_deg) @ about("z", float(rng.uniform(-6, 6))) @ about("x", float(turn)) @ FACE_UP
    angles = _angles(frame.joints)
    if angles is None:
        return None
    for hip in ("left_hip", "right_hip"):
        x, y, z = angles[hip]
        angles[hip] = (min(x, 0.0) - backrest_deg, y, z)
    if posture.startswith("lateral"):  # limbs brought forward keep somebody on the side
        for side, sign in SIDES:
            for joint, axis, change in (("hip", 0, -35.0), ("knee", 0, 45.0), ("shoulder", 1, -50.0 * sign)):
                angle = list(angles[f"{side}_{joint}"])
                angle[axis] += change * float(rng.uniform(0.5, 1.5))
                angles[f"{side}_{joint}"] = (angle[0], angle[1], angle[2])
    settled = _settler(backrest_deg).settle(root, angles, frame.hands)
    return settled.pose.mirrored() if settled.pose is not None and mirrored else settled.pose


def _angles(joints: NDArray[np.float64]) -> Angles | None:
    """Joint angles in degrees, or None where one lies far outside its limits."""
    degrees = Rotation.from_rotvec(joints).as_euler("XYZ", degrees=True)
    for joint, angle in zip(JOINTS, degrees, strict=True):
        low, high = np.array(limits_of(joint), dtype=float).T
        beyond = np.maximum(low - angle, angle - high)
        if joint.endswith(("hip", "knee", "shoulder", "elbow")) and beyond.max() > _OUTSIDE_DEG:
            return None
    return {joint: (float(a[0]), float(a[1]), float(a[2])) for joint, a in zip(JOINTS, degrees, strict=True)}
