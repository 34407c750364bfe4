"""What a study's pictures show: the sets to tune on, the wards to score on, and what "off target" can mean.

Every scenario of a comparison differs from its fellows in the one thing that is compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth.scenario import NAMED, Scenario

# Rooms, bodies, clothes and poses are drawn anew for each seed; a target's is far from any that is trained with.
TRAINING_SEED, TARGET_SEED = 0, 2_000_000_029
# The light is another too: no set shows any that a target has.
_TRAINING_LIGHT = {"ceiling": 0.4, "mixed": 0.25, "paper": 0.2, "lamp": 0.15}
_TARGET_LIGHT = {"daylight": 0.5, "overcast": 0.35, "night": 0.15}
_VIEWS_PER_SCENE = 2  # as many people in every set of the same size

# The paper's sets and wards hold people in bed, and whoever stands beside it: nobody on the floor, no empty beds.
_IN_BED: Mapping[str, Any] = {"parts": {}, "floor_share": 0.0, "nobody_share": 0.0}
_RIGHT_SIDE = 90.0  # azimuth, degrees
_NARROW = 5.0  # half of the range of azimuths where it is a viewpoint's error that is studied


def training_set(of: str, **changes: Any) -> Scenario:
    """The paper's set B, C or D, and what it is changed to."""
    fixed = dict(_IN_BED) | {"light_presets": _TRAINING_LIGHT, "views_per_scene": _VIEWS_PER_SCENE}
    return NAMED[of].having(**fixed | changes)


def ward(scenario: int) -> Scenario:
    """The wards that scenario 1 or 2 is scored on: never trained on, one picture of each. As many people a picture as
    in the paper's real frames: 226 in 224, 339 in 210."""
    company = {1: (0.97, 0.03), 2: (0.5, 0.4, 0.1)}[scenario]
    fixed = dict(_IN_BED) | {"light_presets": _TARGET_LIGHT, "views_per_scene": 1, "bystander_weights": company}
    return NAMED[{1: "B", 2: "C"}[scenario]].having(name=f"ward-{scenario}", **fixed)


def narrow_ward() -> Scenario:
    """Wards from the bed's right side alone, give or take a few degrees."""
    return ward(1).having(name="ward-narrow", azimuth_deg=_about(_RIGHT_SIDE))


def off_target(degrees: float) -> Scenario:
    """A training set whose viewpoint is so many degrees off that of `narrow_ward`, towards the foot end."""
    return training_set("B", name=f"off-{degrees:g}", azimuth_deg=_about(_RIGHT_SIDE - degrees))


def backgrounds(folder: str | None) -> dict[str, Scenario]:
    """Set B before other backgrounds, by their kind; photographs where the site names a `folder` of them."""
    found = {"one-room": training_set("B", name="one-room", look_seed=1)}
    if folder is not None:
        for name, share in (("half-photographs", 0.5), ("photographs", 1.0)):
            found[name] = training_set("B", name=name, backgrounds=folder, background_share=share)
    return found


def arms() -> dict[str, Scenario]:
    """What a detector can be tuned on that is to find people who lie on floors, photographed from where people stand
    and cameras hang.

    right: such people, so seen. generic: people on their feet, in groups, from anywhere: what a set holds that knows of
    no target. steep: the people of `right` from under the ceiling: the viewpoint alone is wrong. ward: patients in bed
    from the foot end: place and posture are wrong as well.
    """
    right = NAMED["base"].having(parts={}, views_per_scene=_VIEWS_PER_SCENE)
    found = {
        "right": right,
        "generic": right.having(**NAMED["base"].parts["people"].changes),
        "steep": right.having(elevation_deg=(70.0, 85.0), open_elevation_deg=(70.0, 85.0)),
        "ward": NAMED["C"].having(parts={}, floor_share=0.0, views_per_scene=_VIEWS_PER_SCENE),
    }
    return {name: scenario.having(name=name) for name, scenario in found.items()}


def _about(azimuth: float) -> tuple[float, float]:
    return azimuth - _NARROW, azimuth + _NARROW
