"""The terminal UI: its screens, one thread that looks at the box once a second, and no truth of its own."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.screen import Screen

from appliance.client import NoService, ServiceClient, ask_or_do
from appliance.jobs.store import Job, JobStore
from appliance.live import pauses
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from appliance.tui import job_words, pixels
from appliance.tui.deeds_done import DeedsDone
from appliance.tui.dialogs import Ask, Reading
from appliance.tui.ink import DEFAULT, FAINT, LOOKS, InkPot, themes
from appliance.tui.jump import Jump
from appliance.tui.keys import MEANINGS, Keys, load_keys
from appliance.tui.pace import Paces
from appliance.tui.page import Page
from appliance.tui.widgets import NO_ALARM, PAGES, Actions
from calibration.errors import WardposeError

LOOK_SECONDS = 1.0
STARTING_AGAIN = "the service of this site has ended; it is started again, and the jobs go on meanwhile"
# Each is loaded when it is first opened, so that the first one stands the sooner.
SCREENS = {
    "overview": "OverviewPage", "camera": "CameraPage", "calibrate": "CalibratePage", "retarget": "RetargetPage",
    "models": "ModelsPage", "live": "LivePage", "privacy": "PrivacyPage", "system": "SystemPage", "guide": "GuidePage",
}  # fmt: skip
EVERYWHERE = ("guide", "pause", "undo", "history", "jump", "palette", "theme", "help", "quit")
IN_FOOTER = ("guide", "pause", "undo", "history", "help", "quit")


def kind_of(name: str) -> type[Page]:
    """The class of a screen."""
    found: type[Page] = getattr(importlib.import_module(f"appliance.tui.{name}"), SCREENS[name])
    return found


class WardposeApp(App[int]):
    """A client of the site's service; it starts the service when none runs."""

    TITLE = "wardpose"
    CSS_PATH = "wardpose.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(str(number), f"go('{name}')", name.capitalize(), show=False)  # the tabs show them
        for number, name in enumerate(PAGES, start=1)
    ]

    def __init__(self, site: SiteFolder) -> None:
        self._trouble = ""
        try:
            self.keys = load_keys(site)
        except WardposeError as error:
            self.keys, self._trouble = Keys(), str(error)
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-wide")]
        self.site = site
        self.leaving = threading.Event()
        self.done, self.paces = DeedsDone(), Paces()
        self.answered = self.guided = False
        self._wake = threading.Event()
        for name in EVERYWHERE:
            action = "command_palette" if name == "palette" else name
            self._bindings._add_binding(
                Binding(
                    self.keys[name], action, MEANINGS[name].word, show=name in IN_FOOTER,
                    key_display=self.keys.shown(name), priority=name in ("palette", "jump"),
                )
            )  # fmt: skip
        self._made: dict[str, Page] = {}
        self._page: Page = self._made_page(PAGES[0])
        self._ink = InkPot(self.console)
        self._jobs: dict[int, str] | None = None

    def on_mount(self) -> None:
        for theme in themes(self.console.color_system):
            self.register_theme(theme)
        self.theme_changed_signal.subscribe(self, self._use_inks)
        try:
            wanted: str = load_settings(self.site).terminal.theme
        except WardposeError:
            wanted = DEFAULT  # the screens tell what is wrong with the settings
        self._ink.fill(wanted)
        self.theme = wanted
        self.push_screen(self._page)
        if self._trouble:
            self.notify(self._trouble, title="Your own keys", severity="warning", timeout=20)
        threading.Thread(target=self._watch, name="terminal UI watch", daemon=True).start()

    def on_unmount(self) -> None:
        self.leaving.set()
        self._wake.set()

    def _use_inks(self, theme: Any) -> None:
        self._ink.fill(theme.name)
        for page in self._made.values():
            for actions in page.query(Actions):
                actions.forget()
        self.look_again()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action of every screen, and those that are everywhere."""
        for name in SCREENS:
            page = kind_of(name)
            yield SystemCommand(
                f"{name.capitalize()}: open", self.keys.told(page.ABOUT.split(". ")[0]), partial(self.action_go, name)
            )
            for action in page.ACTIONS:
                told = f"key {self.keys.shown(action.means)}: {self.keys.phrase(action.means)}"
                yield SystemCommand(
                    f"{name.capitalize()}: {action.label}", told, partial(self.take, name, action.id)
                )  # fmt: skip
        for name in EVERYWHERE:
            if name != "palette":
                meaning = MEANINGS[name]
                act = getattr(self, f"action_{name}")
                yield SystemCommand(meaning.word, f"key {self.keys.shown(name)}: {self.keys.phrase(name)}", act)
        for name, look in LOOKS.items():
            yield SystemCommand(f"Theme: {look.words}", "kept in the site", partial(self._choose_theme, name))

    def action_go(self, name: str) -> None:
        """Open one of the screens."""
        if name != self._page.TAB:
            self._page = self._made_page(name)
            self.switch_screen(self._page)
            self.look_again()

    def take(self, name: str, action: str) -> None:
        """Open a screen and take one of its actions, once it has seen how the box is."""
        self.action_go(name)
        self._made_page(name).take_when_seen(action)

    def _made_page(self, name: str) -> Page:
        if name not in self._made:
            page = self._made[name] = kind_of(name)(self.site, self.keys)
            self.install_screen(page, name)
        return self._made[name]

    def action_guide(self) -> None:
        self.action_go("guide")

    def action_help(self) -> None:
        page = self._page
        own = "\n".join(
            f"  {self.keys.shown(action.means):<6} {self.keys.phrase(action.means)}" for action in page.ACTIONS
        )
        everywhere = "\n".join(f"  {self.keys.shown(name):<6} {self.keys.phrase(name)}" for name in EVERYWHERE)
        moving = (
            f"  1-{len(PAGES)}    the screens\n  ↑ ↓    the list of the screen; Enter opens what it stands on\n"
            "  Tab    the next button or field\n  Esc    leaves a field, shows the whole list"
        )
        if page.LIST:
            moving += f"\n  {self.keys.shown('filter'):<6} {self.keys.phrase('filter')}"
        text = "\n\n".join(filter(None, (self.keys.told(page.ABOUT), own, moving, everywhere, NO_ALARM)))
        self.push_screen(Reading(f"{page.TAB.capitalize()}", text))

    def action_history(self) -> None:
        text = Text()
        for deed in self.done.newest_first():
            text.append(f"{deed.at}  ", FAINT).append(deed.name, "bold").append(f"  {deed.told}", FAINT)
            text.append(f"  {deed.ended}\n")
        self.push_screen(Reading("What this terminal asked the service to do, the newest first", text or "nothing yet"))

    def action_pause(self) -> None:
        """Pause at once, from anywhere; where it is paused, ask whether to go on."""
        page, held = self._page, pauses.switch(self.site).state()
        reason = page.here
        if held is None:
            # By itself where the service does not answer at once.
            page.work("pausing", lambda _: ask_or_do(self.site, "live.pause", lambda: pauses.pause(self.site)))
            return

        def resume() -> None:
            page.work(
                "resuming",
                lambda _: ask_or_do(
                    self.site, "live.resume", lambda: pauses.resume(self.site, reason), reason=reason
                ),
            )  # fmt: skip

        self.push_screen(
            Ask(f"It is {held.words()}. Look again?", "Look again"), lambda yes: resume() if yes else None
        )  # fmt: skip

    def action_undo(self) -> None:
        undoing = self.done.take_undoing()
        if undoing is None:
            self._page.say("there is no deed of this terminal left to undo", "warn")
            return
        self._page.call(f"undoing: {undoing.what}", undoing.name, **undoing.parameters)

    def action_jump(self) -> None:
        if isinstance(self.screen, Page):
            self.push_screen(Jump(self.screen), lambda widget: widget.focus() if widget is not None else None)

    def action_theme(self) -> None:
        names = list(LOOKS)
        self._choose_theme(names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else DEFAULT)

    def _choose_theme(self, name: str) -> None:
        before = self.theme
        self.theme = name
        page = self._page
        page.can_undo("the theme", "settings.set", section="terminal", name="theme", value=before)
        page.call(f"theme {LOOKS[name].words}", "settings.set", section="terminal", name="theme", value=name)

    def look_again(self) -> None:
        """Look at the box now instead of within a second."""
        self._wake.set()

    def on_screen(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call `function` on the UI's own thread, from any other; does nothing once the UI has ended."""
        if not self.leaving.is_set():
            with contextlib.suppress(RuntimeError):
                self.call_from_thread(function, *arguments)

    def _watch(self) -> None:
        client: ServiceClient | None = None
        with contextlib.suppress(WardposeError):  # what ends before a service answers is told too
            self._watch_jobs(JobStore(self.site).all(20))
        while not self.leaving.is_set():
            self._wake.clear()
            page, status, problem, data = self._page, {}, "", None
            if not self.answered:  # what stands in files is told at once, before a service is even started
                self._show_files(page)
            try:
                if client is None:
                    client = ServiceClient.connect(self.site)
                status = client.status()
                self.answered = True
                self._watch_jobs(JobStore(self.site).all(20))
            except NoService as error:
                problem, client = str(error) if client is None else STARTING_AGAIN, None
            except WardposeError as error:
                problem, client = str(error), None
            try:
                data = page.gather(status)
            except WardposeError as error:
                problem = str(error)
            except Exception as error:  # a defect must be told, and must not stop the other screens
                problem = f"a defect: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            self.on_screen(self._show, page, status, data, problem)
            self._wake.wait(LOOK_SECONDS)
        if client is not None:
            client.close()

    def _show_files(self, page: Page) -> None:
        with contextlib.suppress(Exception):  # told by the look that follows
            self.on_screen(self._show, page, {}, page.gather({}), "")

    def _watch_jobs(self, jobs: Iterable[Job]) -> None:
        """Take note of each job's pace, and tell of one that has ended since the last look."""
        jobs = list(jobs)
        self.paces.look(jobs)
        before, self._jobs = self._jobs, {job.id: job.state for job in jobs}
        for job in jobs if before is not None else ():
            if not job.active and (before or {}).get(job.id, "queued") in ("queued", "running"):
                self.on_screen(self._tell_of, job, job_words.title(job, job_words.task_of(job, jobs)))

    def _tell_of(self, job: Job, title: str) -> None:
        words, mark = job_words.outcome(job)
        severity = {"good": "information", "warn": "warning", "bad": "error"}.get(mark, "information")
        self.notify(words, title=f"#{job.id} {title}", severity=severity, timeout=12)  # type: ignore[arg-type]
        mend = self.keys.told(job_words.mend(job))
        with contextlib.suppress(NoMatches):  # a screen that is only just being put together: the toast tells it
            self._page.say(f"#{job.id} {title}: {words}{f' → {mend}' if mend else ''}", mark)

    def _show(self, page: Page, status: Mapping[str, Any], data: Any, problem: str) -> None:
        if page is self._page and not self.leaving.is_set():
            with contextlib.suppress(NoMatches):  # it is only just being put together; the next look is for it
                page.update_from(status, data, problem)


def run(site: SiteFolder) -> int:
    """Open the terminal UI; returns the exit code. The service, the live path and the jobs go on after it."""
    pixels.look()
    return WardposeApp(site).run() or 0
