"""The work itself, as the commands do it at once and the terminal UI as jobs: one function a kind, the same for both.

Each takes the site, parameters as plain values (so that a job can be stored) and `progress(done, total, note)`, and
returns figures for JSON. An exception from `progress` ends the work with what is finished kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance import audit, calibrations
from appliance.database import now
from appliance.jobs import JobKind
from appliance.models import ModelStore
from appliance.settings import load_settings
from appliance.site_folder import SiteFolder
from calibration.errors import WardposeError

if TYPE_CHECKING:
    from runtime.detect import PersonDetector

Progress = Callable[[int, int, str], None]


def synthesise(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Make a data set. Parameters: scenario, count, seed, out (default: named after them in the site), resume."""
    from synth.dataset import DatasetSpec, make_dataset
    from synth.scenario import load_scenario

    settings = load_settings(site).synthesis
    name = str(parameters.get("scenario", "site"))
    count, seed = int(parameters.get("count") or settings.count), int(parameters.get("seed", settings.seed))
    if count < 1 or seed < 0:
        raise WardposeError(
            f"{count} images with seed {seed} can't be made", where="synth", mend="give --count ≥ 1 and --seed ≥ 0"
        )
    estimate = calibrations.current(site) if name == "site" else None
    scenario = load_scenario(name, estimate=estimate)
    out = Path(parameters["out"]) if parameters.get("out") else site.datasets / f"{scenario.name}-{count}-seed{seed}"
    # A job that was cut off is given again with the same parameters: it goes on by itself.
    resume = bool(parameters.get("resume", False)) or not parameters.get("out")
    spec = DatasetSpec(scenario=scenario, count=count, seed=seed)
    summary = make_dataset(spec, out, resume=resume, workers=settings.workers or None, progress=progress)
    _list_dataset(site, out, scenario.name, summary.images, seed)
    return {"images": summary.images, "seconds": summary.seconds, "out": str(out), "seed": seed}


def tune(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Tune a model on a data set. Parameters: model (base), data (folder), name (of the new model), epochs."""
    from tuning.train.trainer import TuneSettings, tune_detector, tune_pose

    settings, store = load_settings(site).tuning, ModelStore(site)
    base = str(parameters.get("model") or settings.base)
    data = _folder(parameters.get("data") or newest_dataset(site))
    name = str(parameters.get("name") or free_name(store, f"{base}-{data.name}"))
    folder = store.new_folder(name)
    card = store.card(base)
    chosen = TuneSettings(
        epochs=int(parameters.get("epochs") or settings.epochs), batch=settings.batch, size=settings.image_size,
        learning_rate=settings.learning_rate, frozen_layers=settings.freeze,
    )  # fmt: skip
    begin = time.monotonic()
    run = tune_detector if card.task == "detect" else tune_pose
    run(store.folder(base), data, folder, chosen, progress)
    store.enlist(name, origin=f"tuned from {base} on {data.name}")
    return {"model": name, "base": base, "data": str(data), "seconds": time.monotonic() - begin}


def evaluate(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Score a model on a COCO file. Parameters: model, data (JSON), images (folder), keypoints (with the live pose model)."""
    from tuning.evaluate.detector import evaluate_detector

    store = ModelStore(site)
    name = str(parameters.get("model") or store.live("detect"))
    data = Path(parameters["data"])
    images = Path(parameters["images"]) if parameters.get("images") else None
    detector = open_detector(site, name)
    evaluation = evaluate_detector(detector, data, images, progress)
    figures = dict(evaluation.figures)
    with site.database.transaction() as db:
        db.execute(
            "INSERT INTO runs (made_at, kind, model, data, figures) VALUES (?, 'evaluate', ?, ?, ?)",
            (now(), name, str(data), json.dumps(figures)),
        )
    return figures


def export(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write a model as ONNX and hold it against the trained one. Parameters: model, engine (onnx or tensorrt)."""
    from tuning.export import export_onnx

    store = ModelStore(site)
    name = str(parameters["model"])
    engine = str(parameters.get("engine") or "onnx")
    folder = store.folder(name)
    result: dict[str, Any] = {"model": name, "engine": engine}
    if store.card(name).format == "onnx":
        target = store.onnx(name)
        assert target is not None
    else:
        store.verify(name)
        target = store.export_path(name)
        report = export_onnx(folder, target, progress=progress)
        result |= {"max_error": report.max_error, "width": report.width, "height": report.height}
    if engine == "tensorrt":
        from runtime.engines.engine import open_engine

        progress(0, 1, "building the TensorRT engine on this box")
        built = open_engine(target, prefer="tensorrt")
        progress(1, 1, built.name)
    audit.record(site, "model.export", name, engine)
    return result | {"onnx": str(target)}


def promote(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Put a model through the gate. Parameters: model, data (held-out COCO JSON), images, upright (another COCO JSON)."""
    from appliance.promotion import judge

    return judge(site, parameters, progress)


def open_detector(site: SiteFolder, name: str, *, confidence: float = 0.001) -> PersonDetector:
    """The detector `name` for evaluation; it is exported first if it was not yet."""
    from runtime.detect import PersonDetector
    from runtime.engines.engine import open_engine

    return PersonDetector(open_engine(exported(site, name)), confidence=confidence, max_people=100)


def exported(site: SiteFolder, name: str, progress: Progress = lambda done, total, note: None) -> Path:
    """The ONNX file of a model, made now when there is none yet, or when the weights have changed since."""
    store = ModelStore(site)
    if store.onnx(name) is None:
        export(site, {"model": name}, progress)
    path = store.onnx(name)
    assert path is not None
    return path


def newest_dataset(site: SiteFolder) -> Path:
    """The folder of the data set that was made last; raises `WardposeError` when there is none."""
    with site.database.transaction() as db:
        row = db.execute("SELECT folder FROM datasets ORDER BY id DESC LIMIT 1").fetchone()
    if row is None:
        raise WardposeError("this site has no data set", mend="make one first: wardpose synth")
    return site.resolve(str(row["folder"]))


def datasets(site: SiteFolder) -> list[dict[str, Any]]:
    """The data sets of this site, the newest first."""
    with site.database.transaction() as db:
        rows = db.execute("SELECT * FROM datasets ORDER BY id DESC").fetchall()
    return [dict(row) | {"folder": str(site.resolve(str(row["folder"])))} for row in rows]


def free_name(store: ModelStore, wish: str) -> str:
    """`wish`, or `wish-2`, `wish-3` … when it is taken."""
    taken = {model.name for model in store.all()}
    number, name = 1, wish[:90]
    while name in taken or (store.site.models / name).exists():
        number += 1
        name = f"{wish[:90]}-{number}"
    return name


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise WardposeError("no such folder", where=str(folder), mend="make a data set first: wardpose synth")
    return folder.absolute()


def _list_dataset(site: SiteFolder, folder: Path, scenario: str, images: int, seed: int) -> None:
    stored = site.relative(folder)
    with site.database.transaction(immediate=True) as db:
        db.execute("DELETE FROM datasets WHERE folder = ?", (stored,))
        db.execute(
            "INSERT INTO datasets (made_at, folder, scenario, images, seed) VALUES (?, ?, ?, ?, ?)",
            (now(), stored, scenario, images, seed),
        )


JOB_KINDS = (
    JobKind("synth", "Making training images", synthesise),
    JobKind("tune", "Tuning", tune),
    JobKind("export", "Exporting", export),
    JobKind("evaluate", "Evaluating", evaluate),
    JobKind("promote", "Judging", promote),
)
