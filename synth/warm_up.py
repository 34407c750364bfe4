"""Prepares what is slow the first time: the body model's cache and the compiled renderer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synth.scenario import Scenario


def occupied_bed() -> Scenario:
    """A scenario whose every picture shows somebody under a blanket: in a room with nobody no body would be made."""
    from synth.scenario import load_scenario

    certain = {"patient_share": 1.0, "blanket_share": 1.0, "open_room_share": 0.0, "floor_share": 0.0,
               "nobody_share": 0.0}  # fmt: skip
    return load_scenario("C").having(**certain, parts={})


def main() -> None:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from synth.dataset import DatasetSpec, make_dataset

    with TemporaryDirectory() as folder:
        make_dataset(DatasetSpec(scenario=occupied_bed(), count=1, seed=0), Path(folder) / "warm-up", workers=1)


if __name__ == "__main__":
    main()
