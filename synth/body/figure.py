"""One posed, dressed person in the bed frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

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
class Figure:
    """meshes: body, clothes, hair, all with the same `instance`, the body first. keypoints: (17, 3) COCO order, bed
    frame, metres. joint_skin: (V, 17), which vertices of the body are skin over which keypoint: what must be seen of
    a joint to call it seen. clothes, hair: which meshes are. hair_color: (3,) linear albedo."""

    meshes: tuple[Mesh, ...]
    keypoints: NDArray[np.float64]
    joint_skin: NDArray[np.bool_]
    posture: str
    traits: Traits
    clothes: tuple[int, ...] = ()
    hair: tuple[int, ...] = ()
    hair_color: NDArray[np.float32] = field(default_factory=lambda: np.full(3, 0.04, np.float32))

    def mirrored(self) -> Figure:
        """Left and right swapped: the mirror image in the bed's plane y = 0."""
        swap = list(OPPOSITE)
        return replace(
            self,
            meshes=tuple(mesh.mirrored() for mesh in self.meshes),
            keypoints=self.keypoints[swap] * [1.0, -1.0, 1.0],
            joint_skin=self.joint_skin[:, swap],
            posture=MIRRORED_POSTURES.get(self.posture, self.posture),
        )

    def moved(self, offset: NDArray[np.float64]) -> Figure:
        """The same figure, shifted by `offset` (3,) metres."""
        shift = offset.astype(np.float32)
        meshes = tuple(replace(mesh, vertices=mesh.vertices + shift) for mesh in self.meshes)
        return replace(self, meshes=meshes, keypoints=self.keypoints + offset)
