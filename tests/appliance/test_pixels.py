"""Pictures in pixels where a terminal shows them, and in cells everywhere else."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from textual.app import App

from appliance.tui import pixels
from appliance.tui.pictures import PictureScreen

PLACEHOLDER = "\U0010eeee"  # what stands in the cells of a picture by Kitty's protocol


@pytest.fixture(autouse=True)
def cells_afterwards() -> Iterator[None]:
    yield
    pixels.look({})


@pytest.mark.parametrize(
    ("environment", "may"),
    [
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "linux"}, False),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, True),
        ({"TERM": "xterm-kitty", pixels.SETTING: "cells"}, False),
        ({"TERM": "xterm", pixels.SETTING: "sixel"}, True),
    ],
)
def test_only_a_terminal_that_may_show_pixels_is_asked(environment: dict[str, str], may: bool) -> None:
    assert pixels.may_show(environment) is may


@pytest.mark.parametrize(("wanted", "in_pixels"), [("kitty", True), ("cells", False)])
async def test_a_picture_is_shown_as_the_terminal_can(wanted: str, in_pixels: bool) -> None:
    pixels.look({pixels.SETTING: wanted})
    app: App[None] = App()
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(PictureScreen(np.full((90, 160, 3), 120, np.uint8), "a picture"))
        await pilot.pause()
        lines = app.screen._compositor.render_strips(app.screen.size)
        shown = "".join(segment.text for line in lines for segment in line)
        assert (PLACEHOLDER in shown) is in_pixels and ("▀" in shown) is not in_pixels
        await pilot.press("escape")
        await pilot.pause()
        assert not app.screen.query("#pixels")
