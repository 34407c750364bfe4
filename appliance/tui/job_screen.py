"""A job's page: how it goes or what came of it, what to do then, its curves, and the end of its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from appliance.jobs.store import STOPPED, Job, JobStore
from appliance.tui.curves import curve, losses, rates
from appliance.tui.ink import BOLD, FAINT, WARN, inked
from appliance.tui.job_words import mend, outcome, pace, task_of, title
from appliance.tui.pace import seconds_of
from appliance.tui.verdicts import figures_table, sets_table
from appliance.tui.widgets import MARKS, bar, span, when
from calibration.errors import WardposeError

if TYPE_CHECKING:
    from appliance.tui.page import Page

LOG_LINES = 12


class JobScreen(ModalScreen[str]):
    """Looks again every second; returns `stop`, `resume`, `log` or `hold` where that is wanted of the job."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,enter", "leave", "Close")]
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, page: Page, number: int) -> None:
        super().__init__()
        self._page, self._number = page, number
        for meaning in ("stop", "resume", "log", "hold"):
            self._bindings.bind(page.keys[meaning], f"want('{meaning}')")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog reading large"):
            yield Static(id="job-title")
            with VerticalScroll():
                yield Static(id="job-state")
                yield Static(id="job-figures")
                yield Static(id="job-curves", classes="curve")
                yield Static(id="job-log", classes="hint")
            yield Static(id="job-keys")

    def on_mount(self) -> None:
        self._look()
        self.set_interval(1.0, self._look)

    def _look(self) -> None:
        store = JobStore(self._page.site)
        try:
            job = store.get(self._number)
        except WardposeError as error:
            self.query_one("#job-state", Static).update(str(error))
            return
        self.query_one("#job-title", Static).update(
            Text(f"#{job.id} {title(job, task_of(job, store.all(30)))}", "bold")
        )
        self.query_one("#job-state", Static).update(self._state(job))
        result = job.result or {}
        tables: list[Table] = []
        if job.kind == "promote":
            compared = figures_table(result.get("before") or {}, result.get("after") or {})
            tables = [each for each in (compared, sets_table(result.get("evidence") or {})) if each is not None]
        reasons = "\n".join(f"- {reason}" for reason in result.get("reasons", ()))
        figures = self.query_one("#job-figures", Static)
        figures.update(Group(*tables) if tables else _plain(job))
        figures.display = bool(tables) or bool(_plain(job).plain)
        columns = max(self.size.width - 20, 40) if self.size.width < 130 else 100
        steps = store.steps(job.id)
        drawn = [
            curve(points, columns, 4, name)
            for name, points in (("loss", losses(steps)), ("rate, a second", rates(steps)))
            if len(points) > 1
        ]
        self.query_one("#job-curves", Static).update(Text("\n").join(drawn))
        lines = store.log_tail(job.id, LOG_LINES)
        log = "\n".join(lines) if lines else "its log is empty: what it has to say stands above"
        self.query_one("#job-log", Static).update(Text(f"{reasons}\n" * bool(reasons) + log))
        self.query_one("#job-keys", Static).update(inked(self._keys(job), FAINT))

    def _state(self, job: Job) -> Text:
        if job.state == "running" and not job.pause_requested:
            text = Text.assemble(bar(job.fraction, 40), f"  {job.done} of {job.total}\n" if job.total else "\n")
            text.append(f"{job.note}\n" if job.note else "")
            text.append(pace(job, self._page.wardpose.paces) or "rate and time left are known in some seconds", FAINT)
        else:
            words, mark = outcome(job)
            sign, ink = MARKS[mark]
            text = Text.assemble((f"{sign} ", BOLD.get(ink, ink)), (words, "bold"))
            if then := self._page.keys.told(mend(job)):
                text.append(f"\n→ {then}", WARN)
        seconds = seconds_of(job)
        times = [f"asked for by {job.asked_by}, {when(job.created_at)}"]
        if job.started_at:
            times.append(f"begun {when(job.started_at)}")
        if seconds is not None:
            times.append(f"{'took' if job.finished_at else 'runs for'} {span(seconds)}")
        if job.attempts > 1:
            times.append(f"{job.attempts} attempts")
        text.append(f"\n{'; '.join(times)}", FAINT)
        return text

    def _keys(self, job: Job) -> str:
        keys = self._page.keys
        offered = [f"{keys.shown('log')} the whole log"]
        if job.active:
            offered.append(f"{keys.shown('stop')} stops it{', what is finished is kept' if job.resumable else ''}")
        if not (job.why_not_paused or job.pause_requested):
            offered.append(f"{keys.shown('hold')} pauses it")
        if job.active and job.pause_requested:
            offered.append(f"{keys.shown('resume')} lets it go on")
        if job.state in STOPPED:
            offered.append(f"{keys.shown('resume')} {'resumes it' if job.resumable else 'starts it again'}")
        return " · ".join([*offered, "Esc closes this"])

    def action_want(self, meaning: str) -> None:
        self.dismiss(meaning)

    def action_leave(self) -> None:
        self.dismiss("")


def _plain(job: Job) -> Text:
    """The figures of a result, a line each."""
    text = Text()
    for name, value in (job.result or {}).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            text.append(f"{name.replace('_', ' '):<16}", FAINT).append(f"{shown}\n")
    text.rstrip()
    return text
