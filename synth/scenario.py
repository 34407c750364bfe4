"""What a data set shows: from where, which people, how covered. One model, a few named ones, or a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from synth.body.ages import COT_YEARS
from synth.casting import Casting
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
        default=4, title="Pictures of the same people in the same poses, each in a room, light and colours of its own",
        ge=1, le=16,
    )  # fmt: skip

    light_presets: dict[str, float] = Field(
        default_factory=lambda: dict(PRESETS), title=f"Weights of the light presets {', '.join(PRESETS)}"
    )

    body: str = Field(default="anny", title="Body model")
    body_file: str | None = Field(default=None, title="File of the body model (smplx: the site's own SMPLX_*.npz)")
    pose_source: str = Field(default="clinical", title="Source of patients' poses: clinical, amass, bvh")
    pose_folder: str | None = Field(default=None, title="Folder of motion recordings (pose sources amass and bvh)")
    pose_bank: str | None = Field(default=None, title="File of settled poses made by `wardpose poses` (clinical)")
    age_years: Span = Field(default=(3.0, 95.0), title="Ages of patients in a full-length bed (years)")
    infant_share: float = Field(default=0.0, title="Share of patients who are infants in a cot", ge=0, le=1)

    nobody_share: float = Field(default=0.0, title="Share of pictures that show nobody", ge=0, le=1)
    open_room_share: float = Field(default=0.0, title="Share of pictures of a room without a bed", ge=0, le=1)
    open_anywhere: bool = Field(
        default=False, title="A room without a bed is seen from anywhere, through any lens, not as the bed is"
    )
    fallen_share: float = Field(default=0.0, title="Share of people in such a room who lie on the floor", ge=0, le=1)
    floor_share: float = Field(default=0.0, title="Share of patients who lie on the floor beside the bed", ge=0, le=1)
    patient_share: float = Field(default=0.95, title="Share of beds with a patient", ge=0, le=1)
    bystander_weights: tuple[float, ...] = Field(
        default=(0.55, 0.3, 0.11, 0.04), title="Weights of 0, 1, 2 … people beside the bed", min_length=1, max_length=8
    )
    touching_share: float = Field(
        default=0.12, title="Share of patients in bed whom a clinician touches, besides the assisted", ge=0, le=1
    )
    blanket_share: float = Field(
        default=0.6, title="Share of beds with a blanket, over the patient or left", ge=0, le=1
    )
    blanket_coverage: Span = Field(default=(0.2, 0.95), title="How much of the patient the blanket is pulled over")
    posture_weights: dict[str, float] = Field(default_factory=dict, title="Weights of postures (none: the bodies' own)")

    shadows: bool = Field(default=True, title="The strongest light casts shadows")

    plates: tuple[str, ...] = Field(default=(), title="Folders of plates of the empty bed", max_length=64)
    plate_share: float = Field(default=0.6, title="Share of ward pictures composed into a plate", ge=0, le=1)
    backgrounds: str = Field(default="", title="Folder of photographs to put people into")
    background_share: float = Field(default=0.5, title="Share of pictures composed into a photograph", ge=0, le=1)

    depth: bool = Field(default=False, title="Write depth, registered to the picture (16 bit, mm)")
    depth_noise: bool = Field(default=True, title="Depth with a Kinect's noise, holes and range (no: exact)")
    infrared: bool = Field(default=False, title="Write what the depth camera sees in its infrared light (16 bit)")

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
        "age_years",
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
    def _sources(self) -> Scenario:
        if self.pose_folder is not None and self.pose_source == "clinical":
            raise ValueError('pose_folder goes with pose_source = "amass" or "bvh"')
        if self.pose_bank is not None and self.pose_source != "clinical":
            raise ValueError('pose_bank goes with pose_source = "clinical"')
        return self

    @property
    def casting(self) -> Casting:
        """Where this scenario's bodies and poses come from."""
        return Casting(self.body, self.body_file, self.pose_source, self.pose_folder or self.pose_bank)

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
    "backrest_deg": (5, 75), "age_years": (COT_YEARS, 100),
}  # fmt: skip

_FILES = ("body_file", "pose_folder", "pose_bank", "backgrounds", "plates")

