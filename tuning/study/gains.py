"""What a tuning brought: figures after, and the gain of each person tested against before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tuning.evaluate.statistics import compare


@dataclass(frozen=True, slots=True)
class Score:
    """A model on one column of people. figures: by name; people: what each person came to, by annotation id, whose mean
    is the figure called `mean`."""

    figures: Mapping[str, float]
    people: Mapping[int, float]
    mean: str


Runs = list[Score]  # of one column, one for each order of the pictures


def gains(before: Mapping[str, Runs], after: Mapping[str, Runs]) -> dict[str, dict[str, float]]:
    """`gained` of every column."""
    return {name: gained(before[name], after[name]) for name in after}


def gained(before: Runs, after: Runs) -> dict[str, float]:
    """The figures after, and what the people's mean gained, with its 95 % interval and p.

    Several runs count by their means, each person's too; `spread` is then the standard deviation of the people's mean
    from run to run.
    """
    found = compare(_each(before), _each(after))
    by_run = np.array([np.mean(list(run.people.values())) for run in after])
    figures = {name: np.mean([run.figures[name] for run in after]) for name in after[0].figures}
    earlier = np.mean([run.figures["AP50"] for run in before])
    return {name: round(float(value), 4) for name, value in figures.items()} | {
        "AP50_gained": round(float(figures["AP50"] - earlier), 4),
        f"{after[0].mean}_gained": round(found.difference, 4),
        "low": round(max(found.low, -1.0), 4),  # one person alone leaves everything open that scores can do
        "high": round(min(found.high, 1.0), 4),
        "p": float(f"{found.p:.2g}"),
        "spread": round(float(by_run.std(ddof=1)), 4) if len(by_run) > 1 else 0.0,
    }


def _each(runs: Runs) -> dict[int, float]:
    """Each person's mean over the runs; a KeyError where a run was shown others."""
    return {person: float(np.mean([run.people[person] for run in runs])) for person in runs[0].people}
