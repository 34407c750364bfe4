"""People stand beside one another and the bed, not in them; a clinician's hand reaches the patient."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from calibration.bed import Bed
from synth.body.figure import Figure
from synth.company import make_people
from synth.plan import Companion, Plan, draw_plan
from synth.scenario import Scenario
from synth.ward.bed import BedLook
from synth.ward.scene import make_bedding


def skin(figure: Figure) -> np.ndarray:
    return np.concatenate([mesh.vertices for mesh in figure.meshes]).astype(float)


def nearest(one: Figure, other: Figure) -> float:
    return float(cKDTree(skin(other)).query(skin(one))[0].min())


@pytest.mark.parametrize("seed", range(4))
def test_nobody_stands_in_anybody_or_in_the_bed(seed: int) -> None:
    scenario = Scenario(name="crowd", bystander_weights=(0.0, 0.0, 0.0, 1.0), touching_share=0.0)
    rng = np.random.default_rng(seed)
    plan = draw_plan(scenario.model_copy(update={"patient_share": 1.0}), rng)
    figures = make_people(plan, rng)
    assert 2 <= len(figures) <= 4
    assert [figure.meshes[0].instance for figure in figures] == list(range(1, len(figures) + 1))
    bed = plan.bed
    for number, figure in enumerate(figures[1:], start=1):
        for other in figures[:number]:
            assert nearest(figure, other) > 0.025
        inside = np.abs(skin(figure)) < [bed.length / 2, bed.width / 2, 9.0]
        below = (skin(figure)[:, 2] < -0.05) & (skin(figure)[:, 2] > -bed.height + 0.2)
        assert not (inside.all(1) & below).any()


def test_people_in_each_others_place_step_apart() -> None:
    here = Companion((0.2, 0.9), -90.0, "visitor")
    plan = Plan(True, Bed(), False, None, 0.0, (here, here))
    figures = make_people(plan, np.random.default_rng(0))
    assert len(figures) == 2 and nearest(*figures) > 0.025


@pytest.mark.parametrize("seed", range(4))
def test_a_clinicians_hand_lies_on_the_assisted_patient(seed: int) -> None:
    plan = Plan(True, Bed(), True, "assisted", 0.0, ())
    patient, helper = make_people(plan, np.random.default_rng(seed))
    assert helper.posture == "assisting"
    hand = min(nearest_to_patient(helper, patient, wrist) for wrist in (9, 10))
    assert hand < 0.12
    apart = cKDTree(skin(patient)).query(skin(helper))[0]
    hands = np.min([np.linalg.norm(skin(helper) - helper.keypoints[w], axis=1) for w in (9, 10)], axis=0) < 0.3
    assert (apart[~hands] < 0.01).mean() < 0.04  # little but the hand and forearm touch, save a patient's own arm


def test_the_rail_is_down_where_a_clinician_reaches_over_it() -> None:
    bed = Bed()
    patient, helper = make_people(Plan(True, bed, True, "assisted", 0.0, ()), np.random.default_rng(1))
    side = "left" if helper.keypoints[11, 1] > 0 else "right"
    bedding = make_bedding(np.random.default_rng(0), bed, patient, BedLook(rails="both"), 0.0, (helper,))
    assert bedding.bed.rails not in ("both", side)


def nearest_to_patient(helper: Figure, patient: Figure, wrist: int) -> float:
    return float(cKDTree(skin(patient)).query(helper.keypoints[wrist])[0])
