"""What the pictures are made of, one ingredient left out at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from synth.pose.clinical import make_pose
from synth.pose.make_bank import RECIPE, bank_arrays, write_bank
from synth.scenario import Scenario
from synth.sensor import SensorSettings

# A sensor that adds nothing: as exposed, in focus, without noise.
PERFECT_SENSOR = SensorSettings(
    exposure_ev=(0.0, 0.0), auto_exposure=0.0, white_balance=(1.0, 1.0), contrast=(1.0, 1.0), noise=(0.0, 0.0),
    shot_noise=(0.0, 0.0), blur_px=(0.0, 0.0), motion_blur_share=0.0, jpeg_quality=(95, 95),
)  # fmt: skip

PHYSICS = "without physics in bed"
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    PHYSICS: {},  # the poses' bank is a file of its own
    "without shadows": {"shadows": False},
    "without blankets": {"blanket_share": 0.0},
    "without photo backgrounds": {"backgrounds": ""},
    "without the sensor model": {"sensor": PERFECT_SENSOR},
    "one person at one distance": {"bystander_weights": (1.0,), "distance_m": (2.5, 2.5)},
    "without people on the floor": {"fallen_share": 0.0},
}


def without(ingredient: str, scenario: Scenario, folder: Path) -> Scenario | None:
    """The scenario less one of `ABLATIONS`, None where it has none of it; files that this needs go into `folder`."""
    changes = dict(ABLATIONS[ingredient])
    if ingredient == PHYSICS:
        changes["pose_bank"] = str(_unsettled_bank(folder / "unsettled.npz"))
    less = scenario.having(**changes)
    return None if less == scenario else less


def _unsettled_bank(path: Path, count: int = 400) -> Path:
    """Postures straight from their joints' ranges: nothing fell, nothing touched."""
    rng = np.random.default_rng(0)
    rows = [
        (entry.name, entry.backrest_deg, make_pose(rng, *entry.target(rng)))
        for entry in RECIPE
        for _ in range(round(entry.share * count))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bank(path, bank_arrays(rows))
    return path
