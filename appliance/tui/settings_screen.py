"""The settings of site.toml, a row each: Enter changes one, and a value that is not allowed says what would be."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Static

from appliance.site.settings import Settings, load_settings
from appliance.tui.dialogs import Blank, Form
from appliance.tui.ink import BAD, FAINT, GOOD, inked
from appliance.tui.page import Page
from appliance.tui.widgets import fill, selected
from calibration.errors import WardposeError
from calibration.redaction import redacted


class SettingsScreen(ModalScreen[None]):
    """Opened from System. Changes go through the service, which writes who made them into the audit trail."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q", "leave", "Close")]
    AUTO_FOCUS = "DataTable"

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog reading large"):
            yield Static(Text("Settings of this site", "bold"))
            table: DataTable[Any] = DataTable(id="settings", cursor_type="row")
            table.add_columns("setting", "value", "what it is")
            yield table
            yield Static(id="settings-said")
            undo = self._page.keys.shown("undo")
            yield Static(inked(f"↑ ↓ choose · Enter changes · Esc closes; {undo} then undoes it", FAINT))

    def on_mount(self) -> None:
        self._show()

    def _show(self) -> None:
        try:
            settings = load_settings(self._page.site)
        except WardposeError as error:
            self._say(str(error), BAD)
            return
        rows = []
        for section in type(settings).model_fields:
            for name, field in type(getattr(settings, section)).model_fields.items():
                value = getattr(getattr(settings, section), name)
                shown = (
                    redacted(value) if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else value
                )
                rows.append((f"{section}.{name}", (f"{section}.{name}", str(shown), field.title or "")))
        fill(self.query_one(DataTable), rows)

    def on_data_table_row_highlighted(self) -> None:
        """The whole of what a setting is, which a narrow terminal cuts off in its row."""
        section, _, name = selected(self.query_one(DataTable)).partition(".")
        if name:
            field = type(getattr(Settings(), section)).model_fields[name]
            self._say(f"{section}.{name}: {field.title}", FAINT)

    def on_data_table_row_selected(self) -> None:
        where = selected(self.query_one(DataTable))
        section, _, name = where.partition(".")
        settings = load_settings(self._page.site)
        field = type(getattr(settings, section)).model_fields[name]
        now = getattr(getattr(settings, section), name)
        shown = redacted(now) if isinstance(now, str) else now
        form = Form(f"{where}: {field.title}", [Blank("value", "Value", str(shown), needed=False)], "Change it")
        self.app.push_screen(form, lambda given: self._change(section, name, now, given["value"]) if given else None)

    def _change(self, section: str, name: str, before: Any, text: str) -> None:
        try:
            value: Any = (
                _yes_or_no(text)
                if isinstance(before, bool)
                else type(before)(text.replace(",", "."))
                if isinstance(before, int | float)
                else text
            )
        except ValueError:
            kinds = {bool: "neither yes nor no", int: "no whole number"}
            self._say(f"{text!r} is {kinds.get(type(before), 'no number')}", BAD)
            return

        def done(_: Any) -> None:
            self._page.can_undo(f"{section}.{name}", "settings.set", section=section, name=name, value=before)
            self._show()
            self._say(f"{section}.{name} is {value}; what runs keeps its own until it is started anew", GOOD)

        def change(_: Any) -> Any:
            try:
                return self._page.ask_service("settings.set", section=section, name=name, value=value)
            except WardposeError as error:
                self._page.wardpose.on_screen(self._say, str(error), BAD)
                raise

        self._page.work(f"setting {section}.{name}", change, done)

    def _say(self, text: str, ink: str) -> None:
        self.query_one("#settings-said", Static).update(inked(text, ink))

    def action_leave(self) -> None:
        self.dismiss(None)


def _yes_or_no(text: str) -> bool:
    """Raises ValueError for a text that is neither."""
    said = text.strip().lower()
    if said in ("yes", "y", "on", "true", "1"):
        return True
    if said in ("no", "n", "off", "false", "0"):
        return False
    raise ValueError(text)