# A detector tuned on people in bed alone forgets what somebody on the floor looks like, and takes an empty bed for
# a person. So a bed's pictures show its patient fallen beside it too, people seen from anywhere in rooms without a bed,
# and nobody.
_NOT_IN_BED: dict[str, Any] = {
    "open_room_share": 0.4, "open_anywhere": True, "fallen_share": 0.6, "floor_share": 0.2, "nobody_share": 0.1,
}  # fmt: skip
# From where such a room is seen.
ANYWHERE: Mapping[str, Any] = {
    "calibration": None, "camera": None, "azimuth_deg": (-180.0, 180.0), "open_elevation_deg": (0.0, 50.0),
    "distance_m": (0.9, 4.0), "roll_deg": (-10.0, 10.0), "horizontal_fov_deg": (35.0, 80.0),
}  # fmt: skip

_WARD: dict[str, Any] = {
    "camera": KINECT_COLOR.to_dict(), "elevation_deg": (12.0, 50.0), "distance_m": (1.8, 3.6), **_NOT_IN_BED,
}  # fmt: skip

NAMED: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        # The paper's synthetic sets; its range of distances isn't public.
        Scenario(name="B", azimuth_deg=(55.0, 125.0), **_WARD),
        Scenario(name="C", azimuth_deg=(15.0, 35.0), **_WARD),
        Scenario(name="D", azimuth_deg=(0.0, 0.0), **_WARD),
        # For base models: many viewpoints, many lenses, people anywhere, in bed, on their feet and on the floor.
        Scenario(
            name="base", open_room_share=0.65, fallen_share=0.55, floor_share=0.05, nobody_share=0.1, patient_share=0.9,
            blanket_share=0.5, bystander_weights=(0.65, 0.2, 0.1, 0.05), horizontal_fov_deg=(35.0, 80.0),
            distance_m=(1.0, 4.2), open_elevation_deg=(0.0, 55.0), roll_deg=(-10.0, 10.0),
            look_at_spread_m=(0.3, 0.25, 0.15), infant_share=0.04, views_per_scene=2,
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
        **_NOT_IN_BED,
    }  # fmt: skip
    return Scenario(**(fields | changes))


def _beside(path: Path, named: Any) -> Any:
    return str((path.parent / named).absolute()) if isinstance(named, str) else named


def _told(error: ValidationError, spec: str) -> WardposeError:
    """The first mistake that was found in a scenario's file."""
    first = error.errors()[0]
    where = f"{spec}, {'.'.join(str(part) for part in first['loc']) or 'scenario'}"
    if first["type"] == "extra_forbidden":
        nearest = get_close_matches(str(first["loc"][-1]), Scenario.model_fields, n=1)
        mend = f"did you mean {nearest[0]}?" if nearest else "take it out; README.md names the fields"
        return WardposeError("no field of a scenario has this name", where=where, mend=mend)
    if first["type"] in ("tuple_type", "missing"):
        return WardposeError(f"must be numbers in brackets, got {first['input']!r}", where=where, mend="such as [1, 2]")
    what = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return WardposeError(what if "got" in what else f"{what}, got {first['input']!r}", where=where)


def load_scenario(spec: str, *, estimate: CalibrationEstimate | None = None, plates: tuple[str, ...] = ()) -> Scenario:
    """The scenario that `spec` names: `B`, `C`, `D`, `base`, `site` (with its `estimate` and `plates`) or a TOML file.

    A file may begin with `like = "C"` to change only some fields of a named one. Raises WardposeError with the file
    and the field of a mistake.
    """
    if spec == "site":
        if estimate is None:
            raise WardposeError(
                "the scenario `site` needs a calibration", mend="calibrate first: wardpose calibrate tags"
            )
        return site_scenario(estimate, plates=plates)
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
    for field in _FILES:  # beside the scenario's own file, wherever it is read from
        named = values.get(field)
        if isinstance(named, list):
            values[field] = [_beside(path, each) for each in named]
        elif named:
            values[field] = _beside(path, named)
    try:
        scenario = Scenario(**({"name": path.stem} | values))
    except ValidationError as error:
        raise _told(error, spec) from None
    for field, check in (
        ("body_file" if scenario.body_file else "body", scenario.casting.check_body),
        ("pose_folder" if scenario.pose_folder else "pose_bank" if scenario.pose_bank else "pose_source",
         scenario.casting.check_poses),
    ):  # fmt: skip
        try:
            check()
        except WardposeError as error:
            raise WardposeError(str(error), where=f"{spec}, {field}") from None
    return scenario
