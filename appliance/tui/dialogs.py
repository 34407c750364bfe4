"""Questions a screen asks before it does something, and texts it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from appliance.tui.ink import BAD, FAINT, inked
from calibration.errors import WardposeError
from calibration.places import named_place


class Ask(ModalScreen[bool]):
    """Yes or no. The safe answer has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [("y", "answer(True)", "Yes"), ("n,escape", "answer(False)", "No")]
    AUTO_FOCUS = "#no"

    def __init__(self, question: str, yes: str, no: str = "No, leave it") -> None:
        super().__init__()
        self._question, self._yes, self._no = question, yes, no

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(self._question))
            with Horizontal(classes="buttons"):
                yield Button(f"y {self._yes}", id="yes", variant="warning", compact=True)
                yield Button(f"n {self._no}", id="no", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class Choose(ModalScreen[str]):
    """One of a few; the answer is its name, empty when the person thinks better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q", "leave", "Cancel")]
    AUTO_FOCUS = "OptionList"

    def __init__(self, question: str, choices: Sequence[tuple[str, str]]) -> None:
        """choices: (name, words) each; a digit chooses as well as the arrows and Enter."""
        super().__init__()
        self._question, self._choices = question, choices

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(self._question))
            options = [Option(Text(f"{i} {words}"), id=name) for i, (name, words) in enumerate(self._choices, start=1)]
            yield OptionList(*options)
            yield Static(inked("↑ ↓ and Enter, or its number; Esc leaves", FAINT))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(str(event.option.id))

    def on_key(self, event: events.Key) -> None:
        if event.key.isdigit() and 1 <= int(event.key) <= len(self._choices):
            event.stop()
            self.dismiss(self._choices[int(event.key) - 1][0])

    def action_leave(self) -> None:
        self.dismiss("")


@dataclass(frozen=True, slots=True)
class Blank:
    """One thing to fill in. place: a file or folder, which is given back as an absolute path."""

    name: str
    label: str
    value: str = ""
    needed: bool = True
    place: bool = False


class Form(ModalScreen[dict[str, str] | None]):
    """A few lines to fill in; None when the person thinks better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave", "Cancel")]
    AUTO_FOCUS = "Input"

    def __init__(self, title: str, blanks: Sequence[Blank], yes: str) -> None:
        super().__init__()
        self._title, self._blanks, self._yes = title, blanks, yes

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(Text(self._title))
            for blank in self._blanks:
                yield Label(blank.label if blank.needed else f"{blank.label} (may stay empty)")
                yield Input(blank.value, id=blank.name, compact=True)
            yield Static(id="missing")
            with Horizontal(classes="buttons"):
                yield Button(self._yes, id="yes", variant="primary", compact=True)
                yield Button("Esc Cancel", id="no", compact=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        names = [blank.name for blank in self._blanks]
        if event.input.id == names[-1]:
            self._send()
        else:
            self.query_one(f"#{names[names.index(str(event.input.id)) + 1]}", Input).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "yes":
            self._send()
        else:
            self.dismiss(None)

    def action_leave(self) -> None:
        self.dismiss(None)

    def _send(self) -> None:
        given = {blank.name: self.query_one(f"#{blank.name}", Input).value.strip() for blank in self._blanks}
        missing = [blank for blank in self._blanks if blank.needed and not given[blank.name]]
        if missing:
            self._refuse(missing[0], f"still empty: {missing[0].label}")
            return
        for blank in self._blanks:
            if blank.place and given[blank.name]:
                try:
                    given[blank.name] = str(named_place(given[blank.name]))
                except WardposeError as error:
                    self._refuse(blank, str(error))
                    return
        self.dismiss(given)

    def _refuse(self, blank: Blank, why: str) -> None:
        self.query_one("#missing", Static).update(inked(why, BAD))
        self.query_one(f"#{blank.name}", Input).focus()


class Reading(ModalScreen[None]):
    """A text to read: help, a log, a card."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,enter,question_mark", "leave", "Close")]
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, title: str, text: str | Text) -> None:
        super().__init__()
        self._title, self._text = title, text if isinstance(text, Text) else Text(text)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog reading"):
            yield Static(Text(self._title, "bold"))
            with VerticalScroll():
                yield Static(self._text)
            yield Static(inked("Esc closes this", FAINT))

    def action_leave(self) -> None:
        self.dismiss(None)
