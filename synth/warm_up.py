"""Prepares what is slow the first time: the body model's cache and the compiled renderer."""

from __future__ import annotations


def main() -> None:
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from synth.dataset import DatasetSpec, make_dataset
    from synth.scenario import load_scenario

    with TemporaryDirectory() as folder:
        make_dataset(DatasetSpec(scenario=load_scenario("base"), count=1, seed=0), Path(folder) / "warm-up", workers=1)


if __name__ == "__main__":
    main()
