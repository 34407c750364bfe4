"""One posed, dressed person in the bed frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.render.mesh import Mesh


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
    """meshes: body, clothes, hair, all with the same `instance`. keypoints: (17, 3) COCO order, bed frame, metres.
    joint_radius: (17,) metres of flesh between each keypoint and the nearest skin, for the visibility test."""

    meshes: tuple[Mesh, ...]
    keypoints: NDArray[np.float64]
    joint_radius: NDArray[np.float64]
    posture: str
    traits: Traits
