"""What a data set shows: from where, which people, how covered. One model, a few named ones, or a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.viewpoint import Viewpoint
from synth.body.figure import MIRRORED_POSTURES
from synth.sensor import SensorSettings, Span
from synth.ward.lights import PRESETS

# The factory intrinsics of an Azure Kinect's colour camera at 1280×720: what a site has until it knows its own.
KINECT_COLOR = CameraModel(
    1280, 720, 611.795, 611.927, 639.304, 365.853,
    (0.33012, -2.48940, -0.000162, -0.000129, 1.45367, 0.20891, -2.30292, 1.37513),
)  # fmt: skip


class Scenario(BaseModel):
    """The ranges a data set is drawn from; every pair is (least, most), drawn uniformly unless said otherwise.

    The camera is, in this order: `calibration`'s, with its viewpoint drawn from its posterior; else `camera`'s
    intrinsics at a viewpoint from the ranges; else a lens with a drawn field of view at such a viewpoint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(title="Name", min_length=1, max_length=80)
    width: int = Field(default=640, title="Picture width (px)", ge=64, le=4096)
    height: int = Field(default=360, title="Picture height (px)", ge=64, le=4096)

    calibration: dict[str, Any] | None = Field(default=None, title="Calibration of the site")
    posterior_scale: float = Field(default=1.0, title="Spread of the viewpoint over the calibration's own", ge=0, le=20)
    camera: dict[str, Any] | None = Field(default=None, title="Fixed intrinsics")
    horizontal_fov_deg: Span = Field(default=(50.0, 95.0), title="Horizontal field of view (degrees)")
    distorted_share: float = Field(default=0.5, title="Share of pictures through a distorting lens", ge=0, le=1)

    azimuth_deg: Span = Field(
        default=(-180.0, 180.0), title="Azimuth from the foot end, + to the patient's right (degrees)"
    )
    elevation_deg: Span = Field(default=(5.0, 65.0), title="Elevation above the mattress (degrees)")
    open_elevation_deg: Span = Field(default=(0.0, 30.0), title="Elevation in a room without a bed (degrees)")
    distance_m: Span = Field(default=(1.5, 5.0), title="Distance from the look-at point (m)")
    roll_deg: Span = Field(default=(-4.0, 4.0), title="Roll (degrees)")
    look_at_spread_m: tuple[float, float, float] = Field(
        default=(0.3, 0.2, 0.1), title="Spread of the look-at point along the bed's axes (standard deviation, m)"
    )

    bed_length_m: float = Field(default=2.0, title="Mattress length (m)", ge=0.5, le=2.6)
    bed_width_m: float = Field(default=0.9, title="Mattress width (m)", ge=0.3, le=1.6)
    bed_height_m: Span = Field(default=(0.45, 0.75), title="Mattress top above the floor (m)")
    raised_share: float = Field(default=0.35, title="Share of beds with a raised backrest", ge=0, le=1)
    backrest_deg: Span = Field(default=(25.0, 60.0), title="Angle of a raised backrest (degrees)")
    look_seed: int | None = Field(default=None, title="Seed of one fixed room (none: every picture its own)", ge=0)
    views_per_scene: int = Field(
        default=3, title="Pictures of the same people in the same poses, each in a room, light and colours of its own",
        ge=1, le=16,
    )  # fmt: skip

    light_presets: dict[str, float] = Field(
        default_factory=lambda: dict(PRESETS), title=f"Weights of the light presets {', '.join(PRESETS)}"
    )

    open_room_share: float = Field(default=0.0, title="Share of pictures of a room without a bed", ge=0, le=1)
    fallen_share: float = Field(default=0.0, title="Share of people in such a room who lie on the floor", ge=0, le=1)
    patient_share: float = Field(default=0.95, title="Share of beds with a patient", ge=0, le=1)
    bystander_weights: tuple[float, ...] = Field(
        default=(0.6, 0.3, 0.1), title="Weights of 0, 1, 2 … people beside the bed", min_length=1, max_length=8
    )
    blanket_share: float = Field(default=0.6, title="Share of patients under a blanket", ge=0, le=1)
    blanket_coverage: Span = Field(default=(0.2, 0.95), title="How much of the patient the blanket is pulled over")
    posture_weights: dict[str, float] = Field(default_factory=dict, title="Weights of postures (none: the bodies' own)")

    shadows: bool = Field(default=True, title="The strongest light casts shadows")
    sensor: SensorSettings = Field(default_factory=SensorSettings, title="Sensor")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, values: Any) -> Any:
        return NAMED[values].model_dump() if isinstance(values, str) and values in NAMED else values

    @field_validator(
        "horizontal_fov_deg",
        "azimuth_deg",
        "elevation_deg",
        "open_elevation_deg",
        "distance_m",
        "roll_deg",
        "bed_height_m",
        "backrest_deg",
        "blanket_coverage",
    )
    @classmethod
    def _possible(cls, span: Span, info: Any) -> Span:
        low, high = _LIMITS[info.field_name]
        if not low <= span[0] <= span[1] <= high:
            raise ValueError(f"must be two numbers, least first, within {low} … {high}; got {span[0]}, {span[1]}")
        return span

    @field_validator("look_at_spread_m")
    @classmethod
    def _spread(cls, spread: tuple[float, float, float]) -> tuple[float, float, float]:
        if not all(0 <= s <= 3 for s in spread):
            raise ValueError(f"must be three numbers within 0 … 3 m, got {spread}")
        return spread

    @field_validator("bystander_weights")
    @classmethod
    def _weights(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"must not be negative nor all zero, got {weights}")
        return weights

    @field_validator("light_presets")
    @classmethod
    def _lights(cls, weights: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(weights) - set(PRESETS))
        if unknown:
            raise ValueError(f"no light preset is called {unknown[0]!r}; choose from {', '.join(PRESETS)}")
        if min(weights.values(), default=0) < 0 or sum(weights.values()) <= 0:
            raise ValueError(f"must not be negative nor all zero, got {weights}")
        return weights

    @field_validator("posture_weights")
    @classmethod
    def _postures(cls, weights: dict[str, float]) -> dict[str, float]:
        if weights and (min(weights.values()) < 0 or sum(weights.values()) <= 0):
            raise ValueError(f"must not be negative nor all zero, got {weights}")
        return weights

    @model_validator(mode="after")
    def _cameras(self) -> Scenario:
        for field, read in (("calibration", CalibrationEstimate.from_dict), ("camera", CameraModel.from_dict)):
            values = getattr(self, field)
            if values is not None:
                try:
                    read(values)
                except (KeyError, TypeError, ValueError) as error:
                    raise ValueError(
                        f"{field}: {error!r}" if isinstance(error, KeyError) else f"{field}: {error}"
                    ) from None
        return self


