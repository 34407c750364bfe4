"""Does what the engine makes carry over to real people? One epoch on synthetic images, scored on photographs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import WardposeError
from synth.dataset import DatasetSpec, make_dataset
from synth.scenario import Scenario, load_scenario
from tuning.evaluate.report import Evaluation, open_for_evaluation
from tuning.evaluate.statistics import compare
from tuning.export import export_onnx
from tuning.families.family import TuneSettings, tune
from tuning.store.card import read_card
from tuning.store.save import save_model
from tuning.store.weights import read_weights
from tuning.study.ablations import ABLATIONS, without
from tuning.study.real_people import Column, Sets, read_columns, score
from tuning.train.torch_state import interpolate

Progress = Callable[[int, int, str], None]
SCENARIO = "base"
Runs = list[Evaluation]  # of one column, one for each order of the pictures


def run(
    images: int = 2300,
    *,
    model: Path,
    sets: Sets,
    scenario: str = SCENARIO,
    data: Path | None = None,
    alphas: Sequence[float] = (),
    ablations: bool = False,
    orders: int = 1,
    size: int = 416,
    seed: int = 0,
    work: Path | None = None,
    workers: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Tune the detector in the folder `model` for one epoch by the default recipe and score it before and after.

    images: square pictures of `size` px made of `scenario`; or the COCO folder `data` is taken as it is. sets: COCO
    files of photographs by name. alphas: weights so far on the way from the base to
    the tuned model are scored as well. orders: train this many times, on the same pictures in another order each time;
    figures are means over these runs, since one alone is known to a few points only.
    work: a folder to keep everything in; what is there already is not made again. workers, threads: for making the
    images and for training, default one a core.
    ablations: leave out one ingredient of the scenario at a time as well, with the same seed and count.
    Returns {"before": {column: figures}, "tuned": {name: {column: figures with difference, interval and p}}}; an
    ablation's differences are from the whole scenario, so that a minus says what the ingredient brought.
    """
    if orders < 1:
        raise WardposeError(f"orders must be 1 or more, got {orders}", where="bench carry-over", mend="leave it out")
    columns = read_columns(sets)
    with ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wardpose-carry-over-")))
        settings = TuneSettings(width=size, height=size, seed=seed, threads=threads)
        bench = _Bench(
            folder, model, columns, settings, orders=orders, count=images, workers=workers, progress=progress
        )
        before = {name: [found] for name, found in bench.scored(model, "before").items()}
        whole = load_scenario(scenario)
        after = bench.tuned("tuned", data or bench.pictures("images", whole), alphas)
        result: dict[str, Any] = {
            "before": {name: found.figures() for name, (found,) in before.items()},
            "tuned": {"everything": _gains(before, after[1.0])},
        }
        for alpha in alphas:
            result["tuned"][f"everything, alpha {alpha}"] = _gains(before, after[alpha])
        for ingredient in ABLATIONS if ablations else ():
            less = without(ingredient, whole, folder)
            if less is not None:
                name = ingredient.replace(" ", "-")
                found = bench.tuned(f"{name}-tuned", bench.pictures(name, less))
                result["tuned"][ingredient] = _gains(after[1.0], found[1.0])
    return result


class _Bench:
    """Everything made on the way lies in one folder; what is there already is not made again."""

    def __init__(
        self, folder: Path, model: Path, columns: list[Column], settings: TuneSettings, *, orders: int, count: int,
        workers: int | None, progress: Progress | None,
    ) -> None:  # fmt: skip
        self._folder, self._model, self._columns, self._settings = folder, model, columns, settings
        self._orders, self._count, self._workers, self._progress = orders, count, workers, progress

    def pictures(self, name: str, scenario: Scenario) -> Path:
        """A data set of square pictures."""
        out, size = self._folder / name, self._settings.width
        square = scenario.model_copy(update={"width": size, "height": size})
        spec = DatasetSpec(scenario=square, count=self._count, seed=self._settings.seed)
        make_dataset(spec, out, resume=out.exists(), workers=self._workers, progress=self._progress)
        return out

    def tuned(self, name: str, data: Path, alphas: Sequence[float] = ()) -> dict[float, dict[str, Runs]]:
        """The figures of the model after one epoch on a data set, once for each order, by alpha and column."""
        runs: dict[float, dict[str, Runs]] = {
            alpha: {column.name: [] for column in self._columns} for alpha in (1.0, *alphas)
        }
        for order in range(self._orders):
            out = self._folder / (f"{name}-{order}" if order else name)
            if not out.exists():
                settings = self._settings.model_copy(update={"seed": self._settings.seed + order})
                tune(self._model, data, out, settings, self._progress, task="detect")
            for alpha, by_column in runs.items():
                model = out if alpha == 1 else self._mixed(out, alpha)
                for column, found in self.scored(model, model.name).items():
                    by_column[column].append(found)
        return runs

    def _mixed(self, tuned: Path, alpha: float) -> Path:
        """Weights `alpha` of the way from the base to a tuned model."""
        if not 0 <= alpha <= 1:
            raise WardposeError(f"alpha {alpha} is not within 0 … 1", where="bench carry-over", mend="give such as 0.5")
        out = self._folder / f"{tuned.name}-alpha-{alpha}"
        if not out.exists():
            before, after = (read_weights(folder, read_card(folder)) for folder in (self._model, tuned))
            save_model(out, interpolate(before, after, alpha), read_card(tuned))
        return out

    def scored(self, model: Path, name: str) -> dict[str, Evaluation]:
        """The model's figures on every column."""
        onnx, size = self._folder / f"{name}.onnx", self._settings.width
        export_onnx(model, onnx, width=size, height=size)
        return score(open_for_evaluation(onnx), self._columns, self._progress)


def _gains(before: dict[str, Runs], after: dict[str, Runs]) -> dict[str, dict[str, float]]:
    return {name: gained(before[name], after[name]) for name in after}


def gained(before: Runs, after: Runs) -> dict[str, float]:
    """The figures after, and what the person score gained: its mean, 95 % interval and p of the Wilcoxon test.

    Several runs count by their means, each person's score too; `spread` is then the standard deviation of the person
    score from run to run.
    """
    was, became = (np.mean([run.scores for run in runs], axis=0) for runs in (before, after))
    found = compare(was, became, np.random.default_rng(0))
    by_run = np.array([run.person_score for run in after])
    figures = {name: np.mean([run.figures()[name] for run in after]) for name in after[0].figures()}
    return {name: round(float(value), 4) for name, value in figures.items()} | {
        "AP50_gained": round(float(figures["AP50"] - np.mean([run.AP50 for run in before])), 4),
        "person_score_gained": round(found.difference, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "p": float(f"{found.p_wilcoxon:.2g}"),
        "spread": round(float(by_run.std(ddof=1)), 4) if len(by_run) > 1 else 0.0,
    }
