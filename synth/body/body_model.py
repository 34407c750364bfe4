"""What a body model takes and gives, and the one way a pose is written down.

A pose is SMPL-X's: 21 body joints and 30 finger joints as axis-angle in SMPL-X axes (y up, z to the front, x to the
person's left, T-pose at rest), so that motion libraries, posture tables and physics all feed every body model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

JOINTS = (
    "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle", "spine3",
    "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
PARENTS = {
    "left_hip": "pelvis", "right_hip": "pelvis", "spine1": "pelvis", "left_knee": "left_hip",
    "right_knee": "right_hip", "spine2": "spine1", "left_ankle": "left_knee", "right_ankle": "right_knee",
    "spine3": "spine2", "left_foot": "left_ankle", "right_foot": "right_ankle", "neck": "spine3",
    "left_collar": "spine3", "right_collar": "spine3", "head": "neck", "left_shoulder": "left_collar",
    "right_shoulder": "right_collar", "left_elbow": "left_shoulder", "right_elbow": "right_shoulder",
    "left_wrist": "left_elbow", "right_wrist": "right_elbow",
}  # fmt: skip
JOINT_INDEX = {name: index for index, name in enumerate(JOINTS)}
# Finger joints of one hand, in SMPL-X order.
FINGER_JOINTS = tuple(f"{finger}{k}" for finger in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3))
# Joint that takes each joint's place when left and right are swapped.
MIRRORED_JOINTS = tuple(
    JOINT_INDEX[name.replace("left", "right") if name.startswith("left") else name.replace("right", "left")]
    for name in JOINTS
)


def _no_hands() -> NDArray[np.float64]:
    return np.zeros((2, 15, 3))


@dataclass(frozen=True, slots=True)
class Pose:
    """root (3, 3): rotation from SMPL-X axes to the bed frame; pelvis (3,): where the pelvis joint lies, bed frame,
    metres; joints (21, 3): axis-angle, radians, order `JOINTS`; hands (2, 15, 3): left and right, `FINGER_JOINTS`."""

    root: NDArray[np.float64]
    pelvis: NDArray[np.float64]
    joints: NDArray[np.float64]
    hands: NDArray[np.float64] = field(default_factory=_no_hands)

    def __post_init__(self) -> None:
        for name, shape in (("root", (3, 3)), ("pelvis", (3,)), ("joints", (21, 3)), ("hands", (2, 15, 3))):
            actual = getattr(self, name).shape
            if actual != shape:
                raise ValueError(f"pose {name} must be {shape}, got {actual}")
        if not (np.abs(self.root @ self.root.T - np.eye(3)) < 1e-4).all():
            raise ValueError("pose root must be a rotation matrix")

    def moved(self, offset: NDArray[np.float64]) -> Pose:
        """The same pose, shifted by `offset` (3,) metres in the bed frame."""
        return replace(self, pelvis=self.pelvis + offset)

    def mirrored(self) -> Pose:
        """Left and right swapped: the mirror image in the bed's plane y = 0."""
        flip = np.array([1.0, -1.0, -1.0])  # axis-angle under x → −x
        body, bed = np.diag([-1.0, 1.0, 1.0]), np.diag([1.0, -1.0, 1.0])
        return Pose(
            root=bed @ self.root @ body,
            pelvis=bed @ self.pelvis,
            joints=self.joints[list(MIRRORED_JOINTS)] * flip,
            hands=self.hands[::-1] * flip,
        )


@dataclass(frozen=True, slots=True)
class Shape:
    """Who a body belongs to; `parameters` are the model's own numbers, by name."""

    age_years: float
    sex: str
    parameters: dict[str, float]


@dataclass(frozen=True, slots=True)
class RestBody:
    """A body before it is posed. vertices (V, 3) float32 metres, z up, facing −y; heads (J, 3): where bones begin."""

    shape: Shape
    vertices: NDArray[np.float32]
    heads: NDArray[np.float64]
    height_m: float
    bmi: float


@dataclass(frozen=True, slots=True)
class PosedBody:
    """vertices (V, 3) float32 and keypoints (17, 3) in the bed frame; blend (V, 3, 4) float32: each vertex's own
    transform from the rest body, so that anything attached to the rest body moves with the skin; pose: what put it
    there."""

    vertices: NDArray[np.float32]
    keypoints: NDArray[np.float64]
    blend: NDArray[np.float32]
    pose: Pose


@dataclass(frozen=True, slots=True)
class Topology:
    """What all bodies of a model share.

    triangles (T, 3) int32; bone_names (J), in anny's vocabulary, by which the looks find their way; bone_parents (J,),
    −1 at the root; weights (V, J) dense float32, rows sum to one; template (V, 3): the average adult at rest;
    template_heads (J, 3).
    """

    triangles: NDArray[np.int32]
    bone_names: tuple[str, ...]
    bone_parents: tuple[int, ...]
    weights: NDArray[np.float32]
    template: NDArray[np.float32]
    template_heads: NDArray[np.float64]


class BodyModel(Protocol):
    """A family of bodies. Everything it returns depends on its arguments alone."""

    name: str

    @staticmethod
    def check(file: Path | None) -> None:
        """Raise WardposeError, quickly and before any work, where `open` would refuse this file."""
        ...

    @classmethod
    def open(cls, file: Path | None) -> Self:
        """The model, from the file it needs or from none."""
        ...

    @property
    def topology(self) -> Topology: ...

    def sample_shape(self, rng: np.random.Generator, age_years: float) -> Shape: ...

    def rest(self, shape: Shape) -> RestBody: ...

    def pose(self, rest: RestBody, pose: Pose) -> PosedBody: ...

    def joint_positions(self, rest: RestBody) -> dict[str, NDArray[np.float64]]:
        """Where SMPL-X's joints (and "pelvis") lie in the T-pose, SMPL-X axes, metres, relative to the pelvis."""
        ...

    @property
    def joint_skin(self) -> NDArray[np.bool_]:
        """(V, 17): which vertices are skin over which COCO keypoint; `synth.body.joint_skin` works it out."""
        ...
