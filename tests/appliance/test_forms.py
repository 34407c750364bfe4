"""What somebody fills into a form of the terminal UI: a place is one before the form closes."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.app import App
from textual.widgets import Input, Static

from appliance.tui.dialogs import Blank, Form
from appliance.tui.ink import DEFAULT, InkPot
from calibration.errors import WardposeError
from calibration.places import named_place


async def test_a_form_gives_places_back_written_out_and_tells_of_those_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    given: list[dict[str, str] | None] = []
    async with App[None]().run_test() as pilot:
        InkPot(pilot.app.console).fill(DEFAULT)
        blanks = [Blank("file", "File", place=True), Blank("name", "Name", needed=False)]
        pilot.app.push_screen(Form("Write it", blanks, "Write"), given.append)
        await pilot.pause()
        for typed in ("~nobody-of-this-box/a.pdf", "~/a.pdf", "b.pdf"):
            if given:
                pilot.app.push_screen(Form("Write it", blanks, "Write"), given.append)
                await pilot.pause()
            pilot.app.screen.query_one("#file", Input).value = typed
            pilot.app.screen.query_one("#name", Input).focus()
            await pilot.press("enter")
            if not given:
                assert "nobody's home is called so" in str(pilot.app.screen.query_one("#missing", Static).render())
    assert given == [{"file": str(tmp_path / name), "name": ""} for name in ("a.pdf", "b.pdf")]


def test_a_place_is_told_where_the_working_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(WardposeError, match="the folder that this is run in is gone"):
        named_place("a")
    assert named_place(tmp_path) == tmp_path
