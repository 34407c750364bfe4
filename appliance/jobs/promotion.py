"""The gate as the site sees it: a model goes live only when it proves better than the one in use."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.jobs import datasets
from appliance.jobs.probing import Confidence, probe
from appliance.live import takeover
from appliance.models import tries
from appliance.models.store import ModelStore
from appliance.models.use import export_checked, score, score_pose
from appliance.site import calibrations
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from calibration.progress import Progress

if TYPE_CHECKING:
    from tuning.coco_folder import Picture
    from tuning.evaluate.keypoints import KeypointFigures
    from tuning.evaluate.report import Evaluation
    from tuning.export import ExportReport
    from tuning.gate.judged import Judged

    Shown = Evaluation | KeypointFigures

TARGET, FRESH = "this bedside", "this bedside, drawn afresh"
Sets = dict[str, tuple[Path, Path | None]]


def decide(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Judge a model on held-out pictures and put it live if it passes; the decision is kept either way.

    Parameters: model; reason (why it is asked for); data and images (held-out pictures; default: simulated ones of this
    site); fresh (simulated ones that no candidate was tried on); upright (a COCO file on which it must not get worse,
    beside the guard sets); floor (an annotations file of people on the floor in place of simulated ones). Returns `{ok,
    model, task, accepted, reasons, live, before, after, evidence}`.
    """
    from tuning.coco_folder import read_people
    from tuning.gate.guards import guard_names
    from tuning.gate.leaks import digests
    from tuning.gate.verdict import judge, shows_gain

    store = ModelStore(site)
    name = str(parameters["model"])
    card = store.card(name)
    current = store.opponent(name)
    if name == current:
        raise WardposeError(f"{name} has no other model to be better than", mend="see `wardpose models list`")
    store.verify(name)
    target, images = _target(site, name, parameters, progress)
    sets: Sets = {TARGET: (target, images)}
    seen = _trained_on(store, name)
    also = []
    if seen is None and parameters.get("data") and calibrations.current_row(site) is not None:
        also.append(FRESH)
        sets[FRESH] = datasets.held_out(site, progress, fresh=True), None
    report = _export_report(site, name, progress)
    identity = tries.set_identity(target, images)
    tried = tries.note(site, identity, name)
    look = _judged_detector if card.task == "detect" else _judged_pose
    people: dict[str, list[Picture]] = {}
    after: dict[str, tuple[Judged, Shown]] = {}
    before: dict[str, tuple[Judged, Shown]] = {}

    def look_at(label: str, data: Path, folder: Path | None) -> None:
        people[label] = read_people(data, folder)
        after[label] = look(site, name, data, folder, people[label], progress)
        if current:  # a box without a pose model has none that a first one must beat
            before[label] = look(site, current, data, folder, people[label], progress)

    for label, where in sets.items():
        look_at(label, *where)
    # What gains nothing is refused, however well it keeps the rest: the other sets are made and shown to none but those
    # that gain.
    gains = not current or shows_gain(TARGET, after[TARGET][0], before[TARGET][0], tries=tried)
    with tempfile.TemporaryDirectory(prefix="wardpose-gate-") as place:
        guards = _guards(site, card.task, parameters, Path(place), progress) if gains else {}
        for label, where in guards.items():
            look_at(label, *where)
    sets |= guards
    leaked: int | None = None
    if seen is not None or also or not parameters.get("data"):
        shown = {picture.path for pictures in people.values() for picture in pictures}
        leaked = len(digests(shown) & (seen or set()))
    found = after[TARGET][1], before[TARGET][1] if current else None
    probed = probe(site, name, current, people[TARGET], progress, leaked=leaked, confidence=_confidence(*found))
    verdict = judge(
        {label: judged for label, (judged, _) in after.items()},
        {label: judged for label, (judged, _) in before.items()} if current else None,
        report,
        target=TARGET,
        also=also,
        tries=tried,
        probed=probed,
        unseen=[] if gains else [*guard_names(card.task), *(["upright"] if parameters.get("upright") else [])],
    )
    figures = {"before": found[1].figures() if found[1] else {}, "after": found[0].figures()}
    evidence = {
        "weights": card.sha256, "held_out": identity, "tried": tried, "probed": asdict(probed),
        "sets": {
            label: {
                "file": str(_kept_file(site, *sets[label])), "before": before[label][1].figures() if current else {},
                "after": seen_of_it.figures(),
            }
            for label, (_, seen_of_it) in after.items()
        },
    }  # fmt: skip
    asked = {"asked": str(parameters["reason"])} if parameters.get("reason") else {}  # earlier versions' jobs say none
    reasons = {"reasons": verdict.reasons, **asked, **figures, "evidence": evidence}
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
        "evidence": evidence,
    }


