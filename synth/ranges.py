"""What pictures are drawn from: viewpoints, beds, people, light and sensor, as ranges and shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from calibration import bounds
from synth.body.ages import COT_YEARS
from synth.sensor import SensorSettings, Span
from synth.ward.lights import PRESETS


class Ranges(BaseModel):
    """Every pair is (least, most), drawn uniformly unless said otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

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

    bed_length_m: float = Field(
        default=2.0, title="Mattress length (m)", ge=bounds.BED_LENGTH_M.least, le=bounds.BED_LENGTH_M.most
    )
    bed_width_m: float = Field(
        default=0.9, title="Mattress width (m)", ge=bounds.BED_WIDTH_M.least, le=bounds.BED_WIDTH_M.most
    )
    bed_height_m: Span = Field(default=(0.45, 0.75), title="Mattress top above the floor (m)")
    raised_share: float = Field(default=0.35, title="Share of beds with a raised backrest", ge=0, le=1)
    backrest_deg: Span = Field(default=(25.0, 60.0), title="Angle of a raised backrest (degrees)")

    light_presets: dict[str, float] = Field(
        default_factory=lambda: dict(PRESETS), title=f"Weights of the light presets {', '.join(PRESETS)}"
    )

    age_years: Span = Field(default=(3.0, 95.0), title="Ages of patients in a full-length bed (years)")
    infant_share: float = Field(default=0.0, title="Share of patients who are infants in a cot", ge=0, le=1)

    nobody_share: float = Field(default=0.0, title="Share of pictures that show nobody", ge=0, le=1)
    open_room_share: float = Field(default=0.0, title="Share of pictures of a room without a bed", ge=0, le=1)
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

    plate_share: float = Field(default=0.6, title="Share of ward pictures composed into a plate", ge=0, le=1)
    background_share: float = Field(default=0.5, title="Share of pictures composed into a photograph", ge=0, le=1)

    sensor: SensorSettings = Field(default_factory=SensorSettings, title="Sensor")

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


_LIMITS: Mapping[str, Span] = {
    "horizontal_fov_deg": (20, 130), "azimuth_deg": (-360, 360), "elevation_deg": (0, 85),
    "open_elevation_deg": (-20, 85), "distance_m": (0.7, 12),
    "roll_deg": (-180, 180), "bed_height_m": bounds.BED_HEIGHT_M, "blanket_coverage": (0, 1),
    "backrest_deg": (5, bounds.BACKREST_DEG.most), "age_years": (COT_YEARS, 100),
}  # fmt: skip
