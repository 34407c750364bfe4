"""What stands behind the people of one picture: a rendered ward, a plate of the site, or one of its photographs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from synth.plan import Companion, Plan
from synth.scenario import Scenario
from synth.sensor import Lens
from synth.ward import photographs, plates
from synth.ward.backdrop import Backdrop
from synth.ward.cot import is_cot

_HALF_LENGTH = (-0.7, 0.0, 0.7)  # metres from the middle of somebody lying, where the floor must be free


def check_backdrops(scenario: Scenario) -> None:
    """Raise WardposeError, before any work, where a plate or a background of the scenario can't be used."""
    if scenario.plates and scenario.calibration is None:
        raise WardposeError(
            "plates need a calibration",
            where=f"scenario {scenario.name}, plates",
            mend="choose the scenario site, or give the plates' calibration too",
        )
    for folder in scenario.plates:
        estimate = CalibrationEstimate.from_dict(scenario.calibration or {})
        plates.require_same_view(plates.open_plate(folder), estimate.camera_from_bed, folder)
    if scenario.backgrounds:
        photographs.photographs(scenario.backgrounds)


def draw_plate(scenario: Scenario, plan: Plan, rng: np.random.Generator) -> tuple[Plan, str]:
    """The folder of the plate into which the plan's people go, "" for none; and the plan as it can be there: in the
    plate's own bed, without those who would stand in its furniture."""
    pick, which = rng.random(2)
    if not (plan.in_ward and scenario.plates and pick < scenario.plate_share):
        return plan, ""
    folder = scenario.plates[int(which * len(scenario.plates))]
    bed = plates.open_plate(folder).bed
    if is_cot(plan.bed) and not is_cot(bed):  # an infant's cot does not go into the picture of a bed
        return plan, ""
    fitted = replace(
        plan,
        bed=bed,
        posture=plan.posture if (plan.bed.backrest_deg > 0) == (bed.backrest_deg > 0) else None,
        companions=tuple(c for c in plan.companions if _has_place(folder, c)),
    )
    return fitted, folder


def fits_mirrored(plan: Plan, plate: str) -> bool:
    """Whether the mirrored plan can be had too: in a plate, only where its people find free floor there as well."""
    return not plate or all(_has_place(plate, c) for c in plan.mirrored().companions)


def _has_place(folder: str, companion: Companion) -> bool:
    """Whether the plate's floor is free where somebody stands, or from head to feet of who lies there."""
    x, y = companion.position
    reach = _HALF_LENGTH if companion.activity == "fallen" else (0.0,)
    yaw = np.radians(companion.yaw_deg)
    return all(plates.free_floor(folder, (x + r * float(np.cos(yaw)), y + r * float(np.sin(yaw)))) for r in reach)


def draw_backdrop(
    scenario: Scenario, plan: Plan, plate: str, camera_from_bed: NDArray[np.float64], lens: Lens,
    rng: np.random.Generator,
) -> Backdrop | None:  # fmt: skip
    """The picture to put the plan's people into: the `plate` they are planned for, or a photograph; None for a
    rendered ward."""
    if plate:
        return plates.backdrop(plate, lens.camera, camera_from_bed, rng)
    if scenario.backgrounds and rng.random() < scenario.background_share:
        return photographs.backdrop(scenario.backgrounds, plan.bed, plan.in_ward, camera_from_bed, lens, rng)
    return None
