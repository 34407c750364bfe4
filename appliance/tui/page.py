"""What every screen is: tabs, the state of the live path in one line, its own content, a notice, the keys."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Button, Footer, Static

from appliance.client import ServiceClient
from appliance.live.status import live_words
from appliance.site.folder import SiteFolder
from appliance.tui.dialogs import Ask
from appliance.tui.widgets import FAINT, GOOD, WARN, Action, Actions, Notice, Tabs
from calibration.errors import WardposeError
from calibration.progress import Progress
from calibration.redaction import redacted

Result = TypeVar("Result")


class Host(Protocol):
    """What a page asks of the app that shows it."""

    leaving: threading.Event

    def look_again(self) -> None: ...

    def on_screen(self, function: Callable[..., Any], *arguments: Any) -> None: ...


class Page(Screen[None]):
    """One of the seven screens.

    `gather` runs once a second on the app's own thread while the screen is shown, and may read files and the database;
    `show` then puts what it found on the screen. Everything that takes time goes through `work`.
    """

    TAB: ClassVar[str]
    ACTIONS: ClassVar[tuple[Action, ...]] = ()
    ABOUT: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave_field", "Leave the field", show=False)]
    AUTO_FOCUS = "#body"

    def __init__(self, site: SiteFolder) -> None:
        super().__init__()
        self.site = site
        self.busy = ""
        self._began, self._amount = 0.0, ""
        self.status: Mapping[str, Any] = {}
        for action in self.ACTIONS:
            self._bindings._add_binding(action.binding())

    def compose(self) -> ComposeResult:
        yield Tabs(self.TAB)
        yield Static(id="state")
        with VerticalScroll(id="body"):
            yield from self.contents()
        yield Notice()
        yield Footer(show_command_palette=False)

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
        self.query_one("#state", Static).update(_state_line(status, self.site))
        self.notice.problem(problem)
        if self.busy:
            self._say_busy(self._amount)
        if data is not None:
            self.show(data)
            for actions in self.query(Actions):
                actions.allow(self.refuse(data))

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

    def say(self, text: str, mark: str = "") -> None:
        self.notice.say(redacted(text), mark)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.action_act(str(event.button.id))

    def action_act(self, name: str) -> None:
        """Take the action, or say why not."""
        for actions in self.query(Actions):
            if why := actions.why_not(name):
                self.say(f"not now: {why}", "warn")
                return
        getattr(self, f"do_{name}")()

    def action_leave_field(self) -> None:
        self.query_one("#body").focus()

    def ask(self, question: str, yes: str, then: Callable[[], None]) -> None:
        """Do `then` only when the person says yes."""
        self.app.push_screen(Ask(question, yes), lambda answer: then() if answer else None)

    def call(self, what: str, name: str, then: Callable[[Any], None] | None = None, **parameters: Any) -> None:
        """Ask the service for something in the background."""

        self.work(what, lambda _: self.ask_service(name, **parameters), then)

    def ask_service(self, name: str, /, **parameters: Any) -> Any:
        """One call of the service, answered; for functions that `work` runs."""
        with ServiceClient.connect(self.site) as client:
            return client.call(name, **parameters)

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


def _state_line(status: Mapping[str, Any], site: SiteFolder) -> Text:
    words, mark = live_words(status)
    colour = {"good": GOOD, "warn": WARN, "bad": "#ff7b72"}.get(mark, FAINT)
    return Text.assemble((f" {words} ", f"bold {colour}"), (f"  {site.root}", FAINT))
