"""The work itself, one function a kind: commands and terminal UI ask the service for it as a job.

Each takes the site, parameters as plain values (so that a job can be stored) and `progress(done, total, note)`, and
returns figures for JSON. An exception from `progress` ends the work with what is finished kept.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from appliance.jobs import datasets
from appliance.jobs.store import JobKind, JobStore
from appliance.models import tries
from appliance.models.store import EXPORT_REPORT, ModelStore
from appliance.models.use import export_checked, score, score_pose
from appliance.site import intents
from appliance.site.database import now
from appliance.site.folder import SiteFolder
from appliance.site.settings import TuningSettings, load_settings
from calibration.atomic import require_file_place
from calibration.errors import WardposeError
from calibration.places import named_place
from calibration.progress import Progress

if TYPE_CHECKING:
    from tuning.families.family import TuneSettings

# What the statistics want of every person and picture, and a table does not.
_EACH = frozenset({"scores", "covered", "alarms", "oks", "seen", "cm", "precision50", "precision75"})


def synthesise(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Make a data set. Parameters: scenario, count, seed, out (default: named after them in the site), renderer,
    resume."""
    from synth.dataset import make_dataset

    spec, own = datasets.training_set(site, parameters)
    out = Path(parameters["out"]) if parameters.get("out") else own
    # A job that was cut off is given again with the same parameters: it goes on by itself.
    resume = bool(parameters.get("resume", False)) or not parameters.get("out")
    workers = load_settings(site).synthesis.workers or None
    with datasets.making(site, out, spec):
        summary = make_dataset(spec, out, resume=resume, workers=workers, progress=progress)
    return {"images": summary.images, "seconds": summary.seconds, "out": str(out), "seed": spec.seed}


