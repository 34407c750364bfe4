"""Does what the engine makes carry over to real people? Tuned on synthetic images, scored on photographs.

A detector is judged by how it boxes real people; a pose model on photographs upright and turned, as if their people
lay, and on synthetic people of wards it was not tuned on.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Protocol

from calibration.atomic import write_text
from calibration.errors import WardposeError
from calibration.file_digest import sha256_of
from calibration.progress import Progress
from synth.dataset import DatasetSpec, make_dataset
from synth.scenario import Scenario, load_scenario
from tuning.export import export_onnx
from tuning.families.family import TuneSettings, tune
from tuning.store.card import read_card
from tuning.study.ablations import ABLATIONS, without
from tuning.study.gains import Runs, Score, gains
from tuning.study.mixed import mix
from tuning.study.posed_people import PoseJudge, read_posed_columns
from tuning.study.real_people import DetectorJudge, Sets, read_columns

Task = Literal["detect", "pose"]
SCENARIO = "base"
DETECTOR_SIZE = 416
NOTE = "carry-over.json"


class Judge(Protocol):
    def score(self, onnx: Path, progress: Progress | None = None) -> Mapping[str, Score]: ...


def run(
    images: int = 2300,
    *,
    model: Path,
    sets: Sets,
    task: Task = "detect",
    scenario: str = SCENARIO,
    data: Path | None = None,
    held_out: int = 200,
    alphas: Sequence[float] = (),
    ablations: bool = False,
    orders: int = 1,
    size: int | None = None,
    seed: int = 0,
    work: Path | None = None,
    workers: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Tune the model in the folder `model` by its family's default recipe and score it before and after.

    images: pictures made of `scenario`; or the COCO folder `data` is taken as it is. sets: COCO files of photographs by
    name, a pose model's with keypoints. held_out: pictures of `scenario` in other wards, a pose model is scored on as
    well. size: side of square pictures in pixels, and of a detector's input (default 416); a pose model's pictures are
    otherwise the scenario's, since crops lose by small ones. alphas: weights so far on the way from the base to the
    tuned model are scored as well. orders: train this many times, on the same pictures in another order each time;
    figures are means over these runs, since one alone is known to a few points only.
    work: a folder to keep everything in; what is there already is not made again, and one of other pictures, another
    model or seed is refused. workers, threads: for making the images and for training, default one a core.
    ablations: leave out one ingredient of the scenario at a time as well, with the same seed and count.
    Returns {"before": {column: figures}, "tuned": {name: {column: figures with difference, interval and p}}}; an
    ablation's differences are from the whole scenario, so that a minus says what the ingredient brought.
    """
    if orders < 1:
        raise WardposeError(f"orders must be 1 or more, got {orders}", where="bench carry-over", mend="leave it out")
    if (found := read_card(model).task) != task:
        raise WardposeError(f"{model.name} is for the task {found}", where="bench carry-over", mend=f"--task {found}")
    side = None  # of the model's input: a pose model's is its own
    if task == "detect":
        side = size = size or DETECTOR_SIZE
    with ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wardpose-carry-over-")))
        maker = _Pictures(folder, size, workers, progress)
        whole = load_scenario(scenario)
        _claim(folder, {
            "model": read_card(model).sha256, "scenario": whole.model_dump(mode="json"), "images": images, "seed": seed,
            "size": size, "data": sha256_of(data / "annotations.json") if data else None,
        })  # fmt: skip
        if task == "detect":
            judge: Judge = DetectorJudge(read_columns(sets), threads)
        else:
            columns = read_posed_columns(sets)
            if held_out:  # after the photographs were read: a mistake in them is told before hours of work
                other_wards = maker.make("held-out", whole, held_out, seed + 1)
                columns += read_posed_columns({"synthetic": (other_wards / "annotations.json", None)})
            judge = PoseJudge(columns, threads)
        settings = TuneSettings(width=side, height=side, seed=seed, threads=threads)
        bench = _Bench(folder, model, judge, settings, orders, progress)
        before = {name: [found] for name, found in bench.scored(model, "before").items()}
        after = bench.tuned("tuned", data or maker.make("images", whole, images, seed), alphas)
        result: dict[str, Any] = {
            "before": {name: _rounded(found.figures) for name, (found,) in before.items()},
            "tuned": {"everything": gains(before, after[1.0])},
        }
        for alpha in alphas:
            result["tuned"][f"everything, alpha {alpha}"] = gains(before, after[alpha])
        for ingredient in ABLATIONS if ablations else ():
            less = without(ingredient, whole, folder)
            if less is not None:
                name = ingredient.replace(" ", "-")
                tuned = bench.tuned(f"{name}-tuned", maker.make(name, less, images, seed))
                result["tuned"][ingredient] = gains(after[1.0], tuned[1.0])
    return result


def _claim(folder: Path, asked: dict[str, Any]) -> None:
    """Note in the folder what the pictures and models in it come from; WardposeError where that is something else."""
    note, mark = folder / NOTE, json.dumps(asked, sort_keys=True)
    if note.is_file() and note.read_text(encoding="utf-8") == mark:
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise WardposeError(
            "holds what another model, other pictures or another seed came to", where=str(folder),
            mend="name another folder with --work",
        )  # fmt: skip
    write_text(note, mark)


class _Pictures:
    """Data sets in one folder; what is there already is not made again."""

    def __init__(self, folder: Path, size: int | None, workers: int | None, progress: Progress | None) -> None:
        self._folder, self._size, self._workers, self._progress = folder, size, workers, progress

    def make(self, name: str, scenario: Scenario, count: int, seed: int) -> Path:
        """A data set, of square pictures where a size is given."""
        if self._size is not None:
            scenario = scenario.model_copy(update={"width": self._size, "height": self._size})
        out = self._folder / name
        spec = DatasetSpec(scenario=scenario, count=count, seed=seed)
        make_dataset(spec, out, resume=out.exists(), workers=self._workers, progress=self._progress)
        return out


class _Bench:
    """Every model made on the way lies in one folder; what is there already is not made again."""

    def __init__(
        self, folder: Path, model: Path, judge: Judge, settings: TuneSettings, orders: int, progress: Progress | None
    ) -> None:
        self._folder, self._model, self._judge, self._settings = folder, model, judge, settings
        self._orders, self._progress = orders, progress

    def tuned(self, name: str, data: Path, alphas: Sequence[float] = ()) -> dict[float, dict[str, Runs]]:
        """The figures of the model tuned on a data set, once for each order, by alpha and column."""
        runs: dict[float, dict[str, Runs]] = {alpha: {} for alpha in (1.0, *alphas)}
        for order in range(self._orders):
            out = self._folder / (f"{name}-{order}" if order else name)
            if not out.exists():
                settings = self._settings.model_copy(update={"seed": self._settings.seed + order})
                tune(self._model, data, out, settings, self._progress)
            for alpha, by_column in runs.items():
                model = out if alpha == 1 else self._folder / f"{out.name}-alpha-{alpha}"
                if not model.exists():
                    mix(self._model, out, alpha, model)
                for column, found in self.scored(model, model.name).items():
                    by_column.setdefault(column, []).append(found)
        return runs

    def scored(self, model: Path, name: str) -> Mapping[str, Score]:
        """The model's figures on every column, exported for the size it is tuned at."""
        onnx = self._folder / f"{name}.onnx"
        export_onnx(model, onnx, width=self._settings.width, height=self._settings.height)
        return self._judge.score(onnx, self._progress)


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in figures.items()}
