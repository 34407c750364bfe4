"""Driving the terminal UI by its keys, as a person does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from appliance.site.folder import SiteFolder
from appliance.tui.app import WardposeApp
from appliance.tui.page import Page

PATIENCE_S = 200.0  # the box may be busy; a test that passes does not wait for it


@asynccontextmanager
async def terminal(site: SiteFolder, *, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[int]]:
    async with WardposeApp(site).run_test(size=size) as pilot:
        await until(pilot, lambda: on_screen(pilot))
        yield pilot


async def until(
    pilot: Pilot[Any], condition: Callable[[], Any], patience_s: float = PATIENCE_S, every_s: float = 0.05
) -> None:
    """Wait for what a thread of the UI brings about."""
    try:
        async with asyncio.timeout(patience_s):
            while not condition():
                await pilot.pause(every_s)
    except TimeoutError:
        told = f"it did not come about in {patience_s:.0f} s; the screen says\n{on_screen(pilot)}"
        raise AssertionError(told) from None


def on_screen(pilot: Pilot[Any]) -> str:
    """What a person reads: every line of the screen as it is drawn."""
    width, height = pilot.app.size
    screen = pilot.app.screen
    lines = screen._compositor.render_strips(screen.size) if width and height else []
    return "\n".join("".join(segment.text for segment in line) for line in lines)


def page(pilot: Pilot[Any]) -> Page:
    assert isinstance(pilot.app.screen, Page)
    return pilot.app.screen


def shows(pilot: Pilot[Any], name: str) -> bool:
    """Whether a screen is open and was told how the box is."""
    return isinstance(pilot.app.screen, Page) and name == page(pilot).TAB and bool(page(pilot).status)
