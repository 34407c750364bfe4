"""What the pictures are made of, one ingredient left out at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth.scenario import Scenario
from synth.sensor import SensorSettings

# A sensor that adds nothing: as exposed, in focus, without noise.
PERFECT_SENSOR = SensorSettings(
    exposure_ev=(0.0, 0.0), auto_exposure=0.0, white_balance=(1.0, 1.0), contrast=(1.0, 1.0), noise=(0.0, 0.0), shot_noise=(0.0, 0.0),
    blur_px=(0.0, 0.0), motion_blur_share=0.0, jpeg_quality=(95, 95),
)  # fmt: skip

ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "without shadows": {"shadows": False},
    "without blankets": {"blanket_share": 0.0},
    "without the sensor model": {"sensor": PERFECT_SENSOR},
    "one person at one distance": {"bystander_weights": (1.0,), "distance_m": (2.5, 2.5)},
    "without people on the floor": {"fallen_share": 0.0},
    "beds only": {"open_room_share": 0.0},
}


def without(ingredient: str, scenario: Scenario) -> Scenario:
    """The scenario with one of `ABLATIONS` left out."""
    return scenario.model_copy(update={**ABLATIONS[ingredient], "name": scenario.name})
