"""What the screens share: the line of tabs, facts in rows, actions that say why they can't be taken, and the notice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.coordinate import Coordinate
from textual.widgets import Button, DataTable, Static

from appliance.site.audit import AuditRow
from appliance.tui.ink import BAD, FAINT, GOOD, WARN, inked
from appliance.tui.keys import MEANINGS, Keys

NO_ALARM = "It is no alarm and no medical device."
PAGES = ("overview", "camera", "calibrate", "retarget", "models", "live", "privacy", "system")
STILL_LOOKING = "this screen has just begun to look"
ROW_WIDTH = 74  # what fits beside the scroll bar of a terminal of 80 columns

_REASON = 140  # letters of a reason that a list shows
MARKS = {"good": ("●", GOOD), "warn": ("▲", WARN), "bad": ("■", BAD), "off": ("○", FAINT), "": (" ", FAINT)}


class Tabs(Static):
    """The screens with their keys; a click opens one."""

    def __init__(self, here: str) -> None:
        parts = []
        for number, name in enumerate(PAGES, start=1):
            style = "reverse bold" if name == here else ""
            parts.append(f"[{style} @click=app.go('{name}')]{number} {name.capitalize()}[/]")
        super().__init__(" ".join(parts), id="tabs")


@dataclass(frozen=True, slots=True)
class Fact:
    """One row: what it is about, how it is (`mark`: good, warn, bad, off), and what to do next."""

    name: str
    text: str
    mark: str = ""
    next: str = ""


class Facts(Static):
    """Rows of facts; long ones wrap, nothing is cut off."""

    def show(self, facts: Iterable[Fact]) -> None:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(width=12, style=FAINT)
        table.add_column(ratio=1, overflow="fold")
        for fact in facts:
            sign, colour = MARKS[fact.mark]
            body = Text(fact.text)
            if fact.next:
                body.append(f"\n→ {fact.next}", WARN)
            table.add_row(inked(sign, colour), Text(fact.name), body)
        self.update(table)


@dataclass(frozen=True, slots=True)
class Action:
    """Something a person can do on a screen, by its button or its key.

    means: what its key means, see `appliance.tui.keys`. The button shows the key, so that the footer need not.
    """

    id: str
    label: str
    means: str
    variant: str = "default"

    def binding(self, keys: Keys) -> Binding:
        return Binding(keys[self.means], f"act('{self.id}')", MEANINGS[self.means].word, show=False)


class Actions(Vertical):
    """Buttons for some actions. What can't be done now is dimmed, and a line below says why."""

    def __init__(self, keys: Keys, *actions: Action, **options: Any) -> None:
        super().__init__(classes="actions", **options)
        self._keys, self._actions = keys, actions
        self._reasons: dict[str, str] | None = None  # until something was looked at

    def compose(self) -> ComposeResult:
        rows: list[list[Action]] = [[]]
        for action in self._actions:
            if rows[-1] and sum(self._width(other) for other in [*rows[-1], action]) > ROW_WIDTH:
                rows.append([])
            rows[-1].append(action)
        for row in rows:
            with Horizontal(classes="buttons"):
                for action in row:
                    label = Text.assemble((self._keys.shown(action.means), "underline"), f" {action.label}")
                    yield Button(label, id=action.id, variant=action.variant, compact=True, disabled=True)  # type: ignore[arg-type]
        yield Static(classes="reasons")

    def allow(self, reasons: Mapping[str, str]) -> None:
        """reasons: for each action why it can't be taken now; empty where it can. Raises `NoMatches` where the buttons
        are still to come; those reasons are not taken for told."""
        if dict(reasons) == self._reasons:
            return
        together: dict[str, list[str]] = {}
        for action in self._actions:
            why = reasons.get(action.id, "")
            button = self.query_one(f"#{action.id}", Button)
            button.disabled, button.tooltip = bool(why), why or None
            if why:
                together.setdefault(why, []).append(action.label)
        lines = [f"{', '.join(labels)}: {why}" for why, labels in together.items()]
        note = self.query_one(".reasons", Static)
        note.update(inked("\n".join(lines), FAINT))
        note.display = bool(lines)
        self._reasons = dict(reasons)

    def forget(self) -> None:
        """Write the reasons anew at the next look: the inks have changed."""
        self._reasons = None

    def why_not(self, action: str) -> str:
        return STILL_LOOKING if self._reasons is None else self._reasons.get(action, "")

    def _width(self, action: Action) -> int:
        return len(self._keys.shown(action.means)) + len(action.label) + 6


