"""Overview: the way as a picture, whether the box works, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static

from appliance.jobs.store import Job, JobStore
from appliance.live.status import is_fresh
from appliance.models.in_use import told_in_use
from appliance.site import audit
from appliance.tui.ink import BOLD, FAINT, WARN, inked
from appliance.tui.job_words import pace, task_of, told
from appliance.tui.page import Page
from appliance.tui.way import Stage, next_stage, the_way
from appliance.tui.widgets import MARKS, NO_ALARM, Fact, Facts, bar, when
from runtime.state import not_this_bed


@dataclass(frozen=True, slots=True)
class Seen:
    """What Overview shows. Problems that don't concern the whole screen stand in their own rows."""

    way: tuple[Stage, ...]
    facts: tuple[Fact, ...]
    jobs: tuple[Job, ...]
    deeds: tuple[audit.AuditRow, ...]


class Way(Static, can_focus=True):
    """The stages in a line, one of them selected by the arrows or the mouse; Enter goes there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Stage before", show=False),
        Binding("right", "step(1)", "Stage after", show=False),
        Binding("up", "step(-1)", "Stage before", show=False),
        Binding("down", "step(1)", "Stage after", show=False),
        Binding("enter", "open", "Go there"),
    ]

    class Opened(Message):
        """Somebody wants to go to a stage."""

        def __init__(self, stage: Stage) -> None:
            super().__init__()
            self.stage = stage

    def __init__(self) -> None:
        super().__init__(id="way")
        self._stages: tuple[Stage, ...] = ()
        self._at = 0
        self._moved = False

    @property
    def stage(self) -> Stage | None:
        return self._stages[self._at] if self._stages else None

    def show(self, stages: tuple[Stage, ...]) -> None:
        self._stages = stages
        if not self._moved and (first := next_stage(stages)) is not None:
            self._at = stages.index(first)
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def on_focus(self) -> None:
        self._draw()

    def action_step(self, by: int) -> None:
        self._moved = True
        self._at = (self._at + by) % max(len(self._stages), 1)
        self._draw()

    def action_open(self) -> None:
        if self.stage is not None:
            self.post_message(self.Opened(self.stage))

    def on_click(self, event: events.Click) -> None:
        if self._stages and self.size.width:
            at = min(event.x * len(self._stages) // self.size.width, len(self._stages) - 1)
            again, self._at, self._moved = at == self._at, at, True
            self._draw()
            if again:
                self.action_open()

    def _draw(self) -> None:
        if not self._stages or not self.size.width:
            return
        width = self.size.width // len(self._stages)
        self.update(Text("\n").join(_line(self._stages, self._at, width, part) for part in range(5)))


def _line(stages: Sequence[Stage], at: int, width: int, part: int) -> Text:
    """One of the picture's five lines: the line with the marks, names, states, figures, ages."""
    line = Text(no_wrap=True)
    for index, stage in enumerate(stages):
        sign, ink = MARKS[stage.mark]
        if part == 0:
            rail = "━" if stage.done else "╌"
            rail_ink = ink if stage.done else FAINT
            last = index == len(stages) - 1
            line.append("▶" if index == at else " ", BOLD.get(ink, ink))
            line.append(sign, BOLD.get(ink, ink))
            line.append(" " if last else " " + rail * max(width - 4, 0) + " ", rail_ink)
            continue
        text = (_name(stage, width), stage.state, stage.figure, stage.age)[part - 1]
        style = ("bold reverse" if index == at else "bold", ink, "", FAINT)[part - 1]
        held = f"{text[: width - 1]}"
        line.append(held, style if held else "")
        line.append(" " * (width - len(held)))
    return line


def _name(stage: Stage, width: int) -> str:
    return stage.name.capitalize() if len(stage.name) < width else stage.name.capitalize().replace("tion", "te")


