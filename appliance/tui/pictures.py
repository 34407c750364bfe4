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
            yield Static(id="picture")
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
                self.dismiss(answer)

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)

    def _draw(self) -> None:
        columns, rows = self.app.size
        self.query_one("#picture", Static).update(in_cells(self._color, columns - 2, rows - 3, self._estimate))
