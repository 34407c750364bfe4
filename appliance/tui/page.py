"""What every screen is: tabs, the state of the live path in one line, its own content, a notice, the keys."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, cast

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Button, DataTable, Footer, Input, Static

from appliance.client import ServiceClient
from appliance.live.status import live_words
from appliance.site.folder import SiteFolder
from appliance.tui.deeds_done import DeedsDone
from appliance.tui.dialogs import Ask
from appliance.tui.ink import BOLD, FAINT
from appliance.tui.keys import MEANINGS, Keys
from appliance.tui.pace import Paces
from appliance.tui.widgets import Action, Actions, Notice, Tabs, fill
from calibration.errors import WardposeError
from calibration.progress import Progress
from calibration.redaction import redacted

Result = TypeVar("Result")
Rows = Sequence[tuple[str, Sequence[str | Text]]]


class Host(Protocol):
    """What a page asks of the app that shows it."""

    leaving: threading.Event
    answered: bool  # whether the service has ever answered
    guided: bool  # whether the set-up guide led here
    done: DeedsDone
    paces: Paces

    def look_again(self) -> None: ...

    def on_screen(self, function: Callable[..., Any], *arguments: Any) -> None: ...

    def action_go(self, name: str) -> None: ...

    def take(self, name: str, action: str) -> None: ...


class Page(Screen[None]):
    """One of the screens.

    `gather` runs once a second on the app's own thread while the screen is shown, and may read files and the database;
    `show` then puts what it found on the screen. Everything that takes time goes through `work`. LIST: the table that
    the arrows move in, wherever the focus is, and that has the focus when nothing else has it.
    """

    TAB: ClassVar[str]
    LIST: ClassVar[str] = ""
    ACTIONS: ClassVar[tuple[Action, ...]] = ()
    ABOUT: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave_field", "Leave the field", show=False),
        Binding("up", "step(-1)", "Up", show=False),
        Binding("down", "step(1)", "Down", show=False),
        Binding("pageup", "scroll_body(-1)", "Page up", show=False),
        Binding("pagedown", "scroll_body(1)", "Page down", show=False),
    ]
    AUTO_FOCUS = ""

    def __init__(self, site: SiteFolder, keys: Keys) -> None:
        super().__init__()
        self.site, self.keys = site, keys
        self.busy = ""
        self._began, self._amount = 0.0, ""
        self._data: Any = None
        self._wanted = ""
        self.status: Mapping[str, Any] = {}
        for action in self.ACTIONS:
            self._bindings._add_binding(action.binding(keys))
        if self.LIST:
            self._bindings._add_binding(
                Binding(keys["filter"], "filter", MEANINGS["filter"].word, key_display=keys.shown("filter"))
            )

    def compose(self) -> ComposeResult:
        yield Tabs(self.TAB)
        yield Static(id="state")
        with VerticalScroll(id="body", can_focus=False):
            yield from self.contents()
        if self.LIST:
            yield Input(id="filter", placeholder="letters that a row must hold; Esc shows all", compact=True)
        yield Notice()
        yield Footer()

    # What each screen brings; Textual has a metaclass of its own, beside which there are no abstract methods.

    def contents(self) -> ComposeResult:
        raise NotImplementedError

    def gather(self, status: Mapping[str, Any]) -> Any:
        """Read what the screen shows; raises `WardposeError`, which is shown in place."""
        raise NotImplementedError

    def show(self, data: Any) -> None:
        raise NotImplementedError

    def refuse(self, data: Any) -> dict[str, str]:
        """For each action that can't be taken now, why."""
        return {}

    def update_from(self, status: Mapping[str, Any], data: Any, problem: str) -> None:
        """Called by the app with what was gathered; data is None when that failed."""
        self.status = status
        self.query_one("#state", Static).update(self._state_line(status))
        self.notice.problem(problem)
        if self.busy:
            self._say_busy(self._amount)
        if data is not None:
            self._data = data
            self.show(data)
            for actions in self.query(Actions):
                actions.allow(self.refuse(data))
            if self.LIST and self.focused is None:
                self._focus_list()
            if self._wanted and status:
                wanted, self._wanted = self._wanted, ""
                self.action_act(wanted)

    def take_when_seen(self, action: str) -> None:
        """Take an action as soon as the screen has seen how the box is: whether it can be taken is known then."""
        self._wanted = action
        self.wardpose.look_again()

    @property
    def notice(self) -> Notice:
        return self.query_one(Notice)

    @property
    def here(self) -> str:
        """Why something is done that somebody asked for here: from which screen of the terminal UI."""
        return f"by the terminal UI, screen {self.TAB.capitalize()}"

    @property
    def wardpose(self) -> Host:
        return cast(Host, self.app)

    def actions(self) -> Actions:
        """The buttons of the screen."""
        return Actions(self.keys, *self.ACTIONS)

    def say(self, text: str, mark: str = "") -> None:
        back = f"   {self.keys.shown('guide')}: on with the guide"
        led = mark == "good" and self.wardpose.guided and self.TAB != "guide"
        self.notice.say(redacted(text) + back * led, mark)

    def fill(self, rows: Rows) -> None:
        """Show the rows of the list, of those only that hold what was asked for with the filter."""
        wanted = self.query_one("#filter", Input).value.casefold()
        held = [row for row in rows if wanted in " ".join(str(cell) for cell in row[1]).casefold()]
        fill(self._list(), held)

    def _list(self) -> DataTable[Any]:
        return self.query_one(self.LIST, DataTable)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.action_act(str(event.button.id))

    def action_act(self, name: str) -> None:
        """Take the action, or say why not; once the screen has looked, where it is only just opened."""
        if self._data is None:
            self.take_when_seen(name)
            return
        for actions in self.query(Actions):  # what the list stands on may have changed since the last look
            actions.allow(self.refuse(self._data))
        for actions in self.query(Actions):
            if why := actions.why_not(name):
                self.say(f"not now: {why}", "warn")
                return
        try:
            getattr(self, f"do_{name}")()
        except WardposeError as error:
            self.say(str(error), "bad")

    def action_leave_field(self) -> None:
        if self.LIST and self.query_one("#filter", Input).display:
            self.query_one("#filter", Input).value = ""
            self.query_one("#filter", Input).display = False
            self.wardpose.look_again()
        self._focus_list()

    def _focus_list(self) -> None:
        if self.LIST and self._list().display and self._list().row_count:
            self._list().focus(scroll_visible=False)
        else:
            self.set_focus(None)

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "filter" and self._data is not None:
            self.show(self._data)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "filter":
            self._focus_list()

    def action_step(self, by: int) -> None:
        """An arrow that nothing else took moves in the list, or the screen where there is none."""
        table = self._list() if self.LIST else None
        if table is not None and table.display and table.row_count:
            table.focus(scroll_visible=False)
            table.move_cursor(row=table.cursor_row + by)
        else:
            self.query_one("#body").scroll_relative(y=by, animate=False)

    def action_scroll_body(self, pages: int) -> None:
        body = self.query_one("#body")
        body.scroll_relative(y=pages * max(body.size.height - 1, 1), animate=False)

    def on_click(self, event: events.Click) -> None:
        if self.LIST and self.focused is None:
            self._focus_list()

    def ask(self, question: str, yes: str, then: Callable[[], None]) -> None:
        """Do `then` only when the person says yes."""
        self.app.push_screen(Ask(question, yes), lambda answer: then() if answer else None)

    def call(self, what: str, name: str, then: Callable[[Any], None] | None = None, /, **parameters: Any) -> None:
        """Ask the service for something in the background."""
        self.work(what, lambda _: self.ask_service(name, **parameters), then)

    def ask_service(self, name: str, /, **parameters: Any) -> Any:
        """One call of the service, answered; for functions that `work` runs."""
        with ServiceClient.connect(self.site) as client, self.wardpose.done.noting(name, parameters):
            return client.call(name, **parameters)

    def can_undo(self, what: str, name: str, /, **parameters: Any) -> None:
        """Say that the call `name` would undo what was just done."""
        self.wardpose.done.can_undo(what, name, parameters)

    def work(
        self, what: str, function: Callable[[Progress], Result], then: Callable[[Result], None] | None = None
    ) -> None:
        """Run `function(progress)` on a thread; `then(result)` on the screen. Errors become one line in place."""
        if self.busy:
            self.say(f"wait: still busy with {self.busy}", "warn")
            return
        what = redacted(what)
        self.busy, self._began, self._amount = what, time.monotonic(), ""
        self._say_busy("")
        # A daemon: leaving the terminal UI must not wait for a camera that does not answer.
        arguments = (self.wardpose, what, function, then)
        threading.Thread(target=self._work, args=arguments, name=what, daemon=True).start()

    def _work(
        self, app: Host, what: str, function: Callable[[Progress], Any], then: Callable[[Any], None] | None
    ) -> None:
        told_at = 0.0

        def progress(done: int, total: int, note: str) -> None:
            nonlocal told_at
            if app.leaving.is_set():
                raise KeyboardInterrupt
            if time.monotonic() - told_at > 0.2:
                told_at = time.monotonic()
                amount = f"{done} of {total}" if total else ""
                app.on_screen(self._say_busy, " ".join(filter(None, (amount, note))))

        try:
            result = function(progress)
        except KeyboardInterrupt:
            app.on_screen(self._ended, f"{what}: stopped", "warn")
        except WardposeError as error:
            app.on_screen(self._ended, str(error), "bad")
        except Exception as error:  # a defect must be told, and must not take the terminal UI down
            text = " ".join(str(error).split())[:300]
            app.on_screen(self._ended, f"{what}: a defect: {type(error).__name__}: {text}", "bad")
        else:
            app.on_screen(self._finished, what, then, result)

    def _say_busy(self, amount: str) -> None:
        """That something goes on, how far it is, and for how long it does: a slow camera is no hung terminal."""
        self._amount = amount
        seconds = time.monotonic() - self._began
        parts = (f"{self.busy} …", amount, f"({seconds:.0f} s)" if seconds > 2 else "")
        self.say(" ".join(filter(None, parts)))

    def _finished(self, what: str, then: Callable[[Any], None] | None, result: Any) -> None:
        self._ended(f"{what}: done", "good")
        if then is not None:
            then(result)

    def _ended(self, text: str, mark: str) -> None:
        self.busy = ""
        self.say(text, mark)
        self.wardpose.look_again()

    def _state_line(self, status: Mapping[str, Any]) -> Text:
        words, mark = live_words(status) if status or self.wardpose.answered else ("asking the service …", "")
        return Text.assemble((f" {words} ", BOLD.get(mark, BOLD[FAINT])), (f"  {self.site.root}", FAINT))
