"""Drawing from a scenario: who is in a picture, in which bed, and from where it is taken."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.estimate import CalibrationEstimate
from calibration.viewpoint import Viewpoint
from synth.body.ages import COT_YEARS, draw_age
from synth.body.figure import MIRRORED_POSTURES
from synth.casting import Casting
from synth.scenario import Scenario
from synth.ward.cot import is_cot

_COT_HEIGHT = (0.6, 0.9)  # metres from the floor to the mattress of a cot
_CAMERA_OVER_FLOOR_M = 0.3
_NEEDS_RAISED = frozenset({"fowler"})
_NEEDS_FLAT = frozenset({"supine", "lateral_left", "lateral_right", "prone"})


@dataclass(frozen=True, slots=True)
class Companion:
    """Somebody who is not the patient: where they stand (bed frame, metres) and which way they face (degrees).

    activity: one of `synth.people.ACTIVITIES`; None leaves it to chance.
    """

    position: tuple[float, float]
    yaw_deg: float
    role: str
    activity: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is in a scene. Without a bed (`in_ward` False) there are companions only.

    age_years: the patient's. touched: whether one of the companions has a hand on the patient.
    """

    in_ward: bool
    bed: Bed
    has_patient: bool
    posture: str | None
    blanket_coverage: float
    companions: tuple[Companion, ...]
    age_years: float = 60.0
    touched: bool = False
    casting: Casting = field(default_factory=Casting)

    def mirrored(self) -> Plan:
        """The mirror image in the bed's plane y = 0."""
        companions = (replace(c, position=(c.position[0], -c.position[1]), yaw_deg=-c.yaw_deg) for c in self.companions)
        posture = MIRRORED_POSTURES.get(self.posture, self.posture) if self.posture else None
        return replace(self, posture=posture, companions=tuple(companions))


def draw_plan(scenario: Scenario, rng: np.random.Generator) -> Plan:
    """Who is in the picture, and in which bed. A posture that asks for a raised or a flat backrest gets it."""
    in_ward = bool(rng.random() >= scenario.open_room_share)
    posture = None
    if scenario.posture_weights:
        names = sorted(scenario.posture_weights)
        weights = np.array([scenario.posture_weights[name] for name in names])
        posture = str(rng.choice(names, p=weights / weights.sum()))
    height, angle = float(rng.uniform(*scenario.bed_height_m)), float(rng.uniform(*scenario.backrest_deg))
    raised = bool(rng.random() < scenario.raised_share)
    if posture in _NEEDS_RAISED or posture in _NEEDS_FLAT:
        raised = posture in _NEEDS_RAISED
    bed = Bed(scenario.bed_length_m, scenario.bed_width_m, height, angle if raised else 0.0)
    age_rng, company_rng, floor_rng = rng.spawn(3)
    age, bed = _draw_patient(scenario, bed, posture, age_rng)
    has_patient = in_ward and bool(rng.random() < scenario.patient_share)
    covered = rng.random() < scenario.blanket_share
    coverage = float(rng.uniform(*scenario.blanket_coverage)) if covered and in_ward else 0.0
    weights = np.asarray(scenario.bystander_weights)
    count = int(rng.choice(len(weights), p=weights / weights.sum()))
    if not in_ward:
        count += 1
    companions = _beside(bed, count, rng) if in_ward else _in_room(count, scenario.fallen_share, rng)
    if has_patient and floor_rng.random() < scenario.floor_share:
        has_patient, companions = False, (_fallen_beside(bed, floor_rng), *companions)
    if floor_rng.random() < scenario.nobody_share:
        has_patient, companions = False, ()
    touched = has_patient and bool(company_rng.random() < scenario.touching_share)
    return Plan(in_ward, bed, has_patient, posture, coverage, companions, age, touched, scenario.casting)


def _draw_patient(scenario: Scenario, bed: Bed, posture: str | None, rng: np.random.Generator) -> tuple[float, Bed]:
    """The patient's age and the bed for it: infants and toddlers lie in a cot, and whoever lies in a cot is one."""
    if is_cot(bed):
        return draw_age(rng, (0.0, COT_YEARS)), replace(bed, backrest_deg=0.0)
    if posture in (None, *_NEEDS_FLAT) and rng.random() < scenario.infant_share:
        length, width = float(rng.uniform(1.15, 1.35)), float(rng.uniform(0.58, 0.7))
        return draw_age(rng, (0.0, COT_YEARS)), Bed(length, width, float(rng.uniform(*_COT_HEIGHT)))
    return draw_age(rng, scenario.age_years), bed


def _beside(bed: Bed, count: int, rng: np.random.Generator) -> tuple[Companion, ...]:
    """People around the bed, mostly close to it and facing it, none within 0.6 m of another."""
    found: list[Companion] = []
    for _ in range(count):
        for _ in range(20):
            side = float(rng.choice([-1.0, 1.0]))
            gap = float(rng.uniform(0.32, 1.1))
            if rng.random() < 0.8:
                x, y = float(rng.uniform(-0.45, 0.5) * bed.length), side * (bed.width / 2 + gap)
            else:
                x, y = bed.length / 2 + gap + 0.1, float(rng.uniform(-0.9, 0.9))
            if all(np.hypot(x - c.position[0], y - c.position[1]) > 0.6 for c in found):
                toward_bed = np.degrees(np.arctan2(-y, rng.uniform(-0.5, 0.5) - x))
                turn = rng.normal(0, 30) if rng.random() < 0.7 else rng.uniform(-180, 180)
                role = "staff" if rng.random() < 0.6 else "visitor"
                found.append(Companion((x, y), float(toward_bed + turn), role))
                break
    return tuple(found)


