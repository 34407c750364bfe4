"""Where the poses of patients come from: the clinical postures, or a site's own motion recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self

import numpy as np

from synth.body.body_model import Pose


class PoseSource(Protocol):
    """A supply of patients' poses. What it returns depends on its files and the generator alone."""

    name: str

    @staticmethod
    def check(path: Path | None) -> None:
        """Raise WardposeError, quickly and before any work, where `open` would refuse this file or folder."""
        ...

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """The source, from the file or folder it needs or from none."""
        ...

    def shares(self, backrest_deg: float, age_years: float) -> dict[str, float]:
        """The postures it has for a bed with this backrest and a patient of this age, and how often each is met."""
        ...

    def sample(
        self, rng: np.random.Generator, posture: str, backrest_deg: float, age_years: float, side: float
    ) -> Pose:
        """A pose of one of these postures, its head toward −x; its place is only a first guess.

        side: the side of the bed (+1 the patient's left) toward which somebody on its edge faces.
        """
        ...
