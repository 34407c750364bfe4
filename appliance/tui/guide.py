"""The set-up guide: from a bare box to a live one, step by step, each of which checks itself.

What is done is read from the site, so that the guide goes on where it was left, after a power cut too. Only what no
file can tell, that a person saw to something or that the camera was examined, is kept, in the settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Static

from appliance.jobs.store import Job, JobStore
from appliance.models.in_use import KINDS
from appliance.models.store import ModelStore
from appliance.site.settings import load_settings
from appliance.tui.ink import BOLD, FAINT, WARN, inked
from appliance.tui.job_words import pace, task_of, told
from appliance.tui.pace import Guess, guess_images, guess_judging, guess_tuning
from appliance.tui.page import Page
from appliance.tui.verdicts import verdict_text
from appliance.tui.way import Stage, the_way
from appliance.tui.widgets import MARKS, Action, bar, choose, selected, span

_REST = 55  # columns that the table of steps takes beside "how it is"
LIVELY = ("live", "not this bed", "boxes")  # states of the stage live in which people are shown


@dataclass(frozen=True, slots=True)
class Step:
    """One step. about: what it is for and how it goes; page, action: where it is done; mark, state: how it is;
    seconds: how long it still takes; by_person: done when a person says so; skippable: the way goes on without it."""

    name: str
    title: str
    about: str
    page: str
    action: str
    mark: str
    state: str
    seconds: float = 60.0
    by_person: bool = False
    skippable: bool = False

    @property
    def done(self) -> bool:
        return self.mark == "good"


@dataclass(frozen=True, slots=True)
class Seen:
    steps: tuple[Step, ...]
    jobs: tuple[Job, ...]
    verdicts: tuple[Mapping[str, Any], ...]
    noted: frozenset[str]

    @property
    def next(self) -> Step | None:
        return next((step for step in self.steps if not step.done), None)


class GuidePage(Page):
    TAB = "guide"
    LIST = "#steps"
    ABOUT = (
        "Set a new box up, step by step. Enter does the step that the list stands on; each step checks itself. "
        "Leave whenever you like: <guide> comes back to the step that is next, after a power cut too."
    )
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("go", "Done: I saw to it", "use", "primary"),
        Action("skip", "Leave this step out", "skip"),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._stood = ""  # the step that the cursor was put on

    def contents(self) -> ComposeResult:
        yield Static(id="how-far")
        with Horizontal(classes="columns"):
            with Vertical(classes="column"):
                table: DataTable[Any] = DataTable(id="steps", cursor_type="row")
                table.add_columns("", "step", "how it is", "left")
                yield table
            with Vertical(classes="column"):
                yield Static(id="step")
        yield self.actions()

    def gather(self, status: Mapping[str, Any]) -> Seen:
        noted = frozenset(load_settings(self.site).terminal.guide.split())
        jobs = tuple(JobStore(self.site).all(100))
        decisions = ModelStore(self.site).promotions(30)
        newest = [next((row for row in decisions if row["task"] == task), None) for task in KINDS]
        return Seen(
            steps_of(self.site, the_way(self.site, status), jobs, noted),
            jobs,
            tuple(row for row in newest if row),
            noted,
        )

    def show(self, data: Seen) -> None:
        done = sum(step.done for step in data.steps)
        wanted = data.next
        text = Text.assemble(("Setting this box up  ", "bold"), bar(done / len(data.steps), 20))
        text.append(f"   {done} of {len(data.steps)}", FAINT)
        if wanted:
            left = _minutes(sum(step.seconds for step in data.steps if not step.done))
            text.append(f", about {left} left", FAINT)
        text.append(
            f"\nNext: {wanted.title}"
            if wanted
            else "\nAll is done. Hand over: the nurse's page is on this box's screen."
        )
        self.query_one("#how-far", Static).update(text)
        rows = []
        width = self.size.width * (3 if self.has_class("-wide") else 5) // 5  # of the table's column
        for step in data.steps:
            sign, ink = MARKS[step.mark]
            how = inked(step.state, FAINT)
            how.truncate(max(width - _REST, 20), overflow="ellipsis")
            left = "" if step.done else _minutes(step.seconds)
            rows.append((step.name, (inked(sign, ink), Text(step.title), how, inked(left, FAINT))))
        self.fill(rows)
        if wanted is None:
            self.wardpose.guided = False
        elif wanted.name != self._stood:
            self._stood = wanted.name
            choose(self._list(), wanted.name)
        self._show_step()

    def refuse(self, data: Seen) -> dict[str, str]:
        step = self._step()
        if step is None:
            return {}
        noted = step.name in data.noted
        return {
            "go": "" if step.by_person and not step.done else
            "it is done" if step.done else "this step checks itself: Enter does it",
            "skip": "" if noted or (step.skippable and not step.done) else
            "the way does not go on without this step" if not step.done else "it checks itself",
        }  # fmt: skip

    def _step(self) -> Step | None:
        key = selected(self._list())
        steps = self._data.steps if self._data is not None else ()
        return next((step for step in steps if step.name == key), None)

    def _show_step(self) -> None:
        step = self._step()
        if step is None or self._data is None:
            return
        sign, ink = MARKS[step.mark]
        text = Text.assemble(
            (f"{sign} {step.title}", BOLD.get(ink, "bold")), f": {step.state}\n\n{self.keys.told(step.about)}\n"
        )
        if not step.done:
            yes = self.keys.shown("use")
            enter = f"{yes} says that you saw to it" if step.by_person and not step.action else "Enter does it"
            both = f"; {yes} says that it is done" if step.by_person and step.action else ""
            text.append(f"\n→ {enter}{both}", WARN)
            if step.skippable:
                text.append(f"; {self.keys.shown('skip')} leaves it out", WARN)
            text.append("\n")
        active = [job for job in self._data.jobs if job.active][::-1]
        if step.name == "retarget" and active:
            text.append("\n")
            for job in active[:5]:
                speed = pace(job, self.wardpose.paces)
                text.append(f"{told(job, task_of(job, self._data.jobs))}{f' ({speed})' if speed else ''}\n")
        if step.name == "review":
            for row in self._data.verdicts:
                text.append("\n").append_text(verdict_text(row))
        text.rstrip()
        self.query_one("#step", Static).update(text)

    def on_screen_resume(self) -> None:
        if not self.busy:
            self.say("")  # what was said before the step was gone to

    def on_data_table_row_highlighted(self) -> None:
        self._show_step()

    def on_data_table_row_selected(self) -> None:
        step = self._step()
        if step is None:
            return
        self.wardpose.guided = True
        if step.action:
            self.wardpose.take(step.page, step.action)
        elif step.by_person:
            self.action_act("go")
        else:
            self.wardpose.action_go(step.page)

    def do_go(self) -> None:
        step = self._step()
        assert step is not None
        self._note(step, there=True)

    def do_skip(self) -> None:
        step = self._step()
        assert step is not None
        self._note(step, there=step.name not in self._data.noted)

    def _note(self, step: Step, *, there: bool) -> None:
        noted = set(self._data.noted)
        before = " ".join(sorted(noted))
        (noted.add if there else noted.discard)(step.name)
        self.can_undo(f"the step {step.title}", "settings.set", section="terminal", name="guide", value=before)
        self.call(
            step.title, "settings.set", section="terminal", name="guide", value=" ".join(sorted(noted))
        )  # fmt: skip


def _minutes(seconds: float) -> str:
    """Nobody plans by the second."""
    return f"{max(round(seconds / 60), 1)} min" if seconds < 90 else span(seconds)


def _guess(job: Job, jobs: Sequence[Job], count: int, epochs: int) -> Guess:
    """How long one job of retargeting takes as a whole."""
    asked = job.parameters
    if job.kind == "synth":
        return guess_images(jobs, int(asked.get("count") or count))
    if job.kind == "tune":
        return guess_tuning(jobs, str(asked.get("task") or "detect"), count, int(asked.get("epochs") or epochs))
    return guess_judging(jobs)


def steps_of(site: Any, way: tuple[Stage, ...], jobs: tuple[Job, ...], noted: frozenset[str]) -> tuple[Step, ...]:
    """The steps as they are. noted: those that a person saw to."""
    stages = {stage.name: stage for stage in way}
    settings = load_settings(site)
    camera, calibration, plate = stages["camera"], stages["calibration"], stages["plates"]
    tuning, gate, live = stages["tuning"], stages["gate"], stages["live"]
    count, epochs = settings.synthesis.count, settings.tuning.epochs
    guess = guess_images(jobs, count)
    for task in KINDS:
        guess = guess + guess_tuning(jobs, task, count, epochs) + guess_judging(jobs)
    running = [job for job in jobs if job.active and job.kind in ("synth", "tune", "promote")]
    at_work, seconds = bool(running), guess.seconds
    if at_work:
        seconds = sum((1 - job.fraction) * _guess(job, jobs, count, epochs).seconds for job in running)
    judged = gate.state in ("passed", "refused")
    return (
        Step(
            name="camera", title="Camera", page="camera", action="probe",
            about="Choose the camera beside this bed, let the box look once, and use it. The simulated ward is a "
            "camera like any other, to try the whole way without one.",
            mark="good" if calibration.done or "camera" in noted else camera.mark, state=camera.told, by_person=True,
        ),
        Step(
            name="calibrate", title="Calibration", page="calibrate",
            action="open" if calibration.state == "unconfirmed" else "calibrate",
            about="Write the tag sheet (<write> on 3 Calibrate), print it at 100 %, lay it on the empty bed, and let "
            "the box look. Then say where head and foot are.",
            mark=calibration.mark, state=calibration.told, seconds=120,
        ),
        Step(
            name="plates", title="Plate of the empty bed", page="camera", action="plate",
            about="A picture of the empty room makes the training images look like it. Empty the bed, step aside. You "
            "see it before it is kept.",
            mark="good" if plate.done or "plates" in noted else "off",
            state="left out" if "plates" in noted and not plate.done else plate.told, skippable=True,
        ),
        Step(
            name="retarget", title="Retarget", page="retarget", action="" if at_work else "everything",
            about="Images of this bed's view, detector and pose model tuned on them, and the gate. It goes on when "
            "this terminal is closed.",
            mark="good" if judged and not at_work else "warn" if at_work else "off",
            state="at work" if at_work else gate.told if judged else tuning.told, seconds=seconds,
        ),
        Step(
            name="review", title="Review", page="retarget", action="",
            about="Read what the gate decided. A refusal leaves the old model live, which is safe.",
            mark="good" if "review" in noted else "off",
            state="read" if "review" in noted else "to be read" if judged else "the gate has not judged yet",
            by_person=True,
        ),
        Step(
            name="live", title="Go live", page="live",
            action="" if live.state in (*LIVELY, "starting", "paused") else "start",
            about="Start the live path and look whether the skeleton lies where the person lies.",
            mark="good" if live.state in LIVELY else live.mark, state=live.told,
        ),
        Step(
            name="hand-over", title="Hand over", page="live", action="",
            about="Show the nurse the page on this box's screen: what LIVE, PAUSED and NO SIGNAL look like, and the "
            "pause. Say that it is no alarm.",
            mark="good" if "hand-over" in noted else "off",
            state="handed over" if "hand-over" in noted else "not yet", seconds=300, by_person=True,
        ),
    )  # fmt: skip