def _fallen_beside(bed: Bed, rng: np.random.Generator) -> Companion:
    """The patient on the floor, somewhere along one side of the bed and lying in any direction, mostly along it."""
    side = float(rng.choice([-1.0, 1.0]))
    position = float(rng.uniform(-0.4, 0.5)) * bed.length, side * (bed.width / 2 + float(rng.uniform(0.35, 1.1)))
    along = float(rng.choice([0.0, 180.0]))
    yaw = along + float(rng.normal(0, 25)) if rng.random() < 0.6 else float(rng.uniform(-180, 180))
    return Companion(position, yaw, "patient", "fallen")


def _in_room(count: int, fallen_share: float, rng: np.random.Generator) -> tuple[Companion, ...]:
    """People anywhere within about 2 m of the origin, none within 0.6 m of another, nor 1.2 m of somebody fallen."""
    found: list[Companion] = []
    for _ in range(count):
        activity = "fallen" if rng.random() < fallen_share else None
        for _ in range(20):
            x, y = (float(v) for v in rng.uniform(-1.8, 1.8, size=2) * (0.4 if not found else 1.0))
            if all(
                np.hypot(x - c.position[0], y - c.position[1]) > (1.2 if activity or c.activity else 0.6) for c in found
            ):
                role = "staff" if rng.random() < (0.1 if activity else 0.3) else "visitor"
                found.append(Companion((x, y), float(rng.uniform(-180, 180)), role, activity))
                break
    return tuple(found)


def draw_view(scenario: Scenario, plan: Plan, rng: np.random.Generator) -> tuple[CameraModel, NDArray[np.float64]]:
    """The camera and its pose `camera_from_bed` (4, 4). A picture of another shape than the camera's is cut from the
    middle of what it sees."""
    if scenario.calibration is not None:
        estimate = CalibrationEstimate.from_dict(scenario.calibration)
        camera = estimate.camera.cut(scenario.width, scenario.height)
        if scenario.posterior_scale == 0:
            return camera, estimate.camera_from_bed
        return camera, _widened(estimate, scenario.posterior_scale).sample(rng, 1)[0]
    elevations = scenario.elevation_deg if plan.in_ward else scenario.open_elevation_deg
    azimuth, elevation, distance, roll = (
        float(rng.uniform(*span)) for span in (scenario.azimuth_deg, elevations, scenario.distance_m, scenario.roll_deg)
    )
    centre = _centre_of_interest(plan, rng)
    x, y, z = (float(c + rng.normal(0, s)) for c, s in zip(centre, scenario.look_at_spread_m, strict=True))
    # Somebody on the floor, looked at from low down, must not draw the camera into the floor.
    lowest = _CAMERA_OVER_FLOOR_M - plan.bed.height - distance * float(np.sin(np.radians(elevation)))
    view = Viewpoint(azimuth, elevation, distance, roll, (x, y, max(z, lowest)))
    return _draw_camera(scenario, rng), view.camera_from_bed


def _widened(estimate: CalibrationEstimate, scale: float) -> CalibrationEstimate:
    values = estimate.to_dict() | {"covariance": (estimate.covariance * scale**2).tolist()}
    return CalibrationEstimate.from_dict(values)


def _centre_of_interest(plan: Plan, rng: np.random.Generator) -> tuple[float, float, float]:
    """The patient, or now and then a companion at the height of the chest."""
    pick, height = rng.random(), float(rng.uniform(0.6, 1.3))
    if plan.companions and (not plan.in_ward or pick < 0.25):
        looked_at = plan.companions[int(pick * 4 * len(plan.companions)) % len(plan.companions)]
        return *looked_at.position, (0.2 if looked_at.activity == "fallen" else height) - plan.bed.height
    return 0.0, 0.0, 0.15


def _draw_camera(scenario: Scenario, rng: np.random.Generator) -> CameraModel:
    if scenario.camera is not None:
        return CameraModel.from_dict(scenario.camera).cut(scenario.width, scenario.height)
    fov = np.radians(rng.uniform(*scenario.horizontal_fov_deg))
    focal = float(scenario.width / 2 / np.tan(fov / 2))
    cx, cy = (scenario.width - 1) / 2, (scenario.height - 1) / 2
    cx, cy = cx + float(rng.normal(0, 0.01)) * scenario.width, cy + float(rng.normal(0, 0.01)) * scenario.width
    distorted, bend = rng.random() < scenario.distorted_share, float(rng.uniform(-0.12, 0.06))
    # A mild k1 scaled by the field's edge stays invertible over the whole picture.
    edge = float(np.tan(fov / 2)) ** 2 * (1 + (scenario.height / scenario.width) ** 2)
    distortion = (bend / edge, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0) if distorted else (0.0,) * 8
    return CameraModel(scenario.width, scenario.height, focal, focal, cx, cy, distortion)
