"""What a study found, asked for by what was tuned on what and scored where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuning.evaluate.significance import cluster_bootstrap, paired_t, signed_rank
from tuning.study.cells import Boxes, Model, Skeletons, Tuning
from tuning.study.ledger import Study
from tuning.study.workshop import EVERYBODY

# One scoring: `figures` by name, and of each person, by annotation id, what it is compared by and the scene.
Run = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What two ways come to on the same people. before, after, difference: means; low, high: 95 % bootstrap interval
    of the difference over scenes; p_t, p_wilcoxon: of the paired t-test and the signed-rank test; people, scenes:
    counted; trainings: each one's mean after, whose spread no test over people sees."""

    before: float
    after: float
    difference: float
    low: float
    high: float
    p_t: float
    p_wilcoxon: float
    people: int
    scenes: int
    trainings: tuple[float, ...]

    @property
    def spread(self) -> float | None:
        """Standard deviation from training to training; None of one alone."""
        return float(np.std(self.trainings, ddof=1)) if len(self.trainings) > 1 else None


def change(before: Sequence[Run], after: Sequence[Run], of: str = "people") -> Change:
    """How the people of one target changed; several runs count by each person's mean over them.

    of: the entry of a run that holds each person's value.
    """
    was, became = (_each(runs, of) for runs in (before, after))
    people = sorted(was)
    difference = {person: became[person] - was[person] for person in people}
    interval = cluster_bootstrap(
        {int(p): d for p, d in difference.items()}, {int(p): s for p, s in _scenes(before).items()}
    )
    a, b = ([values[person] for person in people] for values in (was, became))
    return Change(
        before=float(np.mean(a)), after=float(np.mean(b)), difference=interval.mean, low=interval.low,
        high=interval.high, p_t=paired_t(a, b).p if len(a) > 1 else 1.0, p_wilcoxon=signed_rank(a, b).p,
        people=len(people), scenes=interval.scenes,
        trainings=tuple(float(np.mean(list(run[of].values()))) for run in after),
    )  # fmt: skip


def figure(runs: Sequence[Run], name: str) -> float:
    """The mean of a figure over runs."""
    return float(np.mean([run["figures"][name] for run in runs]))


@dataclass(frozen=True, slots=True)
class Findings:
    """A study's results by what they are about."""

    study: Study

    def detectors(self) -> list[str]:
        return list(dict.fromkeys(cell.model.name for cell in self._cells(Boxes)))

    def poses(self) -> list[str]:
        return list(dict.fromkeys(cell.pose.name for cell in self._cells(Skeletons)))

    def targets(self) -> list[str]:
        return list(dict.fromkeys(cell.target for cell in self._cells(Boxes)))

    def tuned_on(self, detector: str, target: str) -> list[str]:
        """The sets that the detector was tuned on, for one epoch or what its recipe says, and scored on the target."""
        found = (self.tuning(cell.model) for cell in self._cells(Boxes)
                 if cell.target == target and cell.model.name == detector)  # fmt: skip
        return list(dict.fromkeys(tuning.data for tuning in found if tuning is not None and tuning.epochs is None))

    def epochs(self, detector: str, data: str) -> list[int]:
        """For how many epochs other than its recipe's the detector was tuned on a set."""
        cells = (cell for cell in self._cells(Tuning) if (cell.model.name, cell.data) == (detector, data))
        return sorted({cell.epochs for cell in cells if cell.epochs is not None})

    def recipe_epochs(self, detector: str, data: str) -> int:
        """For how many epochs its own recipe tunes the detector."""
        cells = (cell for cell in self._cells(Tuning) if (cell.model.name, cell.data) == (detector, data))
        made = next(self.study.results[cell.name]["made"] for cell in cells if cell.epochs is None)
        return int(made.get("recipe", {}).get("epochs", 1))

    def columns(self, target: str) -> list[str]:
        """The parts of a target's people that were counted by themselves."""
        cell = next(cell for cell in self._cells(Boxes) if cell.target == target)
        return list(self.study.results[cell.name])

    def images(self, data: str) -> int:
        """How many pictures a set has."""
        return int(self.study.results[data]["images"])

    def boxes(
        self, detector: str, data: str | None, target: str, column: str = EVERYBODY, epochs: int | None = None
    ) -> list[Run]:
        """One run for each training on `data`; without it, of the detector as it came."""
        return [
            self.study.results[cell.name][column]
            for cell in self._cells(Boxes)
            if (cell.model.name, cell.target) == (detector, target) and self._is(cell.model, data, epochs)
        ]

    def skeletons(
        self, pose: str, data: str | None, detector: str | None, boxes: str | None, target: str
    ) -> list[Run]:  # fmt: skip
        """The pose model tuned on `data` in the boxes of the detector tuned on `boxes`; without a detector, in the true
        ones."""
        return [
            self.study.results[cell.name]
            for cell in self._cells(Skeletons)
            if (cell.pose.name, cell.target) == (pose, target)
            and self._is(cell.pose, data, None)
            and (cell.detector is None if detector is None else self._found_by(cell, detector, boxes))
        ]

    def tuning(self, model: Model) -> Tuning | None:
        """The cell that made a model, None of one of the box."""
        return next((cell for cell in self._cells(Tuning) if cell.name == model.tuned), None)

    def _found_by(self, cell: Skeletons, detector: str, boxes: str | None) -> bool:
        return cell.detector is not None and cell.detector.name == detector and self._is(cell.detector, boxes, None)

    def _is(self, model: Model, data: str | None, epochs: int | None) -> bool:
        tuning = self.tuning(model)
        if tuning is None or data is None:
            return tuning is None and data is None
        return (tuning.data, tuning.epochs) == (data, epochs)

    def _cells(self, kind: type[Any]) -> list[Any]:
        return [cell for cell in self.study.plan.cells if isinstance(cell, kind)]


def _each(runs: Sequence[Run], of: str) -> dict[str, float]:
    """Each person's mean over the runs; a KeyError where a run was shown others."""
    return {person: float(np.mean([run[of][person] for run in runs])) for person in runs[0][of]}


def _scenes(runs: Sequence[Run]) -> Mapping[str, str]:
    scenes: Mapping[str, str] = runs[0]["scenes"]
    return scenes
