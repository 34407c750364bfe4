"""The clinical postures as a source of poses: settled ones from a bank, sitting and standing ones drawn afresh."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from synth.body.ages import COT_YEARS, INFANT_YEARS
from synth.body.body_model import Pose
from synth.pose.bank import SHIPPED, PoseBank, pose_bank
from synth.pose.clinical import make_pose, sample_sitting, sample_upright

_NEEDS_FLAT = ("supine", "lateral_left", "lateral_right", "prone")
_NEEDS_RAISED = ("fowler",)
_NOT_IN_A_COT = ("bed_edge", "standing", "assisted")
# How often each posture is met, before those are left out that do not go with the backrest.
_SHARE = {
    "supine": 0.2, "lateral_left": 0.11, "lateral_right": 0.11, "prone": 0.07, "fowler": 0.25, "long_sitting": 0.07,
    "bed_edge": 0.07, "standing": 0.03, "arm_over_head": 0.09, "knees_bent": 0.1, "reaching": 0.06, "assisted": 0.05,
}  # fmt: skip
_INFANT_SHARE = {"supine": 0.6, "lateral_left": 0.12, "lateral_right": 0.12, "prone": 0.16}


class ClinicalPoses:
    """`PoseSource` of the posture table in `clinical`."""

    name = "clinical"

    @staticmethod
    def check(path: Path | None) -> None:
        if path is not None:
            PoseBank.check(path)

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """With the bank of settled poses at `path`, or the one that ships."""
        return cls(pose_bank(path or SHIPPED))

    def __init__(self, bank: PoseBank) -> None:
        self._bank = bank

    def shares(self, backrest_deg: float, age_years: float) -> dict[str, float]:
        if age_years < INFANT_YEARS and backrest_deg == 0:
            return dict(_INFANT_SHARE)
        left_out: tuple[str, ...] = _NEEDS_FLAT if backrest_deg > 0 else _NEEDS_RAISED
        if age_years < COT_YEARS:
            left_out += _NOT_IN_A_COT
        return {posture: share for posture, share in _SHARE.items() if posture not in left_out}

    def sample(
        self, rng: np.random.Generator, posture: str, backrest_deg: float, age_years: float, side: float
    ) -> Pose:
        if posture == "standing":
            return make_pose(rng, *sample_upright(rng, float(rng.uniform(-180.0, 180.0)), "standing"))
        if posture == "assisted" and rng.random() < 0.5:
            posture = "fowler" if backrest_deg > 0 else "supine"
        if posture in ("bed_edge", "long_sitting", "reaching", "assisted"):
            return make_pose(rng, *sample_sitting(rng, posture, side))
        if age_years < INFANT_YEARS:
            posture = f"infant_{posture}"
        return self._bank.sample(rng, posture, backrest_deg)
