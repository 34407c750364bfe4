"""The way from a bare box to a live one, stage by stage: how each is, how old, by one figure, and what to do next.

Overview draws it, the set-up guide walks it. Every stage is read from what the site holds, so that the way is right
after a power cut, and whoever did a step by a command; only that the camera delivered when it was examined, which
leaves nothing behind, is noted among the settings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.bedside import plates
from appliance.jobs import datasets
from appliance.jobs.store import Job, JobStore
from appliance.live.status import is_fresh, live_words
from appliance.models.in_use import KINDS, told_in_use
from appliance.models.store import ModelStore
from appliance.site import calibrations
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from appliance.tui.job_words import change_words, outcome, state_of
from appliance.tui.widgets import age, number
from calibration.errors import WardposeError
from calibration.redaction import redacted
from runtime.state import people_words


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage. mark: good, warn, bad, off. state, figure, age: a word or two each; told: a sentence; next: the one
    thing to do, its keys by what they mean (see `Keys.told`), empty where there is none; page, action: where Enter
    goes, and what is done there. optional: the way goes on without it."""

    name: str
    mark: str
    state: str
    figure: str
    age: str
    told: str
    next: str = ""
    page: str = "overview"
    action: str = ""
    optional: bool = False

    @property
    def done(self) -> bool:
        return self.mark == "good"


