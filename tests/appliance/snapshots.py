"""What a screen of the terminal UI looked like when somebody last looked at it, kept beside the tests.

A snapshot is the text of each line, with runs of digits, of spaces and paths that a run makes anew evened out, and the
colours of the first and the last line, which every screen shares. `WARDPOSE_SNAPSHOTS=write` writes them anew, to be
looked at in the difference.
"""

from __future__ import annotations

import calendar
import difflib
import os
import re
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from appliance.site.people import current_user
from tests.appliance.terminal import on_screen, until

FOLDER = Path(__file__).with_name("snapshots")
SETTLED_S = 3.0
PATIENCE_S = 60.0
# Lines, and screens, that tell of the machine or of a moment: of the latter, the first line and the last are held.
OF_THE_BOX = re.compile(r"\W*(?:Doctor|Swap|0 System|theme light: done)\b")
OF_THE_MACHINE = ("camera", "system")


def evened(text: str) -> list[str]:
    """The lines that say something, without what differs from run to run."""
    lines = []
    for line in text.splitlines():
        line = re.sub(r"(?<!\S)/\S{3,}", "PATH", line)
        line = re.sub(r"[0-9]+", "0", line.replace(current_user(), "SOMEBODY"))
        line = re.sub(rf"\b(?:{'|'.join(calendar.month_abbr[1:])})\b", "Mon", line)
        line = re.sub(r"[\s─━│┃\u2581-\u258f]+", " ", line).strip()
        if line and not OF_THE_BOX.match(line):
            lines.append(line)
    return lines


def colours(pilot: Pilot[Any], line: int) -> str:
    """The colours of one line of the screen, letters on ground, in their order."""
    screen = pilot.app.screen
    strip = screen._compositor.render_strips(screen.size)[line]
    found = [
        f"{segment.style.color.name if segment.style and segment.style.color else '–'} on "
        f"{segment.style.bgcolor.name if segment.style and segment.style.bgcolor else '–'}"
        for segment in strip
        if segment.text.strip()
    ]
    return ", ".join(dict.fromkeys(found))


def taken(pilot: Pilot[Any], screen: str) -> list[str]:
    lines = evened(on_screen(pilot))
    if screen in OF_THE_MACHINE:
        lines = [lines[0], *lines[-1:]]
    return lines


async def hold_against_snapshot(pilot: Pilot[Any], screen: str, theme: str) -> None:
    """The screen comes to look as its snapshot does; AssertionError with the difference where it does not."""
    width, height = pilot.app.size
    file = FOLDER / f"{screen}-{width}x{height}-{theme}.txt"

    def now() -> list[str]:
        return [*taken(pilot, screen), *(f"colours {line}: {colours(pilot, line)}" for line in (0, -1))]

    if os.environ.get("WARDPOSE_SNAPSHOTS") == "write":
        await pilot.pause(SETTLED_S)
        FOLDER.mkdir(exist_ok=True)
        file.write_text("\n".join(now()) + "\n", encoding="utf-8")
        return
    wanted = file.read_text(encoding="utf-8").splitlines()
    try:
        await until(pilot, lambda: now() == wanted, PATIENCE_S)
    except AssertionError:
        told = "\n".join(difflib.unified_diff(wanted, now(), "as it was", "as it is", lineterm=""))
        raise AssertionError(f"{screen} looks otherwise; WARDPOSE_SNAPSHOTS=write keeps it so\n{told}") from None
