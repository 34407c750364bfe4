"""Infants lie in cots of their own size; nobody else does."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.bed import Bed
from synth.company import make_people
from synth.plan import draw_plan
from synth.scenario import Scenario
from synth.ward.bed import BedLook
from synth.ward.cot import build_cot, is_cot


def test_an_infant_lies_in_a_cot_of_its_size() -> None:
    scenario = Scenario(name="nursery", infant_share=1.0, patient_share=1.0, bystander_weights=(1.0,))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        plan = draw_plan(scenario, rng)
        assert is_cot(plan.bed) and plan.age_years < 3
        (infant,) = make_people(plan, rng)
        assert infant.traits.height_m < 1.05
        skin = infant.meshes[0].vertices
        assert np.abs(skin[:, 1]).max() < plan.bed.width / 2 + 0.02
        assert -0.03 < skin[:, 2].min() < 0.0


def test_a_short_bed_holds_infants_only_and_is_flat() -> None:
    scenario = Scenario(name="ward of cots", bed_length_m=1.2, bed_width_m=0.6, raised_share=1.0)
    for seed in range(10):
        plan = draw_plan(scenario, np.random.default_rng(seed))
        assert plan.age_years < 3 and plan.bed.backrest_deg == 0 and plan.bed.length == 1.2


def test_grown_ups_have_no_cot() -> None:
    scenario = Scenario(name="adults", infant_share=0.0, age_years=(18.0, 95.0))
    for seed in range(20):
        plan = draw_plan(scenario, np.random.default_rng(seed))
        assert 18 <= plan.age_years <= 95 and not is_cot(plan.bed)


@pytest.mark.parametrize(("rails", "left_down", "right_down"), [("both", 0, 0), ("left", 0, 1), ("right", 1, 0)])
def test_a_side_can_be_let_down(rails: str, left_down: int, right_down: int) -> None:
    bed = Bed(1.25, 0.65, 0.8)
    points = np.concatenate([mesh.vertices for mesh in build_cot(bed, BedLook(rails=rails, seed=3))])
    middle = np.abs(points[:, 0]) < 0.4
    for side, down in ((1, left_down), (-1, right_down)):
        top = points[middle & (side * points[:, 1] > bed.width / 2), 2].max()
        assert top < 0.2 if down else top > 0.4
    assert points[:, 2].min() == pytest.approx(-bed.height, abs=0.01)
