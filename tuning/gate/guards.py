"""Whom a bed's box must not lose while it gets better at its own bed: pictures of each, simulated."""

from __future__ import annotations

from synth.dataset import DatasetSpec
from synth.scenario import Scenario, load_scenario

SEED = 2_000_000_011  # far from any seed a person would train with
FLOOR, UPRIGHT, LEANING = "people on the floor", "upright people", "clinicians leaning over"
EMPTY = "empty beds and rooms"
PLATES = "this very bed, empty (the site's plates)"
IMAGES = 40


def guard_names(task: str) -> list[str]:
    """The guard sets of a task's models: a pose model finds nobody, so that rooms without anybody say nothing of it."""
    return [FLOOR, UPRIGHT, LEANING, *([EMPTY] if task == "detect" else [])]


def guard_specs(bedside: Scenario | None = None) -> dict[str, DatasetSpec]:
    """The guard sets by name. bedside: the site's own scenario, where it has one: its bed is the one that must not be
    taken for a person, and over which clinicians lean."""
    base = load_scenario("base")
    bed = bedside or base
    floor = base.having(name="floor", open_room_share=1.0, fallen_share=0.7)
    upright = base.having(name="upright", open_room_share=1.0, fallen_share=0.0)
    leaning = bed.having(
        name="leaning", open_room_share=0.0, floor_share=0.0, nobody_share=0.0, patient_share=1.0, infant_share=0.0,
        touching_share=1.0,
    )  # fmt: skip
    empty = bed.having(name="empty", nobody_share=1.0, open_room_share=0.3)
    return {
        FLOOR: DatasetSpec(scenario=floor, count=IMAGES, seed=SEED),
        UPRIGHT: DatasetSpec(scenario=upright, count=IMAGES, seed=SEED),
        LEANING: DatasetSpec(scenario=leaning, count=IMAGES, seed=SEED),
        EMPTY: DatasetSpec(scenario=empty, count=IMAGES, seed=SEED),
    }