def tune(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Tune a model on a data set. Parameters: model (base; default the site's own for the task), task, data (folder;
    default the newest) or data_of (the job that makes it), name (of the new model), recipe (wardpose, paper),
    final_rate, final_batch, epochs, minutes, batch, rate, seed, processes, width and height (of its input)."""
    from tuning.coco_folder import read_people
    from tuning.families.together import tune_together
    from tuning.gate.leaks import write_trained_on

    settings, store = load_settings(site).tuning, ModelStore(site)
    task = str(parameters.get("task") or "detect")
    base = str(parameters.get("model") or base_model(site, task))
    data = _folder(_data(site, parameters))
    name = str(parameters.get("name") or free_name(store, f"{base}-{data.name}"))
    store.verify(base)
    chosen = _tuning(settings, parameters)
    begin = time.monotonic()
    asked = str(parameters["task"]) if parameters.get("task") else None
    with store.adding(name, origin=f"tuned from {base} on {data.name}") as folder:
        card = tune_together(store.folder(base), data, folder, chosen, progress, task=asked)
        pictures = read_people(data / "annotations.json")
        write_trained_on(folder, (picture.path for picture in pictures))
    return {
        "name": name, "model": name, "task": card.task, "base": base, "data": str(data),
        "images": len(pictures), "width": card.width, "height": card.height,
        "seconds": time.monotonic() - begin,
    }  # fmt: skip


def _tuning(settings: TuningSettings, parameters: Mapping[str, Any]) -> TuneSettings:
    """What was asked for, before what the site's settings say; of the paper's recipe those change nothing."""
    from tuning.families.family import TuneSettings

    own: dict[str, Any] = {"longer_side": settings.image_size or None}
    if parameters.get("recipe") != "paper":
        frozen = None if settings.freeze < 0 else settings.freeze
        own |= {"epochs": settings.epochs, "batch": settings.batch or None, "frozen_layers": frozen}
        own |= {"learning_rate": settings.learning_rate or None}
    names = {name: name for name in TuneSettings.model_fields} | {"rate": "learning_rate"}
    asked = {names[key]: value for key, value in parameters.items() if key in names and value is not None}
    try:
        return TuneSettings(**own | asked)
    except ValidationError as error:
        first = error.errors()[0]
        raise WardposeError(f"{first['loc'][0]}: {first['msg']}", where="tune", mend="leave it out") from None


def evaluate(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Score a model on labelled pictures. Parameters: model, data (COCO JSON), images (folder), keypoints, pose,
    boxes (truth, detected), turn (0, 90, 180, 270), width and height (of the detector's input; default its card's); and
    those of `reporting.report`, where groups, against or report is given."""
    store = ModelStore(site)
    name = str(parameters.get("model") or store.live("detect"))
    card = store.card(name)
    data, images, turn = Path(parameters["data"]), parameters.get("images"), int(parameters.get("turn") or 0)
    if card.task == "pose" and not parameters.get("keypoints"):
        raise WardposeError(
            f"{name} is a pose model and finds nobody by itself", where="evaluate",
            mend="add --keypoints, or name a detector",
        )  # fmt: skip
    if parameters.get("report"):
        require_file_place(Path(parameters["report"]))
    tries.note(site, tries.set_identity(data, Path(images) if images else None), name)
    size = (parameters.get("width"), parameters.get("height"))
    if card.task == "pose" and parameters.get("boxes", "truth") == "truth":
        keypoints = score_pose(site, name, data, images, progress, turn_deg=turn)
        figures = {"images": keypoints.images, "keypoints": keypoints.model_dump(exclude={*_EACH, "images"})}
        answer = {"model": name, "width": card.width, "height": card.height} | figures
    else:
        detector = store.live("detect") if card.task == "pose" else name
        pose = None
        if parameters.get("keypoints") or parameters.get("pose"):
            pose = name if card.task == "pose" else str(parameters.get("pose") or store.live("pose"))
        evaluation = score(
            site, detector, data, images, progress, pose=pose, boxes=str(parameters.get("boxes") or "detected"),
            turn_deg=turn, width=size[0], height=size[1],
        )  # fmt: skip
        figures = evaluation.model_dump(exclude={*_EACH, "keypoints"}, exclude_none=True)
        if evaluation.keypoints is not None:
            figures["keypoints"] = evaluation.keypoints.model_dump(exclude={*_EACH, "images"}, exclude_none=True)
        own = store.card(detector)
        answer = {"model": name, "width": size[0] or own.width, "height": size[1] or own.height} | figures
    with site.database.transaction(immediate=True) as db:
        db.execute(
            "INSERT INTO runs (made_at, kind, model, data, figures) VALUES (?, 'evaluate', ?, ?, ?)",
            (now(), name, str(parameters["data"]), json.dumps(figures)),
        )
    if any(parameters.get(asked) for asked in ("groups", "against", "report")):
        from appliance.jobs.reporting import report

        answer |= report(site, {**parameters, "model": name}, progress)
    return answer


def export(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write a model as ONNX, checked by the trained one. Parameters: model, engine (onnx, tensorrt), width, height."""
    name, engine = str(parameters["model"]), str(parameters.get("engine") or "onnx")
    result: dict[str, Any] = {"model": name, "engine": engine}
    made = site.models / name / EXPORT_REPORT  # written last
    with intents.intend(site, "model.export", name, engine, made=made):
        path = _export(site, name, engine, parameters, result, progress)
    return result | {"onnx": str(path)}


def _export(
    site: SiteFolder, name: str, engine: str, parameters: Mapping[str, Any], result: dict[str, Any], progress: Progress
) -> Path:
    store = ModelStore(site)
    if store.card(name).format == "onnx":
        store.verify(name)  # an imported ONNX file is its own export
    else:
        report = export_checked(site, name, progress, width=parameters.get("width"), height=parameters.get("height"))
        result |= {
            "max_error": report.max_error if report.compared else None,
            "width": report.width,
            "height": report.height,
        }
    path = store.onnx(name)
    assert path is not None
    if engine == "tensorrt":
        from runtime.engines.engine import open_engine

        progress(0, 1, "building the TensorRT engine on this box")
        progress(1, 1, open_engine(path, prefer="tensorrt").name)
    return path


def promote(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Put a model through the gate. Parameters: model, reason, data (held-out COCO JSON), images, fresh, upright, floor
    (other ones)."""
    from appliance.jobs.promotion import decide

    return decide(site, parameters, progress)


def take_in(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Take in foreign weights without executing anything they carry. Parameters: file, name, architecture, licence,
    width and height (of its input), layout and person_class (of its output)."""
    path = Path(parameters["file"])
    if not path.exists():
        raise WardposeError("no such file", where=str(path), mend="give the path of a weights file")
    progress(0, 0, "reading the weights")
    card = ModelStore(site).import_file(
        path, str(parameters["name"]), architecture=parameters.get("architecture"),
        licence=str(parameters.get("licence") or "unknown"), width=parameters.get("width"),
        height=parameters.get("height"), layout=parameters.get("layout"), person_class=parameters.get("person_class"),
    )  # fmt: skip
    return {
        "model": card.name, "architecture": card.architecture, "task": card.task, "sha256": card.sha256,
        "width": card.width, "height": card.height,
    }  # fmt: skip


def build(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Make a model of random weights. Parameters: architecture, name, width and height (of its input), seed."""
    from tuning.import_model import build_model

    store, name = ModelStore(site), str(parameters["name"])
    progress(0, 0, "drawing random weights")
    with store.adding(name, origin="built of random weights") as folder:
        card = build_model(
            str(parameters["architecture"]),
            folder.parent,
            name,
            width=parameters.get("width"),
            height=parameters.get("height"),
            seed=int(parameters.get("seed") or 0),
        )
    return {"model": name, "architecture": card.architecture, "task": card.task, "width": card.width,
            "height": card.height, "sha256": card.sha256}  # fmt: skip


def fetch(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Get the models trained on photographs. Parameters: source (the package as a file; default: the registry)."""
    from appliance.models.fetch import fetch as fetch_models

    source = named_place(parameters["source"]) if parameters.get("source") else None
    return {"added": fetch_models(site, source, lambda told: progress(0, 0, told))}


def base_model(site: SiteFolder, task: str) -> str:
    """The model that tuning for `detect` or `pose` starts from: the site's setting; where that is the default and this
    box has not got it, what the box starts with. Raises `WardposeError` where there is none."""
    store, settings = ModelStore(site), load_settings(site).tuning
    wanted, default = (
        (settings.base, TuningSettings().base) if task == "detect" else (settings.pose_base, TuningSettings().pose_base)
    )
    try:
        store.folder(wanted)
        return wanted
    except WardposeError:
        if wanted != default:
            raise
    if start := store.start(task):
        return start
    kind = {"detect": "detector", "pose": "pose model"}[task]
    raise WardposeError(f"this box has no {kind} to start from", mend="get them: wardpose models fetch")


def free_name(store: ModelStore, wish: str, promised: Iterable[str] = ()) -> str:
    """`wish`, or `wish-2`, `wish-3` … when a model has that name or it is `promised` to one that is still to come."""
    taken = {model.name for model in store.all()} | set(promised)
    number, name = 1, wish[:90]
    while name in taken or (store.site.models / name).exists():
        number += 1
        name = f"{wish[:90]}-{number}"
    return name


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _whole(value: Any, default: int, name: str) -> int:
    """A count of at least one; raises `WardposeError` for any other."""
    number = int(_or(value, default))
    if number < 1:
        raise WardposeError(f"{number} {name} can't be done", mend=f"give --{name} 1 or more")
    return number


def _data(site: SiteFolder, parameters: Mapping[str, Any]) -> str | Path:
    if (number := parameters.get("data_of")) is None:
        return str(parameters.get("data") or datasets.newest(site))
    job = JobStore(site).get(int(number))
    if not (job.result or {}).get("out"):
        raise WardposeError(f"job {job.id} made no images: it is {job.state}", mend="resume that one, then this")
    return str((job.result or {})["out"])


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise WardposeError("no such folder", where=str(folder), mend="make a data set first: wardpose synth")
    return folder.absolute()


def preview(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Draw a data set's labels and write its card. Parameters: place, target, out, count, detector."""
    from appliance.jobs.preview import preview as draw

    target, out = (Path(parameters[name]) if parameters.get(name) else None for name in ("target", "out"))
    return draw(
        site, Path(parameters["place"]), target=target, out=out, count=int(_or(parameters.get("count"), 24)),
        detector=parameters.get("detector"), progress=progress,
    )  # fmt: skip


def base(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Make a base model from synthetic images alone. Parameters: those of `tuning.base_options`, out (folder; default:
    in the site), start (a model)."""
    from tuning.base import make_as_asked
    from tuning.base_options import TASKS, options_from

    store, options = ModelStore(site), options_from(parameters)
    target = Path(parameters["out"]) if parameters.get("out") else site.models / free_name(store, TASKS[options.task])
    start = store.folder(str(parameters["start"])) if parameters.get("start") else None
    adding = (
        store.adding(target.name, origin="made from synthetic images alone")
        if target.parent == site.models
        else contextlib.nullcontext()
    )
    with adding:
        card = make_as_asked(options, target, start, progress)
    return {"model": card.name, "out": str(target), "scores": card.scores}


JOB_KINDS = (
    JobKind("synth", "Making training images", synthesise),
    JobKind("tune", "Tuning", tune),
    JobKind("export", "Exporting", export),
    JobKind("evaluate", "Evaluating", evaluate),
    JobKind("promote", "Judging", promote),
    JobKind("import", "Importing a model", take_in, resumable=False, heavy=False),
    JobKind("build", "Building a model", build, resumable=False, heavy=False),
    JobKind("fetch", "Fetching models", fetch, heavy=False),
    JobKind("preview", "Drawing a data set", preview, heavy=False),
    JobKind("base", "Making a base model", base),
)