class OverviewPage(Page):
    TAB = "overview"
    ABOUT = (
        "The way from a bare box to a live one, and how it is. ← and → choose a stage, Enter goes there. "
        "● is well, ▲ wants a look, ■ is wrong, ○ is not there yet. A new box: <guide> opens the set-up guide."
    )
    AUTO_FOCUS = "#way"

    def contents(self) -> ComposeResult:
        yield Static(inked(NO_ALARM, WARN), id="answer")
        yield Way()
        yield Static(id="stage")
        with Horizontal(classes="columns"):
            with Vertical(classes="column"):
                yield Facts(id="facts")
            with Vertical(classes="column"):
                yield Static("Jobs", classes="title")
                yield Static(id="jobs-now")
                yield Static("Who did what", classes="title wide")
                yield Static(id="deeds", classes="wide")

    def gather(self, status: Mapping[str, Any]) -> Seen:
        looks = (self._models, self._doctor)
        facts = tuple(fact for look in looks for fact in look(status))
        jobs = tuple(JobStore(self.site).all(20))
        return Seen(the_way(self.site, status), facts, jobs, tuple(audit.rows(self.site, 12)))

    def show(self, data: Seen) -> None:
        self.query_one("#answer", Static).update(self._answer(data))
        way = self.query_one(Way)
        way.show(data.way)
        self._show_stage()
        self.query_one(Facts).show(data.facts)
        self.query_one("#jobs-now", Static).update(self._jobs(data.jobs))
        lines = Text(no_wrap=True, overflow="ellipsis")
        for row in data.deeds:
            lines.append(f"{when(row.at)} ", FAINT).append(f"{row.who} {row.what} ").append(f"{row.subject}\n", FAINT)
        lines.rstrip()
        self.query_one("#deeds", Static).update(lines)

    def _answer(self, data: Seen) -> Group:
        """Is it working, and what do I do now?"""
        live = self.status.get("live") or {}
        if is_fresh(self.status):
            other = not_this_bed(live.get("origin", "unknown"))
            works = ("It works, on what is not this bed", "warn") if other else ("It works", "good")
        elif self.status.get("pause"):
            works = ("It is paused: nothing is looked at", "warn")
        elif not self.status:
            works = ("Asking the service …", "off")
        else:
            works = ("It does not work yet", "off") if not live.get("runs") else ("It does not work now", "bad")
        sign, ink = MARKS[works[1]]
        first = Text.assemble((f"{sign} {works[0]}", BOLD.get(ink, ink)), ("   " + NO_ALARM, WARN))
        wanted = next_stage(data.way)
        waits = next((stage for stage in data.way if stage.state in ("at work", "starting")), None)
        if wanted is not None and (waits is None or wanted.mark == "bad"):
            second = Text.assemble(("Do now: ", "bold"), self.keys.told(wanted.next))
            second.append(f"   {self.keys.shown('guide')}: the set-up guide", FAINT)
        elif waits is not None:
            second = Text.assemble(("Wait: ", "bold"), waits.told)
        else:
            second = Text.assemble(("All is well. ", "bold"), ("This screen looks again by itself.", FAINT))
        return Group(first, second)

    def _show_stage(self) -> None:
        stage = self.query_one(Way).stage
        if stage is None:
            return
        sign, ink = MARKS[stage.mark]
        text = Text.assemble((f"{sign} {stage.name.capitalize()}: ", BOLD.get(ink, ink)), stage.told)
        if stage.next:
            text.append(f"\n→ {self.keys.told(stage.next)}", WARN)
        text.append(f"\n  Enter opens {stage.page.capitalize()}", FAINT)
        self.query_one("#stage", Static).update(text)

    def action_step(self, by: int) -> None:
        self.query_one(Way).action_step(by)
        self._show_stage()

    def on_way_opened(self, event: Way.Opened) -> None:
        self.wardpose.action_go(event.stage.page)

    def on_key(self, event: events.Key) -> None:
        self.call_after_refresh(self._show_stage)

    def on_click(self, event: events.Click) -> None:
        self.call_after_refresh(self._show_stage)

    def _jobs(self, jobs: Sequence[Job]) -> Text | Table:
        active = [job for job in reversed(jobs) if job.active]
        if not jobs:
            return inked("none yet", FAINT)
        if not active:
            return Text.assemble(("last: ", FAINT), told(jobs[0], task_of(jobs[0], jobs)))
        table = Table.grid(padding=(0, 1))
        table.add_column(ratio=1)
        for job in active[:3]:
            line = Text(told(job, task_of(job, jobs)))
            if speed := pace(job, self.wardpose.paces):
                line.append(f" ({speed})", FAINT)
            table.add_row(line)
            if job.state == "running" and job.total:
                table.add_row(bar(job.fraction, 30))
        if len(active) > 3:
            table.add_row(inked(f"and {len(active) - 3} more queued", FAINT))
        return table

    def _models(self, status: Mapping[str, Any]) -> Iterator[Fact]:
        fetch = self.keys.told("5 Models: <fetch> fetches those trained on photographs")
        tune = "4 Retarget: tune them to this bed"
        for model in told_in_use(self.site):
            name = model.kind.capitalize()
            if model.broken:
                yield Fact(name, model.text, "bad", "5 Models: import it again, or roll back")
            elif not model.ok:
                yield Fact(name, model.text, "warn", fetch)
                fetch = ""  # said once
            else:
                yield Fact(name, model.text, "good", "" if model.tuned else tune)
                tune = tune if model.tuned else ""

    def _doctor(self, status: Mapping[str, Any]) -> Iterator[Fact]:
        if owner := (status.get("live") or {}).get("owner"):
            yield Fact("Run by", owner["words"], "good" if status["live"]["plan"] else "off")
        health = status.get("health") or {"ok": None, "checks": []}
        lacking = [check for check in health["checks"] if not check["ok"] and not check["optional"]]
        for check in lacking:
            yield Fact("Doctor", f"{check['name']}: {check['detail']}", "bad", check["mend"])
        if not lacking:
            words = "nothing needs mending" if health["ok"] else "has not looked yet"
            yield Fact("Doctor", words, "good" if health["ok"] else "off")
