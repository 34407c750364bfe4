"""Jump mode: a letter on everything on the screen that can have the focus; pressing it goes there."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

LETTERS = "asdfghjklqwertyuiopzxcvbnm"


class Jump(ModalScreen[Widget | None]):
    """Over the screen `under`; returns the widget that was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "Leave")]

    def __init__(self, under: Screen[None]) -> None:
        super().__init__(classes="jump")
        reachable = [widget for widget in under.focus_chain if widget.region.area and not widget.disabled]
        self._places = dict(zip(LETTERS, reachable, strict=False))

    def compose(self) -> ComposeResult:
        for letter, widget in self._places.items():
            label = Static(Text(f" {letter} ", "letter"), classes="jump-letter")
            label.styles.offset = (max(widget.region.x, 0), max(widget.region.y, 0))
            yield label

    def on_key(self, event: events.Key) -> None:
        if event.key in self._places:
            event.stop()
            self.dismiss(self._places[event.key])

    def action_leave(self) -> None:
        self.dismiss(None)