def the_way(site: SiteFolder, status: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The seven stages, in their order."""
    return tuple(_safely(look, site, status) for look in _LOOKS)


def examined_note(source: str) -> str:
    """What stands among the guide's notes once the camera `source` was examined, and delivered."""
    return f"camera={hashlib.sha256(redacted(source).encode()).hexdigest()[:8]}"


def next_stage(way: Sequence[Stage]) -> Stage | None:
    """The stage that something is to be done about now; None where all is well.

    What is wrong comes first, then the first that is not there yet; what can be left out comes last.
    """
    wanting = [stage for stage in way if stage.next and not stage.done]
    wrong = [stage for stage in wanting if stage.mark == "bad"]
    needed = [stage for stage in wanting if not stage.optional]
    return next(iter([*wrong, *needed]), None)


def _safely(
    look: Callable[[SiteFolder, Mapping[str, Any]], Stage], site: SiteFolder, status: Mapping[str, Any]
) -> Stage:
    try:
        return look(site, status)
    except (WardposeError, OSError, ValueError) as error:
        name = look.__name__.removeprefix("_")
        page = _PAGES.get(name, "system")
        return Stage(name, "bad", "unreadable", "", "", str(error), f"mend it: {error}", page)


def _camera(site: SiteFolder, status: Mapping[str, Any]) -> Stage:
    settings = load_settings(site)
    source, examined = settings.camera.source, examined_note(settings.camera.source)
    camera = status.get("camera") or {"state": "absent", "message": "", "fps": 0.0}
    state, page = camera["state"], "camera"
    kind = source.partition(":")[0]
    if state == "streaming":
        told = f"{source} delivers {camera['fps']:.1f} frames a second"
        return Stage("camera", "good", "delivers", f"{camera['fps']:.1f} fps", "now", told, page=page)
    if state == "paused":
        return Stage("camera", "warn", "paused", kind, "", f"{source}: {camera['message']}", page=page)
    if state == "absent":
        used = bool(calibrations.rows(site, 1))
        words = f"{source} is this site's camera; it is not in use now"
        if used:
            return Stage("camera", "good", "ready", kind, "", words, page=page)
        if examined in settings.terminal.guide.split():
            return Stage("camera", "good", "examined", kind, "", f"{words}; it delivered when examined", page=page)
        told = f"{source} is this site's camera; it has not been tried yet"
        return Stage("camera", "off", "not tried", kind, "", told, "2 Camera: <examine> examines it", page, "probe")
    message = f"{source}: {state}{', ' + camera['message'] if camera['message'] else ''}"
    return Stage("camera", "bad", state, kind, "", message, "2 Camera: <examine> examines it", page, "probe")


def _calibration(site: SiteFolder, status: Mapping[str, Any]) -> Stage:
    rows, page = calibrations.rows(site), "calibrate"
    row = next((row for row in rows if row.confirmed), None)
    if row is None and rows:
        told = "the newest is not confirmed yet: somebody has to see where head and foot are"
        return Stage("calibration", "warn", "unconfirmed", rows[0].method, age(rows[0].made_at), told,
                     "3 Calibrate: Enter shows the bed in the picture", page, "open")  # fmt: skip
    if row is None:
        return Stage("calibration", "off", "none", "", "", "this box does not know where its camera stands",
                     "3 Calibrate: <calibrate> calibrates, by the tag sheet on the empty bed", page,
                     "calibrate")  # fmt: skip
    estimate = calibrations.load(site, row)
    figure = f"±{estimate.centre_sigma_mm / 10:.1f} cm"
    told = known_words(estimate) + f" (number {row.id}, by {row.method})"
    drift = status.get("drift") or {"state": "off"}
    if drift["state"] == "drifted":
        then = ", then tune again (4 Retarget)" if drift.get("retune") else ""
        return Stage("calibration", "bad", "moved", figure, age(row.made_at), drift["text"],
                     f"3 Calibrate: calibrate again{then}", page, "calibrate")  # fmt: skip
    if drift["state"] == "blind":
        return Stage(
            "calibration",
            "warn",
            "unwatched",
            figure,
            age(row.made_at),
            drift["text"],
            "3 Calibrate: nobody would notice a bumped camera",
            page,
            optional=True,
        )
    newer = "; a newer one waits to be confirmed" if rows[0].id != row.id else ""
    return Stage("calibration", "good", "confirmed", figure, age(row.made_at), told + newer, page=page)


def _plates(site: SiteFolder, status: Mapping[str, Any]) -> Stage:
    rows = plates.rows(site)
    used = [row for row in rows if row.usable]
    if used:
        newest = max(row.captured_at for row in used)
        told = f"{len(used)} of the empty bed in use, the first until {min(row.expires_at for row in used)[:10]}"
        return Stage("plates", "good", "in use", f"{len(used)}", age(newest), told, page="camera", optional=True)
    why = f"{rows[-1].name} is {rows[-1].why}" if rows else "none of the empty bed: training images show a drawn room"
    return Stage("plates", "off", "none", "optional", "", why,
                 "2 Camera: empty the bed, then <plate> takes one", "camera", "plate", True)  # fmt: skip


def _images(site: SiteFolder, status: Mapping[str, Any]) -> Stage:
    if running := _running(site, "synth"):
        return _at_work("images", running)
    made = [item for item in datasets.listed(site) if Path(item["folder"]).is_dir()]
    row = calibrations.current_row(site)
    if not made:
        first = "4 Retarget: <all> takes all steps" if row else "calibrate first (3 Calibrate)"
        return Stage("images", "off", "none", "", "", "no training images of this view yet", first,
                     "retarget" if row else "calibrate", "everything" if row else "calibrate")  # fmt: skip
    newest = made[0]
    figure, old = f"{newest['images']}", age(newest["made_at"])
    told = f"{newest['images']} in {Path(newest['folder']).name}"
    if row is not None and newest["made_at"] < row.made_at and calibrations.leaves_earlier_view(site, row):
        return Stage("images", "warn", "older view", figure, old, f"{told}, made before the present calibration",
                     "4 Retarget: <all> makes new ones and tunes on them", "retarget", "everything")  # fmt: skip
    return Stage("images", "good", "made", figure, old, told, page="retarget")


def _tuning(site: SiteFolder, status: Mapping[str, Any]) -> Stage:
    if running := _running(site, "tune"):
        return _at_work("tuning", running)
    tuned = [job for job in JobStore(site).all(100) if job.kind == "tune"]
    models = [model for model in ModelStore(site).all() if model.parent]
    stopped = tuned[0] if tuned and tuned[0].state in ("failed", "interrupted") else None
    if stopped is not None:
        words, mark = outcome(stopped)
        return Stage("tuning", mark, stopped.state, f"#{stopped.id}", age(stopped.finished_at), words,
                     "4 Retarget: <resume> resumes it, Enter says more", "retarget")  # fmt: skip
    if not models:
        told = "the models are those that the box came with"
        return Stage(
            "tuning", "off", "none", "", "", told, "4 Retarget: <all> takes all steps", "retarget", "everything"
        )
    tasks = sorted({KINDS[model.task] for model in models})
    done = next((job for job in tuned if job.state == "done"), None)
    told = f"{len(models)} tuned to this bed: {', '.join(model.name for model in models[-2:])}"
    which = tasks[0] if len(tasks) == 1 else "both"
    return Stage("tuning", "good", "tuned", which,
                 age(done.finished_at) if done else "", told, page="retarget")  # fmt: skip


def _gate(site: SiteFolder, status: Mapping[str, Any]) -> Stage:
    if running := _running(site, "promote"):
        return _at_work("gate", running)
    store = ModelStore(site)
    decisions = store.promotions(30)
    tuned = [model for model in store.all() if model.parent]
    judged = {row["model"] for row in decisions}
    waiting = [model.name for model in tuned if model.name not in judged]
    if waiting:
        return Stage("gate", "off", "waits", f"{len(waiting)} to judge", "", f"{', '.join(waiting)}: not judged yet",
                     "4 Retarget: <judge> judges what was tuned", "retarget", "judge")  # fmt: skip
    if not decisions:
        return Stage("gate", "off", "none", "", "", "the gate has judged no model yet", "", "retarget")
    newest = [next((row for row in decisions if row["task"] == task), None) for task in KINDS]
    rows = [row for row in newest if row is not None]
    said, accepted = [], any(row["accepted"] for row in rows)
    for row in rows:
        change = change_words(row["reasons"].get("before") or {}, row["reasons"].get("after") or {})
        ended = "went live" if row["accepted"] else "was refused"
        said.append(f"{row['model']} {ended}{f' ({change})' if change else ''}")
    figure = _gain(rows)
    words, old = "; ".join(said), age(rows[0]["at"])
    if accepted:
        return Stage("gate", "good", "passed", figure, old, words, page="retarget")
    return Stage("gate", "warn", "refused", figure, old, words,
                 "4 Retarget: more images (<make>), tune and judge again", "retarget", "make", True)  # fmt: skip


def _live(site: SiteFolder, status: Mapping[str, Any]) -> Stage:
    if not status:
        return Stage("live", "off", "unknown", "", "", "the service has not answered yet", page="live")
    words, mark = live_words(status)
    live = status.get("live") or {}
    if status.get("pause"):
        return Stage("live", "warn", "paused", "", age(str(status["pause"].get("since", ""))), words,
                     "<pause> asks, and lifts the pause", "live")  # fmt: skip
    if is_fresh(status):
        told = f"{words}, {people_words(live['people'])}, camera to skeleton {number(live['p50_ms'], 'ms')}"
        simulated = "live" if mark == "good" else "not this bed"
        figure, old = f"{live['fps']:.1f} fps", f"{live['age_ms']:.0f} ms"
        if broken := _broken(site):
            return Stage("live", "warn", "boxes", figure, old, f"{told}; {broken}", "5 Models: <fetch> fetches them",
                         "models", "fetch", True)  # fmt: skip
        return Stage("live", "good" if mark == "good" else "warn", simulated, figure, old, told, page="live")
    if mark == "off":
        ready = calibrations.current_row(site) is not None
        after = "6 Live: <start> starts it" if ready else "3 Calibrate first; then 6 Live: <start> starts it"
        return Stage("live", "off", "off", "", "", words, after, "live", "start" if ready else "")
    state = "starting" if mark == "warn" else "no picture"
    return Stage("live", mark, state, "", "", words, "" if mark == "warn" else "6 Live, 8 System: see what is wrong",
                 "live")  # fmt: skip


def known_words(estimate: Any) -> str:
    """How well a calibration knows where the camera stands, in words. estimate: a `CalibrationEstimate`."""
    centimetres, degrees = estimate.centre_sigma_mm / 10, estimate.rotation_sigma_deg
    if centimetres <= 5 and degrees <= 1:
        good = "good enough"
    elif centimetres <= 15 and degrees <= 3:
        good = "coarse: the tag sheet would tell it better"
    else:
        good = "too coarse to rely on: calibrate by the tag sheet"
    return f"the camera is known to ± {centimetres:.1f} cm, ± {degrees:.1f}°: {good}"


def _broken(site: SiteFolder) -> str:
    return next((f"{one.kind}: {one.text}" for one in told_in_use(site) if not one.name or one.broken), "")


def _running(site: SiteFolder, kind: str) -> Job | None:
    jobs = JobStore(site).all(30, states=("queued", "running"))
    mine = [job for job in jobs if job.kind == kind]
    return next((job for job in mine if job.state == "running"), mine[-1] if mine else None)


def _at_work(name: str, job: Job) -> Stage:
    if job.state == "queued" and not job.paused:
        return Stage(name, "warn", "queued", f"#{job.id}", "", f"{job.title} (#{job.id}) waits for its turn",
                     page="retarget")  # fmt: skip
    figure = f"{100 * job.fraction:.0f} %" if job.total else "begins"
    if job.pause_requested:
        return Stage(name, "warn", state_of(job), figure, "", f"{job.title} (#{job.id}) is {state_of(job)}",
                     "4 Retarget: <resume> lets it go on", page="retarget")  # fmt: skip
    told = f"{job.title} (#{job.id}): {job.done} of {job.total} {job.note}" if job.total else f"{job.title}: {job.note}"
    return Stage(name, "warn", "at work", figure, "now", told.strip(), page="retarget")


def _gain(rows: Sequence[Mapping[str, Any]]) -> str:
    for row in rows:
        before, after = row["reasons"].get("before") or {}, row["reasons"].get("after") or {}
        for name in ("person_score", "keypoints_mean_oks"):
            if name in before and name in after:
                return f"{after[name] - before[name]:+.3f}"
    return ""


_LOOKS = (_camera, _calibration, _plates, _images, _tuning, _gate, _live)
_PAGES = {"camera": "camera", "calibration": "calibrate", "plates": "camera", "images": "retarget",
          "tuning": "retarget", "gate": "models", "live": "live"}  # fmt: skip