_LIMITS: Mapping[str, Span] = {
    "horizontal_fov_deg": (20, 130), "azimuth_deg": (-360, 360), "elevation_deg": (0, 85),
    "open_elevation_deg": (-20, 85), "distance_m": (0.7, 12),
    "roll_deg": (-180, 180), "bed_height_m": (0.2, 1.2), "blanket_coverage": (0, 1),
    "backrest_deg": (5, 75),
}  # fmt: skip

_NEEDS_RAISED = frozenset({"fowler"})
_NEEDS_FLAT = frozenset({"supine", "lateral_left", "lateral_right", "prone"})

_WARD: dict[str, Any] = {"camera": KINECT_COLOR.to_dict(), "elevation_deg": (12.0, 50.0), "distance_m": (1.8, 3.6)}

NAMED: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        # The paper's synthetic sets; its range of distances isn't public.
        Scenario(name="B", azimuth_deg=(55.0, 125.0), **_WARD),
        Scenario(name="C", azimuth_deg=(15.0, 35.0), **_WARD),
        Scenario(name="D", azimuth_deg=(0.0, 0.0), **_WARD),
        # For base models: many viewpoints, many lenses, people anywhere, in bed, on their feet and on the floor.
        Scenario(
            name="base", open_room_share=0.6, fallen_share=0.5, patient_share=0.9, blanket_share=0.5,
            bystander_weights=(0.45, 0.3, 0.15, 0.1), horizontal_fov_deg=(40.0, 85.0), distance_m=(1.2, 4.5),
            open_elevation_deg=(0.0, 50.0), roll_deg=(-10.0, 10.0), look_at_spread_m=(0.45, 0.35, 0.2),
        ),
    )
}  # fmt: skip


def site_scenario(estimate: CalibrationEstimate, *, width: int = 640, **changes: Any) -> Scenario:
    """The scenario of one bedside: its camera, its bed, its viewpoint with the calibration's uncertainty.

    `width` sets the size of the pictures, of the same shape as the camera's. `changes` replace other fields.
    Raises WardposeError where nobody has confirmed head and foot, since half of all mistakes are that one.
    """
    if not estimate.confirmed:
        raise WardposeError(
            "nobody has confirmed which end of the bed is the head", where="calibration", mend="confirm the calibration"
        )
    bed, camera = estimate.bed, estimate.camera
    fields: dict[str, Any] = {
        "name": "site", "calibration": estimate.to_dict(), "width": width,
        "height": round(width * camera.height / camera.width), "bed_length_m": bed.length, "bed_width_m": bed.width,
        "bed_height_m": (bed.height, bed.height), "bystander_weights": (0.65, 0.35), "views_per_scene": 2,
    }  # fmt: skip
    return Scenario(**(fields | changes))


