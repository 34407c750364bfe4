"""The terminal UI: seven screens, one thread that looks at the box once a second, and no truth of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches

from appliance.client import ServiceClient
from appliance.site.folder import SiteFolder
from appliance.tui.calibrate import CalibratePage
from appliance.tui.camera import CameraPage
from appliance.tui.dialogs import Reading
from appliance.tui.live import LivePage
from appliance.tui.models import ModelsPage
from appliance.tui.overview import OverviewPage
from appliance.tui.page import Page
from appliance.tui.retarget import RetargetPage
from appliance.tui.system import SystemPage
from appliance.tui.widgets import NO_ALARM, PAGES
from calibration.errors import WardposeError

LOOK_SECONDS = 1.0
KINDS: tuple[type[Page], ...] = (
    OverviewPage, CameraPage, CalibratePage, RetargetPage, ModelsPage, LivePage, SystemPage,
)  # fmt: skip


class WardposeApp(App[int]):
    """A client of the site's service; it starts the service when none runs."""

    TITLE = "wardpose"
    CSS_PATH = "wardpose.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"go('{name}')", name.capitalize(), show=False)  # the tabs show them
            for number, name in enumerate(PAGES, start=1)
        ),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, site: SiteFolder) -> None:
        super().__init__()
        self.site = site
        self.leaving = threading.Event()
        self._wake = threading.Event()
        self._pages = {kind.TAB: kind(site) for kind in KINDS}
        self._page: Page = self._pages[PAGES[0]]

    def on_mount(self) -> None:
        self.theme = "textual-dark"
        for name, page in self._pages.items():
            self.install_screen(page, name)
        self.push_screen(PAGES[0])
        threading.Thread(target=self._watch, name="terminal UI watch", daemon=True).start()

    def on_unmount(self) -> None:
        self.leaving.set()
        self._wake.set()

    def action_go(self, name: str) -> None:
        """Open one of the seven screens."""
        if name != self._page.TAB:
            self._page = self._pages[name]
            self.switch_screen(name)
            self.look_again()

    def action_help(self) -> None:
        page = self._page
        own = "\n".join(f"  {action.key:<6} {action.label}" for action in page.ACTIONS)
        everywhere = (
            "  1-7    the screens\n  Tab    the next button or field, Enter presses it\n  Esc    leaves a field\n"
            "  ?      this help\n  q      leaves; the live path and the jobs go on"
        )
        text = "\n\n".join(filter(None, (page.ABOUT, own, everywhere, NO_ALARM)))
        self.push_screen(Reading(f"{page.TAB.capitalize()}", text))

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
        while not self.leaving.is_set():
            self._wake.clear()
            page, status, problem, data = self._page, {}, "", None
            try:
                if client is None:
                    client = ServiceClient.connect(self.site)
                status = client.status()
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

    def _show(self, page: Page, status: Mapping[str, Any], data: Any, problem: str) -> None:
        if page is self._page and not self.leaving.is_set():
            with contextlib.suppress(NoMatches):  # it is only just being put together; the next look is for it
                page.update_from(status, data, problem)


def run(site: SiteFolder) -> int:
    """Open the terminal UI; returns the exit code. The service, the live path and the jobs go on after it."""
    return WardposeApp(site).run() or 0
