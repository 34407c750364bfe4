"""The gate as the site sees it: a model goes live only when it proves better than the one in use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.jobs import datasets
from appliance.live import takeover
from appliance.models.store import ModelStore
from appliance.models.use import export_checked, score, score_pose
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from calibration.progress import Progress

if TYPE_CHECKING:
    from tuning.export import ExportReport
    from tuning.gate import Judged

TARGET = "this bedside"


def decide(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Judge a model on held-out pictures and put it live if it passes; the decision is kept either way.

    Parameters: model; reason (why it is asked for); data and images (held-out pictures; default: simulated ones of this
    site); upright (a COCO file on which it must not get worse); floor (an annotations file of people on the floor, on
    which it must not either; default: simulated ones). Returns `{ok, model, task, accepted, reasons, live, before,
    after}`.
    """
    from tuning.gate import judge

    store = ModelStore(site)
    name = str(parameters["model"])
    card = store.card(name)
    current = store.opponent(name)
    if name == current:
        raise WardposeError(f"{name} has no other model to be better than", mend="see `wardpose models list`")
    store.verify(name)
    if parameters.get("data"):
        target = Path(parameters["data"])
        images = Path(parameters["images"]) if parameters.get("images") else None
    else:
        target, images = datasets.held_out(site, progress), None
    # A box that watches a bed must not go blind to its patient's fall.
    floor = Path(parameters["floor"]) if parameters.get("floor") else datasets.held_out_floor(site, progress)
    sets: dict[str, tuple[Path, Path | None]] = {TARGET: (target, images), "people on the floor": (floor, None)}
    if parameters.get("upright"):
        sets["upright"] = (Path(parameters["upright"]), None)
    report = _export_report(site, name, progress)
    look = _judged_detector if card.task == "detect" else _judged_pose
    after = {label: look(site, name, data, folder, progress) for label, (data, folder) in sets.items()}
    # A box without a pose model has none that a first one must beat.
    before = {label: look(site, current, data, folder, progress) for label, (data, folder) in sets.items() if current}
    verdict = judge(
        {label: judged for label, (judged, _) in after.items()},
        {label: judged for label, (judged, _) in before.items()} if current else None,
        report,
        target=TARGET,
    )
    figures = {"before": before[TARGET][1] if current else {}, "after": after[TARGET][1]}
    asked = {"asked": str(parameters["reason"])} if parameters.get("reason") else {}  # earlier versions' jobs say none
    reasons = {"reasons": verdict.reasons, **asked, **figures}
    was = store.live(card.task)
    store.record_promotion(name, accepted=verdict.passed, reasons=reasons, against=current)
    taken_over = takeover.follow(site, card.task, was)
    return {
        "ok": verdict.passed,
        "model": name,
        "task": card.task,
        "accepted": verdict.passed,
        "reasons": verdict.reasons,
        "live": store.live(card.task),
        "taken_over": taken_over,
        **figures,
    }


def _judged_detector(
    site: SiteFolder, name: str, data: Path, images: Path | None, progress: Progress
) -> tuple[Judged, dict[str, float]]:
    from tuning.coco_folder import read_people
    from tuning.gate import of_detector

    found = score(site, name, data, images, progress)
    return of_detector(found, read_people(data, images)), found.figures()


def _judged_pose(
    site: SiteFolder, name: str, data: Path, images: Path | None, progress: Progress
) -> tuple[Judged, dict[str, float]]:
    """On the true boxes, so that the detector in use has no say in it."""
    from tuning.coco_folder import read_people
    from tuning.gate import of_pose

    found = score_pose(site, name, data, images, progress)
    return of_pose(found, read_people(data, images)), found.figures()


def _export_report(site: SiteFolder, name: str, progress: Progress) -> ExportReport:
    from tuning.export import ExportReport

    store = ModelStore(site)
    card = store.card(name)
    if card.format != "onnx":
        return export_checked(site, name, progress)
    # An imported ONNX file is itself the model: there is nothing it could differ from.
    return ExportReport(
        path=str(store.onnx(name)), sha256=card.sha256, layout=card.layout, width=card.width, height=card.height,
        pictures=0, inputs="the model is the file", max_error=0.0, tolerance=1e-3,
    )  # fmt: skip
