"""One posed, dressed person in the bed frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.body.body_model import Pose, Shape
from synth.body.joint_skin import OPPOSITE
from synth.render.mesh import Mesh

MIRRORED_POSTURES = {"lateral_left": "lateral_right", "lateral_right": "lateral_left"}


@dataclass(frozen=True, slots=True)
class Traits:
    """Who the person is, for fairness reports. skin_tone: Monk scale 1–10, drawn independently of everything else."""

    age_years: float
    sex: str
    bmi: float
    height_m: float
    skin_tone: int
    clothing: str


@dataclass(frozen=True, slots=True)
class Making:
    """What makes the same body again: the body model's name, the shape it was given, and the pose in the bed frame."""

    model: str
    shape: Shape
    pose: Pose

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, to a ten-thousandth; rotations as axis-angle vectors, radians, lengths in metres."""
        from scipy.spatial.transform import Rotation

        root = Rotation.from_matrix(self.pose.root).as_rotvec()
        arrays = {"root": root, "pelvis": self.pose.pelvis, "joints": self.pose.joints, "hands": self.pose.hands}
        return {
            "body": {"model": self.model} | {name: round(value, 4) for name, value in self.shape.parameters.items()},
            "pose": {name: np.round(values, 4).tolist() for name, values in arrays.items()},
        }


@dataclass(frozen=True, slots=True)
class Figure:
    """meshes: body, clothes, hair, all with the same `instance`, the body first. keypoints: (17, 3) COCO order, bed
    frame, metres. joint_skin: (V, 17), which vertices of the body are skin over which keypoint: what must be seen of
    a joint to call it seen. clothes, hair: which meshes are. hair_color: (3,) linear albedo. making: where the body
    came from a body model."""

    meshes: tuple[Mesh, ...]
    keypoints: NDArray[np.float64]
    joint_skin: NDArray[np.bool_]
    posture: str
    traits: Traits
    clothes: tuple[int, ...] = ()
    hair: tuple[int, ...] = ()
    hair_color: NDArray[np.float32] = field(default_factory=lambda: np.full(3, 0.04, np.float32))
    making: Making | None = None

    def mirrored(self) -> Figure:
        """Left and right swapped: the mirror image in the bed's plane y = 0."""
        swap = list(OPPOSITE)
        return replace(
            self,
            meshes=tuple(mesh.mirrored() for mesh in self.meshes),
            keypoints=self.keypoints[swap] * [1.0, -1.0, 1.0],
            joint_skin=self.joint_skin[:, swap],
            posture=MIRRORED_POSTURES.get(self.posture, self.posture),
            making=self.making and replace(self.making, pose=self.making.pose.mirrored()),
        )

    def moved(self, offset: NDArray[np.float64]) -> Figure:
        """The same figure, shifted by `offset` (3,) metres."""
        shift = offset.astype(np.float32)
        meshes = tuple(replace(mesh, vertices=mesh.vertices + shift) for mesh in self.meshes)
        making = self.making and replace(self.making, pose=self.making.pose.moved(offset))
        return replace(self, meshes=meshes, keypoints=self.keypoints + offset, making=making)
