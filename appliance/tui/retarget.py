"""Retarget: from this bed's viewpoint to a detector that is better at it, as jobs that survive this terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import DataTable, Input, Label, Static

from appliance import calibrations, work
from appliance.client import ServiceClient
from appliance.jobs import STOPPED, Job, JobStore
from appliance.models import Model, ModelStore
from appliance.settings import Settings, load_settings
from appliance.tui.dialogs import Blank, Form, Reading
from appliance.tui.page import Page, Progress
from appliance.tui.widgets import BAD, FAINT, GOOD, WARN, Action, Actions, Fact, Facts, bar, fill, selected, when
from calibration.errors import WardposeError

FIGURES = ("person_score", "AP", "AP50", "AR")
STATE_COLOURS = {"running": GOOD, "done": GOOD, "queued": FAINT, "failed": BAD, "interrupted": WARN, "cancelled": WARN}


@dataclass(frozen=True, slots=True)
class Seen:
    settings: Settings
    calibrated: str
    dataset: dict[str, Any] | None
    models: tuple[Model, ...]
    live: str
    jobs: tuple[Job, ...]
    verdict: dict[str, Any] | None

    @property
    def newest(self) -> str:
        """The detector that was tuned last and is no base model; empty when there is none."""
        for job in self.jobs:
            name = str((job.result or {}).get("model", ""))
            if job.kind == "tune" and any(model.name == name and model.task == "detect" for model in self.models):
                return name
        return next((model.name for model in self.models if not model.built_in and model.task == "detect"), "")


class RetargetPage(Page):
    TAB = "retarget"
    ABOUT = (
        "Synthetic images for exactly this camera's view, a detector tuned on them, and a gate that lets it go live "
        "only if it beats the one in use on held-out pictures. 'All steps' queues everything; the jobs go on when this "
        "terminal is closed, and one that was interrupted is resumed where it was."
    )
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("everything", "All steps", "a", "primary", brief="All steps"),
        Action("make", "Make images", "m"),
        Action("tune", "Tune", "t"),
        Action("export", "Export", "x"),
        Action("score", "Score", "e"),
        Action("promote", "Judge and promote", "j"),
        Action("back", "Roll back", "b"),
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
        with Horizontal(classes="field"):
            yield Label("Model")
            yield Input(id="model", compact=True, placeholder="the tuned model to export, score or judge")
        yield Actions(*self.ACTIONS)
        table: DataTable[Any] = DataTable(id="jobs", cursor_type="row")
        table.add_columns("#", "job", "progress", "state")
        yield table
        yield Static("Before and after", classes="title", id="verdict-title")
        yield Static(id="verdict")

    def gather(self, status: Mapping[str, Any]) -> Seen:
        settings, store = load_settings(self.site), ModelStore(self.site)
        row = calibrations.current_row(self.site)
        made = [item for item in work.datasets(self.site) if Path(item["folder"]).is_dir()]
        verdicts = store.promotions(1)
        calibrated = f"number {row.id}, by {row.method}, {when(row.made_at)}" if row else ""
        return Seen(
            settings, calibrated, made[0] if made else None, tuple(store.all()), store.live("detect"),
            tuple(JobStore(self.site).all(30)), verdicts[0] if verdicts else None,
        )  # fmt: skip

    def show(self, data: Seen) -> None:
        if self._seen is None:
            self.query_one("#count", Input).value = str(data.settings.synthesis.count)
            self.query_one("#epochs", Input).value = str(data.settings.tuning.epochs)
        field = self.query_one("#model", Input)
        if (
            data.newest
            and not field.has_focus
            and (not field.value or field.value == (self._seen and self._seen.newest))
        ):
            field.value = data.newest
        self._seen = data
        facts = [
            Fact(
                "Viewpoint",
                data.calibrated or "not calibrated",
                "good" if data.calibrated else "off",
                "" if data.calibrated else "3 Calibrate first",
            )
        ]
        if data.dataset:
            facts.append(
                Fact(
                    "Images",
                    f"{data.dataset['images']} in {Path(data.dataset['folder']).name}, {when(data.dataset['made_at'])}",
                    "good",
                )
            )
        else:
            facts.append(Fact("Images", "none yet", "off"))
        facts.append(Fact("Detector", f"{data.live} is live; tuning starts from {data.settings.tuning.base}"))
        self.query_one(Facts).show(facts)
        fill(self.query_one("#jobs", DataTable), [(str(job.id), _cells(job)) for job in data.jobs])
        self.query_one("#jobs", DataTable).display = bool(data.jobs)
        self.query_one("#verdict-title", Static).display = data.verdict is not None
        self.query_one("#verdict", Static).update(_verdict(data.verdict) if data.verdict else "")

    def refuse(self, data: Seen) -> dict[str, str]:
        uncalibrated = "" if data.calibrated else "calibrate first (3)"
        names = {model.name for model in data.models}
        base = data.settings.tuning.base
        no_base = "" if base in names else f"there is no model {base} to start from (5 Models)"
        chosen = self._model
        no_model = "" if chosen in names else f"there is no model called {chosen}" if chosen else "no tuned model yet"
        job = self._job()
        active = job is not None and job.active
        return {
            "everything": uncalibrated or no_base, "make": uncalibrated,
            "tune": no_base or ("" if data.dataset else "make images first"),
            "export": no_model, "score": no_model,
            "promote": no_model or ("it is the one in use" if chosen == data.live else ""),
            "cancel": "" if active else "no running or queued job is selected",
            "resume": "" if job and job.state in STOPPED and job.resumable else "no stopped job is selected",
            "log": "" if job else "no job is selected",
        }  # fmt: skip

    @property
    def _model(self) -> str:
        return self.query_one("#model", Input).value.strip()

    def _job(self) -> Job | None:
        key = selected(self.query_one("#jobs", DataTable))
        return next((job for job in self._seen.jobs if str(job.id) == key), None) if self._seen else None

    def _number(self, field: str) -> int:
        text = self.query_one(f"#{field}", Input).value.strip()
        if not text.isdigit() or int(text) < 1:
            raise WardposeError(f"{text or 'nothing'} is no number of {field}", mend="give 1 or more")
        return int(text)

    def _queue(self, *jobs: tuple[str, dict[str, Any]]) -> None:
        def submit(_: Progress) -> list[int]:
            with ServiceClient.connect(self.site) as client:
                return [int(client.submit(kind, parameters)["id"]) for kind, parameters in jobs]

        self.work(
            "queueing", submit, lambda ids: self.say(f"queued: {', '.join(f'#{number}' for number in ids)}", "good")
        )

    def action_act(self, name: str) -> None:
        try:
            super().action_act(name)
        except WardposeError as error:
            self.say(str(error), "bad")

    def do_everything(self) -> None:
        assert self._seen is not None
        count, epochs, base = self._number("count"), self._number("epochs"), self._seen.settings.tuning.base
        seed = self._seen.settings.synthesis.seed
        row = calibrations.current_row(self.site)
        data = self.site.datasets / f"site{row.id if row else 0}-{count}-seed{seed}"
        taken = {str(job.parameters.get("name", "")) for job in self._seen.jobs}
        name = work.free_name(ModelStore(self.site), f"{base}-{data.name}")
        while name in taken:  # of a job that is still to come, or can be resumed
            name += "-again"
        self._queue(
            ("synth", {"scenario": "site", "count": count, "seed": seed, "out": str(data), "resume": True}),
            ("tune", {"model": base, "data": str(data), "name": name, "epochs": epochs}),
            ("export", {"model": name}),
            ("promote", {"model": name}),
        )

    def do_make(self) -> None:
        self._queue(("synth", {"scenario": "site", "count": self._number("count")}))

    def do_tune(self) -> None:
        self._queue(("tune", {"epochs": self._number("epochs")}))

    def do_export(self) -> None:
        self._queue(("export", {"model": self._model}))

    def do_score(self) -> None:
        held_out = sorted(self.site.datasets.glob("held-out*/annotations.json"), key=lambda path: path.stat().st_mtime)
        blanks = [Blank("data", "Annotations (COCO JSON)", str(held_out[-1]) if held_out else ""),
                  Blank("images", "Folder of the pictures, if not beside the file", needed=False)]  # fmt: skip
        model = self._model

        def score(given: dict[str, str] | None) -> None:
            if given:
                self._queue(("evaluate", {"model": model} | {key: value for key, value in given.items() if value}))

        self.app.push_screen(Form(f"Score {model} on labelled pictures", blanks, "Score"), score)

    def do_promote(self) -> None:
        assert self._seen is not None
        model, live = self._model, self._seen.live
        self.ask(
            f"Judge {model} against {live} on held-out pictures of this bed? If it proves better it goes live; if not, "
            f"{live} stays.", "Judge it", lambda: self._queue(("promote", {"model": model})),
        )  # fmt: skip

    def do_back(self) -> None:
        roll_back(self)

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

    def on_data_table_row_highlighted(self) -> None:
        self.wardpose.look_again()

    def on_input_changed(self) -> None:
        self.wardpose.look_again()


def roll_back(page: Page) -> None:
    """Ask, and put the detector before the present one back (Models does the same)."""
    store = ModelStore(page.site)
    page.ask(
        f"Put the detector before {store.live('detect')} back? A running live path changes when it is started anew.",
        "Roll back",
        lambda: page.work(
            "rolling back", lambda _: store.rollback("detect", "asked for in the terminal UI"),
            lambda name: page.say(f"{name} is the detector again", "good"),
        ),
    )  # fmt: skip


def followers(job: Job, jobs: Sequence[Job]) -> list[Job]:
    """The later jobs that use what `job` makes, directly or through others, in the order they were asked for."""
    made = {str(job.parameters.get(key)) for key in ("out", "name") if job.parameters.get(key)}
    found = []
    for other in sorted(jobs, key=lambda other: other.id):
        uses = {str(other.parameters.get(key)) for key in ("data", "model") if other.parameters.get(key)}
        if other.id > job.id and uses & made:
            found.append(other)
            made |= {str(other.parameters[key]) for key in ("out", "name") if other.parameters.get(key)}
    return found


def _cells(job: Job) -> list[str | Text]:
    subject = str(job.parameters.get("name") or job.parameters.get("model") or job.parameters.get("count") or "")
    title = Text(job.title if len(subject) > 14 or not subject else f"{job.title} ({subject})")
    told = job.error or (job.note if job.active else "")
    if job.cancel_requested and job.active:
        told = "stopping"
    state = Text.assemble((job.state, STATE_COLOURS.get(job.state, "")), f" {told}" if told else "")
    return [str(job.id), title, bar(1.0 if job.state == "done" else job.fraction, 10), state]


def _verdict(verdict: dict[str, Any]) -> Text:
    reasons = verdict["reasons"]
    went = "went live" if verdict["accepted"] else "was refused"
    text = Text(
        f"{verdict['model']} {went} ({when(verdict['at'])}, {verdict['who']}); before it: {verdict['previous']}\n"
    )
    before, after = reasons.get("before", {}), reasons.get("after", {})
    for name in FIGURES:
        if name in before and name in after:
            change = after[name] - before[name]
            text.append(f"  {name.replace('_', ' '):<14}{before[name]:7.3f} → {after[name]:.3f}  ")
            text.append(f"{change:+.3f}\n", GOOD if change >= 0 else BAD)
    if "rollback" in reasons:
        text.append(f"  rolled back: {reasons['rollback']}\n")
    for reason in reasons.get("reasons", []):
        text.append(f"  - {reason}\n")
    return text
