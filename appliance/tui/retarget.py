"""Retarget: from this bed's viewpoint to models that are better at it, as jobs that survive this terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import DataTable, Input, Label, Static

from appliance.client import ServiceClient
from appliance.jobs import datasets, kinds
from appliance.jobs.runner import NOBODY_RUNS_JOBS, START_THEM
from appliance.jobs.store import STOPPED, Job, JobStore
from appliance.models.in_use import KINDS
from appliance.models.store import Model, ModelStore
from appliance.site import calibrations
from appliance.site.settings import Settings, load_settings
from appliance.tui.dialogs import Reading
from appliance.tui.page import Page
from appliance.tui.verdicts import verdict_text
from appliance.tui.widgets import BAD, FAINT, GOOD, WARN, Action, Actions, Fact, Facts, bar, fill, selected, when
from calibration.errors import WardposeError
from calibration.progress import Progress

STATE_COLOURS = {"running": GOOD, "done": GOOD, "queued": FAINT, "failed": BAD, "interrupted": WARN, "cancelled": WARN}
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


class RetargetPage(Page):
    TAB = "retarget"
    ABOUT = (
        "Synthetic images for exactly this camera's view, the detector and the pose model tuned on the same images, "
        "and a gate that lets each go live only if it beats the one in use on held-out pictures. 'All steps' queues "
        "everything; the jobs go on when this terminal is closed, and one that was interrupted is resumed where it "
        "was. One model alone is judged, exported, scored or taken back on the screen 5 Models."
    )
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("everything", "All steps", "a", "primary", brief="All steps"),
        Action("make", "Make images", "m"),
        Action("tune", "Tune detector", "t"),
        Action("pose", "Tune pose", "p"),
        Action("judge", "Judge", "j", brief="Judge"),
        Action("cancel", "Cancel the job", "c", brief="Cancel"),
        Action("resume", "Resume it", "r", brief="Resume"),
        Action("log", "Its log", "l", brief="Log"),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._seen: Seen | None = None

    def contents(self) -> ComposeResult:
        yield Facts(id="facts")
        with Horizontal(classes="field"):
            yield Label("Images")
            yield Input(id="count", type="integer", compact=True)
            yield Label("  Epochs")
            yield Input(id="epochs", type="integer", compact=True)
        yield Actions(*self.ACTIONS)
        table: DataTable[Any] = DataTable(id="jobs", cursor_type="row")
        table.add_columns("#", "job", "progress", "state")
        yield table
        yield Static("Last decisions", classes="title", id="verdict-title")
        yield Static(id="verdict")

    def gather(self, status: Mapping[str, Any]) -> Seen:
        settings, store = load_settings(self.site), ModelStore(self.site)
        row = calibrations.current_row(self.site)
        made = [item for item in datasets.listed(self.site) if Path(item["folder"]).is_dir()]
        calibrated = f"number {row.id}, by {row.method}, {when(row.made_at)}" if row else ""
        models, jobs = tuple(store.all()), tuple(JobStore(self.site).all(30))
        decisions = store.promotions(30)
        newest = [next((row for row in decisions if row["task"] == task), None) for task in KINDS]
        return Seen(
            settings, calibrated, made[0] if made else None, models,
            {task: _subject(store, task, models, jobs) for task in KINDS}, jobs, tuple(row for row in newest if row),
        )  # fmt: skip

    def show(self, data: Seen) -> None:
        if self._seen is None:
            self.query_one("#count", Input).value = str(data.settings.synthesis.count)
            self.query_one("#epochs", Input).value = str(data.settings.tuning.epochs)
        self._seen = data
        good = bool(data.calibrated)
        facts = [
            Fact(
                "Viewpoint",
                data.calibrated or "not calibrated",
                "good" if good else "off",
                "" if good else "3 Calibrate first",
            )
        ]
        if data.dataset:
            name = Path(data.dataset["folder"]).name
            facts.append(Fact("Images", f"{data.dataset['images']} in {name}, {when(data.dataset['made_at'])}", "good"))
        else:
            facts.append(Fact("Images", "none yet", "off"))
        facts += [_subject_fact(task, one) for task, one in data.subjects.items()]
        if self.status.get("runner") is False and any(job.state == "queued" for job in data.jobs):
            facts.append(Fact("Jobs", NOBODY_RUNS_JOBS, "bad", START_THEM))
        self.query_one(Facts).show(facts)
        fill(self.query_one("#jobs", DataTable), [(str(job.id), _cells(job, data.task_of(job))) for job in data.jobs])
        first = bool(data.jobs) and not self.query_one("#jobs", DataTable).display
        self.query_one("#jobs", DataTable).display = bool(data.jobs)
        if first:
            self.call_after_refresh(self._focus_jobs)
        self.query_one("#verdict-title", Static).display = bool(data.verdicts)
        self.query_one("#verdict", Static).update(Text("\n").join(verdict_text(row) for row in data.verdicts))

    def refuse(self, data: Seen) -> dict[str, str]:
        uncalibrated = "" if data.calibrated else "calibrate first (3)"
        no_images = "" if data.dataset else "make images first"
        job = self._job()
        no_job = "" if job else "no job is selected" if data.jobs else "no job yet"
        tuned = any(one.newest for one in data.subjects.values())
        return {
            "everything": uncalibrated or data.subjects["detect"].why,
            "make": uncalibrated,
            "tune": data.subjects["detect"].why or no_images,
            "pose": data.subjects["pose"].why or no_images,
            "judge": "" if data.judgeable else "what was tuned is live" if tuned else "nothing was tuned yet",
            "cancel": no_job or ("" if job and job.active else "the selected job has ended"),
            "resume": no_job or ("" if job and job.state in STOPPED and job.resumable else "the job did not stop"),
            "log": no_job,
        }

    def _job(self) -> Job | None:
        key = selected(self.query_one("#jobs", DataTable))
        return next((job for job in self._seen.jobs if str(job.id) == key), None) if self._seen else None

    def _number(self, field: str) -> int:
        text = self.query_one(f"#{field}", Input).value.strip()
        if not text.isdigit() or int(text) < 1:
            what = {"count": "images", "epochs": "epochs"}[field]
            raise WardposeError(f"{text or 'nothing'} is no number of {what}", mend="give 1 or more")
        return int(text)

    def _queue(self, *jobs: tuple[str, dict[str, Any]]) -> None:
        def submit(_: Progress) -> list[int]:
            with ServiceClient.connect(self.site) as client:
                return [int(client.submit(kind, parameters)["id"]) for kind, parameters in jobs]

        self.work("queueing", submit, self._say_queued)

    def _say_queued(self, ids: Sequence[int]) -> None:
        self.say(f"queued: {', '.join(f'#{number}' for number in ids)}", "good")

    def action_act(self, name: str) -> None:
        try:
            super().action_act(name)
        except WardposeError as error:
            self.say(str(error), "bad")

    def do_everything(self) -> None:
        """Images; what there is of detector and pose model tuned on them; both judged."""
        assert self._seen is not None
        count, epochs = self._number("count"), self._number("epochs")
        subjects = {task: one.base for task, one in self._seen.subjects.items() if one.base}

        def submit(_: Progress) -> list[int]:
            made = {"scenario": "site", "count": count, "seed": load_settings(self.site).synthesis.seed}
            data = datasets.training_set(self.site, made)[1]
            with ServiceClient.connect(self.site) as client:
                images = int(client.submit("synth", made)["id"])
                names = {task: self._free_name(f"{base}-{data.name}") for task, base in subjects.items()}
                tunings = [
                    {"model": subjects[task], "task": task, "data_of": images, "name": name, "epochs": epochs}
                    for task, name in names.items()
                ]
                jobs = [("tune", one) for one in tunings] + [
                    ("promote", {"model": name, "reason": f"All steps, {self.here}"}) for name in names.values()
                ]
                return [images, *(int(client.submit(kind, parameters)["id"]) for kind, parameters in jobs)]

        self.work("queueing", submit, self._say_queued)

    def do_make(self) -> None:
        self._queue(("synth", {"scenario": "site", "count": self._number("count")}))

    def do_tune(self) -> None:
        self._tune("detect")

    def do_pose(self) -> None:
        self._tune("pose")

    def _tune(self, task: str) -> None:
        assert self._seen is not None and self._seen.dataset is not None
        base, data = self._seen.subjects[task].base, Path(self._seen.dataset["folder"])
        name = self._free_name(f"{base}-{data.name}")
        parameters = {"model": base, "task": task, "data": str(data), "name": name}
        self._queue(("tune", parameters | {"epochs": self._number("epochs")}))

    def _free_name(self, wish: str) -> str:
        """A name that no model has, nor one of a job that is still to come, or can be resumed."""
        assert self._seen is not None
        taken = {str(job.parameters.get("name", "")) for job in self._seen.jobs}
        return kinds.free_name(ModelStore(self.site), wish, taken)

    def do_judge(self) -> None:
        assert self._seen is not None
        judged = self._seen.judgeable
        held = " and ".join(f"{name} against {self._seen.subjects[task].live}" for task, name in judged.items())
        self.ask(
            f"Judge {held} on held-out pictures of this bed? What proves better goes live; what does not stays out.",
            "Judge",
            lambda: self._queue(*(("promote", {"model": name, "reason": self.here}) for name in judged.values())),
        )

    def do_cancel(self) -> None:
        job = self._job()
        assert job is not None and self._seen is not None
        ids = [job.id, *(other.id for other in followers(job, self._seen.jobs) if other.active)]
        behind = f" and the {len(ids) - 1} behind it that need it" if len(ids) > 1 else ""
        self.ask(
            f"Cancel #{job.id} {job.title}{behind}? What is finished is kept.",
            "Cancel it",
            lambda: self._each("cancelling", "cancel", ids[::-1]),
        )

    def do_resume(self) -> None:
        job = self._job()
        assert job is not None and self._seen is not None
        self._each(
            "resuming", "resume_job", [job.id, *(f.id for f in followers(job, self._seen.jobs) if f.state in STOPPED)]
        )

    def _each(self, what: str, call: str, ids: Sequence[int]) -> None:
        def ask_service(_: Progress) -> None:
            with ServiceClient.connect(self.site) as client:
                for number in ids:
                    getattr(client, call)(number)

        self.work(f"{what} {', '.join(f'#{number}' for number in sorted(ids))}", ask_service)

    def do_log(self) -> None:
        job = self._job()
        assert job is not None
        lines = JobStore(self.site).log_tail(job.id, 200)
        self.app.push_screen(Reading(f"#{job.id} {job.title}: {job.state}", "\n".join(lines) or "it wrote nothing"))

    def on_screen_resume(self) -> None:
        self.call_after_refresh(self._focus_jobs)

    def _focus_jobs(self) -> None:
        """Let the arrows choose a job, where there is one; Esc lets them scroll the screen."""
        table = self.query_one("#jobs", DataTable)
        if table.display and self.focused in (None, self.query_one("#body")):
            table.focus(scroll_visible=False)

    def on_data_table_row_highlighted(self) -> None:
        self.wardpose.look_again()


def followers(job: Job, jobs: Sequence[Job]) -> list[Job]:
    """The later jobs that use what `job` makes, directly or through others, in the order they were asked for."""
    ids, made = {job.id}, _made(job)
    found = []
    for other in sorted(jobs, key=lambda other: other.id):
        uses = {str(other.parameters.get(key)) for key in ("data", "model") if other.parameters.get(key)}
        if other.id > job.id and (uses & made or other.parameters.get("data_of") in ids):
            found.append(other)
            ids.add(other.id)
            made |= _made(other)
    return found


def _made(job: Job) -> set[str]:
    return {str(job.parameters[key]) for key in ("out", "name") if job.parameters.get(key)}


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


def _subject_fact(task: str, one: Subject) -> Fact:
    name = KINDS[task].capitalize()
    if not one.live:
        nexts = "5 Models: f fetches one; until then All steps tunes the detector only"
        return Fact(name, "none on this box: no skeleton is drawn", "warn", nexts)
    start = f"; tuning starts from {one.base}" if one.base != one.live else ", and tuning starts from it"
    return Fact(name, f"{one.live} is live{start if one.base else ''}", "good" if one.base else "bad", one.why)


def _cells(job: Job, task: str) -> list[str | Text]:
    subject = str(job.parameters.get("name") or job.parameters.get("model") or job.parameters.get("count") or "")
    title = f"{job.title} the {KINDS[task]}" if task in KINDS else job.title
    if subject and task not in KINDS and len(subject) <= 14:
        title += f" ({subject})"
    told = job.error or (job.note if job.active else "")
    if job.cancel_requested and job.active:
        told = "stopping"
    state = Text.assemble((job.state, STATE_COLOURS.get(job.state, "")), f" {told}" if told else "")
    return [str(job.id), Text(title), bar(1.0 if job.state == "done" else job.fraction, 10), state]