def load_scenario(spec: str, *, estimate: CalibrationEstimate | None = None) -> Scenario:
    """The scenario that `spec` names: `B`, `C`, `D`, `base`, `site` (with its `estimate`) or a TOML file.

    A file may begin with `like = "C"` to change only some fields of a named one. Raises WardposeError with the file
    and the field of a mistake.
    """
    if spec == "site":
        if estimate is None:
            raise WardposeError(
                "the scenario `site` needs a calibration", mend="calibrate first: wardpose calibrate tags"
            )
        return site_scenario(estimate)
    if spec in NAMED:
        return NAMED[spec]
    path = Path(spec)
    if path.suffix != ".toml":
        raise WardposeError(
            f"no scenario is called {spec!r}", mend=f"choose one of: site, {', '.join(NAMED)}, or a .toml file"
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WardposeError(f"cannot be read: {(error.strerror or str(error)).lower()}", where=spec) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WardposeError(f"is not TOML: {error}", where=spec) from None
    like = values.pop("like", None)
    if like is not None:
        if like not in NAMED:
            raise WardposeError(
                f"no scenario is called {like!r}", where=f"{spec}, like", mend=f"choose one of: {', '.join(NAMED)}"
            )
        values = NAMED[like].model_dump() | {"name": path.stem} | values
    try:
        return Scenario(**({"name": path.stem} | values))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "scenario"
        raise WardposeError(first["msg"].removeprefix("Value error, "), where=f"{spec}, {field}") from None


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
    """Who is in a scene. Without a bed (`in_ward` False) there are companions only."""

    in_ward: bool
    bed: Bed
    has_patient: bool
    posture: str | None
    blanket_coverage: float
    companions: tuple[Companion, ...]

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
    has_patient = in_ward and bool(rng.random() < scenario.patient_share)
    covered = rng.random() < scenario.blanket_share
    coverage = float(rng.uniform(*scenario.blanket_coverage)) if covered and has_patient else 0.0
    weights = np.asarray(scenario.bystander_weights)
    count = int(rng.choice(len(weights), p=weights / weights.sum()))
    if not in_ward:
        count += 1
    companions = _beside(bed, count, rng) if in_ward else _in_room(count, scenario.fallen_share, rng)
    return Plan(in_ward, bed, has_patient, posture, coverage, companions)


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
    """The camera and its pose `camera_from_bed` (4, 4)."""
    if scenario.calibration is not None:
        estimate = CalibrationEstimate.from_dict(scenario.calibration)
        camera = estimate.camera.resized(scenario.width, scenario.height)
        if scenario.posterior_scale == 0:
            return camera, estimate.camera_from_bed
        return camera, _widened(estimate, scenario.posterior_scale).sample(rng, 1)[0]
    elevations = scenario.elevation_deg if plan.in_ward else scenario.open_elevation_deg
    azimuth, elevation, distance, roll = (
        float(rng.uniform(*span)) for span in (scenario.azimuth_deg, elevations, scenario.distance_m, scenario.roll_deg)
    )
    centre = _centre_of_interest(plan, rng)
    look_at = tuple(float(c + rng.normal(0, s)) for c, s in zip(centre, scenario.look_at_spread_m, strict=True))
    view = Viewpoint(azimuth, elevation, distance, roll, (look_at[0], look_at[1], look_at[2]))
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
        return CameraModel.from_dict(scenario.camera).resized(scenario.width, scenario.height)
    fov = np.radians(rng.uniform(*scenario.horizontal_fov_deg))
    focal = float(scenario.width / 2 / np.tan(fov / 2))
    cx, cy = (scenario.width - 1) / 2, (scenario.height - 1) / 2
    cx, cy = cx + float(rng.normal(0, 0.01)) * scenario.width, cy + float(rng.normal(0, 0.01)) * scenario.width
    distorted, bend = rng.random() < scenario.distorted_share, float(rng.uniform(-0.12, 0.06))
    # A mild k1 scaled by the field's edge stays invertible over the whole picture.
    edge = float(np.tan(fov / 2)) ** 2 * (1 + (scenario.height / scenario.width) ** 2)
    distortion = (bend / edge, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0) if distorted else (0.0,) * 8
    return CameraModel(scenario.width, scenario.height, focal, focal, cx, cy, distortion)
