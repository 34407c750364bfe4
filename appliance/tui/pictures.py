"""Pictures of the camera on the screen: only when a person asks, with a reason, and each time written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from appliance.tui import pixels
from appliance.tui.cells import in_cells

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calibration.estimate import CalibrationEstimate
    from runtime.pause import PauseSwitch

GONE_WITHIN_SECONDS = 0.25  # of a pause


class PictureScreen(ModalScreen[str]):
    """A picture as large as the terminal allows; gone for good when it is closed.

    choices: (key, answer, words) besides closing, offered below the picture; the answer is what the screen returns.
    pause: of the site whose camera the picture comes from: a pause closes it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q", "answer('')", "Close")]

    def __init__(
        self, color: NDArray[np.uint8], title: str, estimate: CalibrationEstimate | None = None,
        choices: tuple[tuple[str, str, str], ...] = (), *, pause: PauseSwitch | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._color, self._title, self._estimate, self._choices = color, title, estimate, choices
        self._pause = pause

    def compose(self) -> ComposeResult:
        keys = [f"{key} {words}" for key, _, words in self._choices] + ["Esc close"]
        with Vertical(classes="dialog picture"):
            yield Static(Text(self._title), id="title")
            yield pixels.picture_widget(self._drawn()) if pixels.available() else Static(id="picture")
            yield Static(Text(" · ".join(keys), "bold"), id="keys")

    def on_mount(self) -> None:
        if self._close_when_paused():
            return
        self.set_interval(GONE_WITHIN_SECONDS, self._close_when_paused)
        self._draw()

    def _close_when_paused(self) -> bool:
        if self._pause is None or not self._pause.active:
            return False
        self.dismiss("")
        return True

    def on_resize(self) -> None:
        self._draw()

    def on_key(self, event: events.Key) -> None:
        for key, answer, _ in self._choices:
            if event.key == key:
                event.stop()
                self.action_answer(answer)

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)

    def _draw(self) -> None:
        self.query_one("#title", Static).update(Text(self._title))
        if pixels.available():
            pixels.show(self.query_one("#pixels"), self._drawn())
            return
        columns, rows = self.app.size
        system = self.app.console.color_system
        self.query_one("#picture", Static).update(in_cells(self._color, columns - 2, rows - 4, self._estimate, system))

    def _drawn(self) -> NDArray[np.uint8]:
        """The picture with the bed on it, for a terminal that shows pixels."""
        if self._estimate is None:
            return self._color
        from calibration.outline import draw_bed

        return draw_bed(self._color, self._estimate)


class BedScreen(PictureScreen):
    """The bed of an estimate drawn on the picture, for a person to say where head and foot are.

    Swapping them is drawn before anybody says yes to it. Returns `right` or `turned`, `discard`, or nothing.
    """

    def __init__(
        self,
        color: NDArray[np.uint8],
        estimate: CalibrationEstimate,
        *,
        pause: PauseSwitch,
        new: bool,
        warning: str = "",
    ) -> None:
        """new: whether it waits to be confirmed; warning: what speaks against using it."""
        choices: tuple[tuple[str, str, str], ...] = (
            ("y", "right", "head and foot are right: use it"),
            ("h", "swap", "swap head and foot"),
        )
        if new:
            choices = (*choices, ("d", "discard", "discard it"))
        self._warning, self._turned = warning, False
        super().__init__(color, self._words(estimate), estimate, choices, pause=pause)

    def action_answer(self, answer: str) -> None:
        from calibration.estimate import turned_round

        if answer == "swap":
            assert self._estimate is not None
            self._estimate, self._turned = turned_round(self._estimate), not self._turned
            self._title = self._words(self._estimate)
            self._draw()
            return
        self.dismiss("turned" if answer == "right" and self._turned else answer)

    def _words(self, estimate: CalibrationEstimate) -> str:
        from appliance.tui.way import known_words
        from calibration.outline import where_the_head_is

        swapped = "Swapped, not yet in use: " if self._turned else "As calibrated: "
        warning = f" {self._warning}" if self._warning else ""
        return f"{swapped}{where_the_head_is(estimate)}; {known_words(estimate)}.{warning}"
