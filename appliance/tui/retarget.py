"""Retarget: from this bed's viewpoint to models that are better at it, as jobs that survive this terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Input, Label, Static

from appliance.client import ServiceClient
from appliance.jobs import datasets, kinds
from appliance.jobs.needs import followers
from appliance.jobs.runner import NOBODY_RUNS_JOBS, START_THEM
from appliance.jobs.store import STOPPED, Job, JobStore
from appliance.models.in_use import KINDS
from appliance.models.store import ModelStore
from appliance.site.settings import load_settings
from appliance.tui.curves import curve, losses, rates
from appliance.tui.dialogs import Choose, Reading
from appliance.tui.ink import FAINT, WARN, inked
from appliance.tui.job_screen import JobScreen
from appliance.tui.job_words import kept_of, mend, outcome, pace, why_not_paused
from appliance.tui.new_images import newest_folder, newest_images, read_picture
from appliance.tui.pace import Guess, guess_images, guess_judging, guess_tuning, seconds_of
from appliance.tui.page import Page
from appliance.tui.pictures import PictureScreen
from appliance.tui.retarget_data import Seen, cells_of, look, subject_fact
from appliance.tui.verdicts import verdict_text
from appliance.tui.widgets import MARKS, Action, Fact, Facts, age, choose, selected, span, when
from calibration.errors import WardposeError
from calibration.progress import Progress

LONG_SECONDS = 60.0


class RetargetPage(Page):
    TAB = "retarget"
    LIST = "#jobs"
    ABOUT = (
        "Synthetic images for exactly this camera's view, the detector and the pose model tuned on the same images, "
        "and a gate that lets each go live only if it beats the one in use on held-out pictures. 'All steps' queues "
        "everything; the jobs go on when this terminal is closed, and one that was interrupted is resumed where it "
        "was. One model alone is exported, scored or taken back on the screen 5 Models."
    )
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("everything", "All steps", "all", "primary"),
        Action("make", "Make images", "make"),
        Action("tune", "Tune a model", "tune"),
        Action("judge", "Judge", "judge"),
        Action("hold", "Pause the job", "hold"),
        Action("cancel", "Stop the job", "stop"),
        Action("resume", "Resume it", "resume"),
        Action("log", "Its log", "log"),
        Action("images", "See the images", "look"),
        Action("remove", "Delete images", "delete", "error"),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._seen: Seen | None = None
        self._newest = 0

    def contents(self) -> ComposeResult:
        yield Facts(id="facts")
        with Horizontal(classes="field"):
            yield Label("Images")
            yield Input(id="count", type="integer", compact=True)
            yield Label("  Epochs")
            yield Input(id="epochs", type="integer", compact=True)
        yield self.actions()
        with Horizontal(classes="columns"):
            with Vertical(classes="column"):
                table: DataTable[Any] = DataTable(id="jobs", cursor_type="row")
                table.add_columns("#", "job", "progress", "how it goes")
                yield table
                yield Static(id="chosen")
            with Vertical(classes="column"):
                yield Static(id="curve", classes="curve")
                yield Static("Last decisions of the gate", classes="title", id="verdict-title")
                yield Static(id="verdict")

    def gather(self, status: Mapping[str, Any]) -> Seen:
        return look(self.site)

    def show(self, data: Seen) -> None:
        if self._seen is None:
            self.query_one("#count", Input).value = str(data.settings.synthesis.count)
            self.query_one("#epochs", Input).value = str(data.settings.tuning.epochs)
        self._seen = data
        facts = [
            Fact("Viewpoint", data.calibrated, "good")
            if data.calibrated
            else Fact("Viewpoint", "not calibrated", "off", "3 Calibrate first")
        ]
        if data.dataset:
            name = Path(data.dataset["folder"]).name
            facts.append(Fact("Images", f"{data.dataset['images']} in {name}, {when(data.dataset['made_at'])}", "good"))
        else:
            facts.append(Fact("Images", "none yet", "off"))
        facts += [subject_fact(task, one, self.keys) for task, one in data.subjects.items()]
        if self.status.get("runner") is False and any(job.state == "queued" for job in data.jobs):
            facts.append(Fact("Jobs", NOBODY_RUNS_JOBS, "bad", START_THEM))
        self.query_one(Facts).show(facts)
        self.fill([(str(job.id), cells_of(job, data.task_of(job), self.wardpose.paces)) for job in data.jobs])
        table = self._list()
        table.display = bool(data.jobs)
        if self._newest and any(job.id == self._newest for job in data.jobs):
            choose(table, str(self._newest))
            self._newest = 0
        self._show_chosen()
        self.query_one("#verdict-title", Static).display = bool(data.verdicts)
        self.query_one("#verdict", Static).update(Text("\n").join(verdict_text(row) for row in data.verdicts))

    def _show_chosen(self) -> None:
        """What came of the job that the list stands on, and its curve."""
        job = self._job()
        way = "images of this bed's view, detector and pose model tuned on them, the gate's verdict"
        text, drawn = inked(f"No job yet. {self.keys.shown('all')} takes all steps: {way}.", FAINT), Text()
        if job is not None:
            text = Text()
            words, mark = outcome(job)
            sign, ink = MARKS[mark]
            if not job.active:
                text = Text.assemble((f"{sign} #{job.id} ", ink), words)
                if (seconds := seconds_of(job)) is not None:
                    text.append(f" ({span(seconds)})", FAINT)
                if then := self.keys.told(mend(job)):
                    text.append(f"\n→ {then}", WARN)
            elif job.pause_requested:
                text = Text.assemble((f"{sign} #{job.id} ", ink), words, f"\n→ {self.keys.told(mend(job))}")
            elif speed := pace(job, self.wardpose.paces):
                text = inked(f"#{job.id}: {speed}", FAINT)
            text.append("\n" * bool(text.plain) + "Enter: its page, with result, curves and log", FAINT)
            if self.has_class("-wide"):
                steps = JobStore(self.site).steps(job.id)
                points = losses(steps)
                name, points = ("loss", points) if len(points) > 1 else ("rate, a second", rates(steps))
                drawn = curve(points, 60, 5, name) if len(points) > 1 else Text()
        self.query_one("#chosen", Static).update(text)
        self.query_one("#curve", Static).update(drawn)
        self.query_one("#curve", Static).display = bool(drawn.plain)

    def refuse(self, data: Seen) -> dict[str, str]:
        uncalibrated = "" if data.calibrated else "calibrate first (3)"
        no_images = "" if data.dataset else "make images first"
        job = self._job()
        no_job = "" if job else "no job is selected" if data.jobs else "no job yet"
        tuned = any(one.newest for one in data.subjects.values())
        return {
            "everything": uncalibrated or data.subjects["detect"].why,
            "make": uncalibrated,
            "tune": no_images
            or ("" if any(one.base for one in data.subjects.values()) else data.subjects["detect"].why),
            "judge": "" if data.judgeable else "what was tuned is live" if tuned else "nothing was tuned yet",
            "cancel": no_job or ("" if job and job.active else "the selected job has ended"),
            "hold": no_job or (self.keys.told(why_not_paused(job)) if job else ""),
            "resume": no_job or ("" if job and _can_go_on(job) else "the job did not stop and is not paused"),
            "log": no_job,
            "images": "" if newest_folder(self.site) else "make images first",
            "remove": no_images,
        }

    def _job(self) -> Job | None:
        key = selected(self._list())
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
        self._newest = ids[0]
        jobs = f"jobs #{ids[0]} to #{ids[-1]} are asked for" if len(ids) > 1 else f"job #{ids[0]} is asked for"
        self.say(f"{jobs}; Enter shows how it goes", "good")

    def do_everything(self) -> None:
        """Images; what there is of detector and pose model tuned on them; both judged."""
        assert self._seen is not None
        count, epochs = self._number("count"), self._number("epochs")
        subjects = {task: one.base for task, one in self._seen.subjects.items() if one.base}
        jobs = self._seen.jobs
        guess = guess_images(jobs, count)
        for task in subjects:
            guess = guess + guess_tuning(jobs, task, count, epochs) + guess_judging(jobs)

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

        models = " and ".join(KINDS[task] for task in subjects)
        passes = f"{epochs} epoch{'' if epochs == 1 else 's'}"
        self.ask(
            f"Make {count} images, tune {models} on them for {passes} each, and let the gate judge them? "
            f"{_about(guess)} What proves better goes live. The jobs go on when this terminal is closed.",
            "Begin",
            lambda: self.work("queueing", submit, self._say_queued),
        )

    def do_make(self) -> None:
        assert self._seen is not None
        count = self._number("count")
        self._before_long(
            f"Make {count} images?", guess_images(self._seen.jobs, count),
            lambda: self._queue(("synth", {"scenario": "site", "count": count})),
        )  # fmt: skip

    def _before_long(self, question: str, guess: Guess, then: Callable[[], None]) -> None:
        """Ask before what takes longer than a person waits; what does not is done at once."""
        if guess.seconds < LONG_SECONDS:
            then()
        else:
            self.ask(f"{question} {_about(guess)}", "Begin", then)

    def do_tune(self) -> None:
        assert self._seen is not None
        tasks = [task for task, one in self._seen.subjects.items() if one.base]
        choices = [(task, f"the {KINDS[task]}, from {self._seen.subjects[task].base}") for task in tasks]
        if self._seen.subjects["pose"].why:
            self.say(self._seen.subjects["pose"].why, "warn")
        self.app.push_screen(Choose("Tune which?", choices), lambda task: self._tune(task) if task else None)

    def _tune(self, task: str) -> None:
        assert self._seen is not None and self._seen.dataset is not None
        base, data = self._seen.subjects[task].base, Path(self._seen.dataset["folder"])
        name = self._free_name(f"{base}-{data.name}")
        epochs, images = self._number("epochs"), int(self._seen.dataset["images"])
        parameters = {"model": base, "task": task, "data": str(data), "name": name, "epochs": epochs}
        self._before_long(
            f"Tune the {KINDS[task]} on {images} images, epochs: {epochs}?",
            guess_tuning(self._seen.jobs, task, images, epochs), lambda: self._queue(("tune", parameters)),
        )  # fmt: skip

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
            f"Judge {held} on held-out pictures of this bed? What proves better goes live; what does not stays out. "
            f"{_about(guess_judging(self._seen.jobs))}",
            "Judge",
            lambda: self._queue(*(("promote", {"model": name, "reason": self.here}) for name in judged.values())),
        )

    def do_cancel(self) -> None:
        job = self._job()
        assert job is not None and self._seen is not None
        ids = [job.id, *(other.id for other in followers(job, self._seen.jobs) if other.active)]
        behind = f" and the {len(ids) - 1} behind it that need it" if len(ids) > 1 else ""
        self.ask(
            f"Stop #{job.id} {job.title}{behind}? {self.keys.told(kept_of(job))}",
            "Stop it",
            lambda: self._stop(ids),
        )

    def _stop(self, ids: Sequence[int]) -> None:
        for number in ids[::-1]:
            self.can_undo(f"stopping #{number}", "jobs.resume", id=number)
        self._each("stopping", "jobs.cancel", ids[::-1])

    def do_hold(self) -> None:
        job = self._job()
        assert job is not None
        self.can_undo(f"pausing #{job.id}", "jobs.resume", id=job.id)
        self._each("asking for a pause of", "jobs.pause", [job.id])

    def do_resume(self) -> None:
        job = self._job()
        assert job is not None and self._seen is not None
        if job.active:
            self._each("resuming", "jobs.resume", [job.id])
            return
        self._each(
            "resuming", "jobs.resume", [job.id, *(f.id for f in followers(job, self._seen.jobs) if f.state in STOPPED)]
        )

    def _each(self, what: str, call: str, ids: Sequence[int]) -> None:
        def ask_service(_: Progress) -> None:
            for number in ids:
                self.ask_service(call, id=number)

        self.work(f"{what} {', '.join(f'#{number}' for number in sorted(ids))}", ask_service)

    def do_log(self) -> None:
        job = self._job()
        assert job is not None
        lines = JobStore(self.site).log_tail(job.id, 200)
        text = "\n".join(lines) or f"Its log is empty. {outcome(job)[0]}"
        self.app.push_screen(Reading(f"#{job.id} {job.title}: {job.state}", text))

    def do_images(self) -> None:
        """The newest training images: synthetic, so that nobody's reason is asked."""
        compared = self.site.pictures / "before-after.png"
        if not compared.is_file():
            self._show_newest()
            return
        choices = (("newest", "the newest training images"), ("compared", "before and after tuning, side by side"))
        self.app.push_screen(
            Choose("See which?", choices),
            lambda which: (
                self._show_newest() if which == "newest" else self._show_compared(compared) if which else None
            ),
        )

    def _show_compared(self, file: Path) -> None:
        title = f"The same pictures before and after tuning, made {age(_made_at(file))}"
        self.work(
            "opening the pictures", lambda _: read_picture(file), lambda picture: self._show(picture, title)
        )  # fmt: skip

    def _show_newest(self) -> None:
        folder = newest_folder(self.site)
        assert folder is not None
        title = f"The newest of {folder.name}: drawn people, none of them real"
        self.work(
            "opening the newest images", lambda _: newest_images(folder),
            lambda sheet: self._show(sheet, title),
        )  # fmt: skip

    def _show(self, sheet: Any, title: str) -> None:
        self.app.push_screen(PictureScreen(sheet, title))

    def do_remove(self) -> None:
        made = [Path(item["folder"]) for item in datasets.listed(self.site) if Path(item["folder"]).is_dir()]
        mine = [folder.name for folder in made if folder.parent == self.site.datasets]

        def remove(name: str) -> None:
            self.ask(
                f"Delete the images {name}? They can be made again from the same seed.", "Delete them",
                lambda: self.call(f"deleting {name}", "datasets.remove", name=name, reason=self.here),
            )  # fmt: skip

        choices = Choose("Delete which images?", [(name, name) for name in mine])
        self.app.push_screen(choices, lambda name: remove(name) if name else None)

    def on_data_table_row_selected(self) -> None:
        if (job := self._job()) is not None:
            wants = {"stop": "cancel", "resume": "resume", "log": "log", "hold": "hold"}
            screen = JobScreen(self, job.id)
            self.app.push_screen(screen, lambda want: self.action_act(wants[want]) if want else None)

    def on_data_table_row_highlighted(self) -> None:
        if self._seen is not None:
            self._show_chosen()


def _can_go_on(job: Job) -> bool:
    return job.pause_requested if job.active else job.state in STOPPED


def _made_at(file: Path) -> str:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat()


def _about(guess: Guess) -> str:
    """How long something will take, in a sentence that says how well that is known."""
    if guess.measured:
        return f"About {span(guess.seconds)}, by this box's earlier jobs."
    return f"Perhaps {span(guess.seconds)}; this box has done no such job yet that would tell."
