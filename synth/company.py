"""The people of one picture together: the patient, whoever has a hand on the patient, and others beside the bed."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from calibration.bed import Bed
from synth.body.figure import Figure
from synth.people import make_assistant, make_bystander, make_patient, make_upright
from synth.plan import Companion, Plan
from synth.ward.cot import is_cot

_GAP = 0.05  # metres that clothed people keep from one another
_STEP, _STEPS = 0.08, 12  # metres somebody steps back who stands in another's place, and how often
_SAMPLED = 4  # every fourth vertex is enough to tell


def make_people(plan: Plan, rng: np.random.Generator) -> tuple[Figure, ...]:
    """The plan's people; instance 1, 2, … in order, the patient first, then who touches the patient.

    A companion who would stand in somebody or in the bed steps back, and stays away where that does not help.
    """
    figures: list[Figure] = []
    companions = list(plan.companions)
    if plan.has_patient:
        patient = make_patient(rng, plan.bed, 1, plan.posture, age_years=plan.age_years, casting=plan.casting)
        figures.append(patient)
        if patient.posture == "assisted" or (plan.touched and _can_be_touched(patient, plan.bed)):
            figures.append(make_assistant(rng, patient, plan.bed, 2, casting=plan.casting))
            companions = companions[1:]
    for companion in companions:
        found = _beside(companion, plan, figures, rng)
        if found is not None:
            figures.append(found)
    return tuple(figures)


def _can_be_touched(patient: Figure, bed: Bed) -> bool:
    hips = patient.keypoints[11:13].mean(0)
    return not is_cot(bed) and bool(abs(hips[0]) < bed.length / 2 and abs(hips[1]) < bed.width / 2)


def _beside(companion: Companion, plan: Plan, others: list[Figure], rng: np.random.Generator) -> Figure | None:
    place = (companion.position, companion.yaw_deg, -plan.bed.height, len(others) + 1, companion.role)
    if plan.in_ward and companion.activity is None:
        figure = make_bystander(rng, *place, casting=plan.casting)
    else:
        figure = make_upright(rng, *place, companion.activity, casting=plan.casting)
    away = np.array([*companion.position, 0.0])
    away /= max(float(np.linalg.norm(away)), 1e-9)
    for _ in range(_STEPS):
        if not (plan.in_ward and stands_in_bed(figure, plan.bed)) and not any(meets(figure, o) for o in others):
            return figure
        figure = figure.moved(_STEP * away)
    return None


def stands_in_bed(figure: Figure, bed: Bed) -> bool:
    """Whether part of somebody is inside the mattress or the frame beneath it; feet may be under the bed."""
    low = np.array([-bed.length / 2 - 0.05, -bed.width / 2 - 0.02, -bed.height + 0.15])
    high = np.array([bed.length / 2 + 0.05, bed.width / 2 + 0.02, -0.02])
    return any(bool(((m.vertices > low) & (m.vertices < high)).all(1).any()) for m in figure.meshes)


def meets(one: Figure, other: Figure) -> bool:
    """Whether two clothed figures come nearer than `_GAP`."""
    a, b = (np.concatenate([mesh.vertices[::_SAMPLED] for mesh in figure.meshes]) for figure in (one, other))
    low, high = b.min(0) - _GAP, b.max(0) + _GAP
    near = a[((a > low) & (a < high)).all(1)]
    if not len(near):
        return False
    return bool(np.isfinite(cKDTree(b).query(near, distance_upper_bound=_GAP)[0]).any())