def _target(site: SiteFolder, name: str, parameters: Mapping[str, Any], progress: Progress) -> tuple[Path, Path | None]:
    """The held-out pictures. Those of the site must be such as the candidate can't have been trained on: a fresh draw
    where its folder does not say what it was trained on and it came after them."""
    if parameters.get("data"):
        if parameters.get("fresh"):
            raise WardposeError(
                "--fresh draws simulated pictures, and --data names others", where="promote", mend="give one of them"
            )
        return Path(parameters["data"]), Path(parameters["images"]) if parameters.get("images") else None
    there = datasets.newest_held_out(site)
    store = ModelStore(site)
    unknown = _trained_on(store, name) is None and store.folder(name).parent == site.models
    later = there is not None and there.stat().st_mtime < (store.folder(name) / "model.json").stat().st_mtime
    return datasets.held_out(site, progress, fresh=bool(parameters.get("fresh")) or (unknown and later)), None


def _guards(site: SiteFolder, task: str, parameters: Mapping[str, Any], place: Path, progress: Progress) -> Sets:
    """The sets that must not suffer. place: a folder for what is of no use afterwards."""
    from tuning.gate.guards import PLATES, guard_names

    floor = Path(parameters["floor"]) if parameters.get("floor") else None
    # A box that watches a bed must not go blind to its patient's fall.
    sets: Sets = {
        label: (data, None)
        for label, data in datasets.guard_sets(site, progress, floor).items()
        if label in guard_names(task)
    }
    if parameters.get("upright"):
        sets["upright"] = (Path(parameters["upright"]), None)
    # Of the real room and as the camera sees it: who is seen there is not there.
    if task == "detect" and (of_plates := datasets.plates_set(site, place)) is not None:
        sets[PLATES] = of_plates
    return sets


def _kept_file(site: SiteFolder, file: Path, images: Path | None) -> Path:
    """What the evidence names as a set: its file, of plates their folder, since their list is kept nowhere."""
    return site.plates if images == site.plates else file


def _trained_on(store: ModelStore, name: str) -> set[str] | None:
    """The digests of the pictures a model and those it was tuned from have seen; None where one of them doesn't say.
    What a box comes with has seen none of a site's."""
    from tuning.gate.leaks import trained_on

    found: set[str] = set()
    while True:
        try:
            folder = store.folder(name)
        except WardposeError:  # it was removed since
            return None
        if folder.parent != store.site.models:
            return found
        seen = trained_on(folder)
        parent = store.card(name).parent
        if seen is None:
            return None
        found |= seen
        if parent is None:
            return found
        name = parent


def _judged_detector(
    site: SiteFolder, name: str, data: Path, images: Path | None, pictures: list[Picture], progress: Progress
) -> tuple[Judged, Shown]:
    from tuning.evaluate.groups import brightness
    from tuning.gate.judged import of_detector

    found = score(site, name, data, images, progress)
    return of_detector(found, pictures, brightness(pictures)), found


def _judged_pose(
    site: SiteFolder, name: str, data: Path, images: Path | None, pictures: list[Picture], progress: Progress
) -> tuple[Judged, Shown]:
    """On the true boxes, so that the detector in use has no say in it."""
    from tuning.evaluate.groups import brightness
    from tuning.gate.judged import of_pose

    found = score_pose(site, name, data, images, progress)
    return of_pose(found, pictures, brightness(pictures)), found


def _confidence(after: Shown, before: Shown | None) -> Confidence:
    """How far the joints' confidence is off, of a pose model on the held-out pictures; see `probe`."""
    from tuning.evaluate.keypoints import KeypointFigures

    if not isinstance(after, KeypointFigures) or after.confidence_error is None:
        return None, None, 0
    known = before.confidence_error if isinstance(before, KeypointFigures) else None
    return after.confidence_error, known, after.confidence_joints


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
