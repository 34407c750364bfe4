"""Does what the engine makes carry over to real people? One epoch on synthetic images, scored on photographs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_people import Column, Sets, read_columns, score
from calibration.errors import WardposeError
from tuning.evaluate.report import Evaluation, open_for_evaluation
from tuning.evaluate.statistics import compare

Progress = Callable[[int, int, str], None]
SCENARIO = "base"


def run(
    images: int = 2300,
    *,
    model: Path,
    sets: Sets,
    scenario: str = SCENARIO,
    data: Path | None = None,
    alphas: Sequence[float] = (1.0,),
    size: int = 416,
    seed: int = 0,
    work: Path | None = None,
    workers: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Tune the detector in the folder `model` for one epoch by the default recipe and score it before and after.

    images: square pictures of `size` px made of `scenario`; or the COCO folder `data` is taken as it is. sets: COCO
    files of photographs by name. alphas: how far from the base's weights to the tuned ones the scored models stand.
    work: a folder to keep everything in; what is there already is not made again. workers, threads: for making the
    images and for training, default one a core.
    Returns {"before": {column: figures}, "tuned": {alpha: {column: figures with difference, interval and p}}}.
    """
    from tuning.train.trainer import TuneSettings, tune_detector

    columns = read_columns(sets)
    with ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wardpose-carry-over-")))
        if data is None:
            data = _make_images(folder / "images", scenario, images, size, seed, workers, progress)
        tuned = folder / "tuned"
        if not tuned.exists():
            tune_detector(model, data, tuned, TuneSettings(size=size, seed=seed, threads=threads), progress)
        before = _scored(model, folder / "before.onnx", columns, size, progress)
        result: dict[str, Any] = {"before": {name: found.figures() for name, found in before.items()}, "tuned": {}}
        for alpha in alphas:
            mixed = tuned if alpha == 1 else _mixed(model, tuned, folder / f"alpha-{alpha}", alpha)
            after = _scored(mixed, folder / f"alpha-{alpha}.onnx", columns, size, progress)
            result["tuned"][f"{alpha}"] = {name: gained(before[name], after[name]) for name in after}
    return result


def gained(before: Evaluation, after: Evaluation) -> dict[str, float]:
    """The figures after, and what the person score gained: its mean, 95 % interval and p of the Wilcoxon test."""
    found = compare(np.array(before.scores), np.array(after.scores), np.random.default_rng(0))
    return after.figures() | {
        "AP50_gained": round(after.AP50 - before.AP50, 4),
        "person_score_gained": round(found.difference, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "p": float(f"{found.p_wilcoxon:.2g}"),
    }


def _make_images(
    out: Path, scenario: str, count: int, size: int, seed: int, workers: int | None, progress: Progress | None
) -> Path:
    from synth.dataset import DatasetSpec, make_dataset
    from synth.scenario import load_scenario

    chosen = load_scenario(scenario).model_copy(update={"width": size, "height": size})
    spec = DatasetSpec(scenario=chosen, count=count, seed=seed)
    make_dataset(spec, out, resume=out.exists(), workers=workers, progress=progress)
    return out


def _scored(
    model: Path, onnx: Path, columns: list[Column], size: int, progress: Progress | None
) -> dict[str, Evaluation]:
    from tuning.export import export_onnx

    export_onnx(model, onnx, width=size, height=size)
    return score(open_for_evaluation(onnx), columns, progress)


def _mixed(model: Path, tuned: Path, out: Path, alpha: float) -> Path:
    """The model folder `out`: weights `alpha` of the way from `model` to `tuned`."""
    from tuning.card import read_card
    from tuning.train.save import save_model
    from tuning.train.torch_loop import interpolate
    from tuning.weights import read_weights

    if not 0 <= alpha <= 1:
        raise WardposeError(f"alpha {alpha} is not within 0 … 1", where="bench carry-over", mend="give such as 0.5")
    if not out.exists():
        before, after = (read_weights(folder, read_card(folder)) for folder in (model, tuned))
        save_model(out, interpolate(before, after, alpha), read_card(tuned))
    return out