class Notice(Static):
    """One place above the footer for what just happened, and for what is wrong as long as it is."""

    def __init__(self) -> None:
        super().__init__(id="notice")
        self._said, self._problem = Text(), ""

    def on_mount(self) -> None:
        self._draw()

    def say(self, text: str, mark: str = "") -> None:
        sign = f"{MARKS[mark][0]} " if mark else ""
        self._said = inked(f"{sign}{text}" if text else "", MARKS[mark][1] if mark else "")
        self._draw()

    def problem(self, text: str) -> None:
        if text != self._problem:
            self._problem = text
            self._draw()

    @property
    def text(self) -> str:
        return f"{self._problem}\n{self._said.plain}".strip()

    def _draw(self) -> None:
        lines = [line for line in (inked(self._problem, BAD), self._said) if line.plain]
        self.update(Text("\n").join(lines))
        self.display = bool(lines)


def fill(table: DataTable[Text], rows: Sequence[tuple[str, Sequence[str | Text]]]) -> None:
    """Show `rows` of (key, cells), keeping the cursor on the row it was on."""
    cells = [(key, [cell if isinstance(cell, Text) else Text(str(cell)) for cell in row]) for key, row in rows]
    if [row.value for row in table.rows] == [key for key, _ in cells]:
        for index, (_, row) in enumerate(cells):
            for column, cell in enumerate(row):
                place = Coordinate(index, column)
                if table.get_cell_at(place) != cell:
                    table.update_cell_at(place, cell, update_width=True)
        return
    before = selected(table)
    table.clear()
    for key, row in cells:
        table.add_row(*row, key=key, height=None)
    keys = [key for key, _ in cells]
    if before in keys:
        table.move_cursor(row=keys.index(before))


def choose(table: DataTable[Any], key: str) -> None:
    """Put the cursor on the row with that key, where there is one."""
    keys = [str(row.value) for row in table.rows]
    if key in keys:
        table.move_cursor(row=keys.index(key))


def selected(table: DataTable[Any]) -> str:
    """The key of the row the cursor is on, empty when there is none."""
    if not table.row_count or table.cursor_row >= table.row_count:
        return ""
    return str(table.coordinate_to_cell_key(Coordinate(table.cursor_row, 0)).row_key.value)


def bar(fraction: float, width: int = 14) -> Text:
    """A progress bar in characters, with its percentage."""
    full = round(max(0.0, min(fraction, 1.0)) * width)
    return Text.assemble(("━" * full, GOOD), ("─" * (width - full), FAINT), f" {100 * fraction:3.0f} %")


def audit_lines(rows: Iterable[AuditRow], none: str) -> Text:
    """The audit trail's rows as a screen shows them, a line each; the words `none` where there is none."""
    lines = Text()
    for row in rows:
        lines.append(f"{when(row.at)}  ", FAINT).append(f"{row.who}  {row.what}  ").append(row.subject, "bold")
        lines.append(f"  {row.reason[:_REASON]}\n" if row.reason else "\n", FAINT)
    lines.rstrip()
    return lines if lines else inked(none, FAINT)


def when(stamp: str) -> str:
    """A stored UTC time in this box's own time."""
    return datetime.fromisoformat(stamp).astimezone().strftime("%d %b %H:%M") if stamp else ""


def age(stamp: str) -> str:
    """How long ago a stored UTC time was, in one figure; empty for none."""
    if not stamp:
        return ""
    at = datetime.fromisoformat(stamp)
    seconds = (datetime.now(UTC) - (at if at.tzinfo else at.replace(tzinfo=UTC))).total_seconds()
    return f"{span(max(seconds, 0.0))} ago" if seconds >= 60 else "just now"


def span(seconds: float) -> str:
    """A stretch of time in one figure: 40 s, 12 min, 3 h, 5 days."""
    for size, most, unit in ((1, 90, "s"), (60, 5400, "min"), (3600, 129_600, "h")):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def number(value: float | None, unit: str = "", digits: int = 0) -> str:
    return "unknown" if value is None else f"{value:.{digits}f}{f' {unit}' if unit else ''}"
