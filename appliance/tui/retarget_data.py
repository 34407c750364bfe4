"""What Retarget shows of a site: models that are tuned, jobs and what hangs on them, decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from appliance.jobs import datasets, kinds
from appliance.jobs.store import Job, JobStore
from appliance.models.in_use import KINDS
from appliance.models.store import Model, ModelStore
from appliance.site import calibrations
from appliance.site.folder import SiteFolder
from appliance.site.settings import Settings, load_settings
from appliance.tui.ink import BAD, FAINT, GOOD, WARN, inked
from appliance.tui.job_words import outcome, pace, state_of
from appliance.tui.keys import Keys
from appliance.tui.pace import Paces, seconds_of
from appliance.tui.widgets import MARKS, Fact, bar, span, when
from calibration.errors import WardposeError

STATE_COLOURS = {"running": GOOD, "done": GOOD, "queued": FAINT, "failed": BAD, "interrupted": WARN, "cancelled": WARN}
STATE_COLOURS |= {"paused": WARN, "pausing": WARN}
NO_POSE = "no pose model on this box"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tuned of one task: the model that is live, the one tuning starts from or why there is none, and the one
    that was tuned last; names are empty where there is none."""

    live: str
    base: str
    why: str
    newest: str


@dataclass(frozen=True, slots=True)
class Seen:
    settings: Settings
    calibrated: str
    dataset: dict[str, Any] | None
    models: tuple[Model, ...]
    subjects: Mapping[str, Subject]
    jobs: tuple[Job, ...]
    verdicts: tuple[dict[str, Any], ...]

    @property
    def judgeable(self) -> dict[str, str]:
        """The tuned models, by task, that are not live yet."""
        return {task: one.newest for task, one in self.subjects.items() if one.newest not in ("", one.live)}

    def task_of(self, job: Job) -> str:
        """`detect` or `pose` for a job about one model, else empty."""
        if job.parameters.get("task"):
            return str(job.parameters["task"])
        name = job.parameters.get("model")
        tuned = {other.parameters.get("name"): other.parameters.get("task") for other in self.jobs}
        return str(next((model.task for model in self.models if model.name == name), None) or tuned.get(name) or "")


def look(site: SiteFolder) -> Seen:
    """The site as it is; raises `WardposeError`."""
    settings, store = load_settings(site), ModelStore(site)
    row = calibrations.current_row(site)
    made = [item for item in datasets.listed(site) if Path(item["folder"]).is_dir()]
    calibrated = f"number {row.id}, by {row.method}, {when(row.made_at)}" if row else ""
    models, jobs = tuple(store.all()), tuple(JobStore(site).all(30))
    decisions = store.promotions(30)
    newest = [next((row for row in decisions if row["task"] == task), None) for task in KINDS]
    return Seen(
        settings, calibrated, made[0] if made else None, models,
        {task: _subject(store, task, models, jobs) for task in KINDS}, jobs, tuple(row for row in newest if row),
    )  # fmt: skip


def _subject(store: ModelStore, task: str, models: Sequence[Model], jobs: Sequence[Job]) -> Subject:
    own = [model.name for model in models if not model.built_in and model.task == task]
    tuned = [str((job.result or {}).get("model", "")) for job in jobs if job.kind == "tune"]
    newest = next((name for name in [*tuned, *own] if name in own), "")
    base, why = "", ""
    try:
        base = kinds.base_model(store.site, task)
    except WardposeError as error:
        why = NO_POSE if task == "pose" and not store.start(task) else str(error)
    return Subject(store.live(task), base, why, newest)


def subject_fact(task: str, one: Subject, keys: Keys) -> Fact:
    name = KINDS[task].capitalize()
    if not one.live:
        nexts = keys.told("5 Models: <fetch> fetches one; until then All steps tunes the detector only")
        return Fact(name, "none on this box: no skeleton is drawn", "warn", nexts)
    start = f"; tuning starts from {one.base}" if one.base != one.live else ", and tuning starts from it"
    return Fact(name, f"{one.live} is live{start if one.base else ''}", "good" if one.base else "bad", one.why)


def cells_of(job: Job, task: str, paces: Paces) -> list[str | Text]:
    subject = str(job.parameters.get("name") or job.parameters.get("model") or job.parameters.get("count") or "")
    title = f"{job.title} the {KINDS[task]}" if task in KINDS else job.title
    if subject and task not in KINDS and len(subject) <= 14:
        title += f" ({subject})"
    runs = job.state == "running" and not job.pause_requested
    told = pace(job, paces) or job.note if runs else outcome(job)[0]
    if job.cancel_requested and job.active:
        told = "stopping"
    word = state_of(job)
    told = told.removeprefix(f"{word}: ")
    if word in ("running", "done") and told:  # the bar, or how long it took, says so
        state = inked(told, MARKS[outcome(job)[1]][1] if word == "done" else "")
    else:
        state = Text.assemble((word, STATE_COLOURS.get(word, "")), f" {told}" if told else "")
    seconds = seconds_of(job)
    how_far = bar(job.fraction, 6) if job.active else Text("" if seconds is None else f"took {span(seconds)}", FAINT)
    return [str(job.id), Text(title), how_far, _short(state)]


def _short(state: Text) -> Text:
    """In a row that is not cut off at the terminal's edge; the whole stands below the table."""
    state.truncate(34, overflow="ellipsis")
    return state
