"""Pictures in pixels where a terminal shows them, and in cells everywhere else."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image
from textual.app import App

from appliance.tui import pixels
from appliance.tui.pictures import PictureScreen
from tests.conftest import REPOSITORY

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


# A program that shows a picture, red beside blue, closes it when it is told to, and ends when it is told again.
SHOWS = """
import numpy as np
from textual.app import App
from appliance.tui import pixels
from appliance.tui.pictures import PictureScreen

class Shows(App):
    BINDINGS = [("x", "exit", "")]
    def on_mount(self):
        color = np.zeros((360, 640, 3), np.uint8)
        color[:, :320, 0], color[:, 320:, 2] = 250, 250
        self.push_screen(PictureScreen(color, "a picture"), lambda _: self.exit())
    def action_exit(self):
        self.exit()

pixels.look()
Shows().run()
"""
KITTY = re.compile(rb"\x1b_G([^;\x1b]*);?([^\x1b]*)\x1b\\")
SIXEL = re.compile(rb"\x1bP([0-9;]*)q([^\x1b]*)\x1b\\")


class Terminal:
    """A terminal in which `SHOWS` runs, 80 × 24 cells of 10 × 20 pixels. answers: to what it asks, by the question."""

    def __init__(self, name: str, answers: dict[re.Pattern[bytes], Callable[[re.Match[bytes]], bytes]]) -> None:
        self.said, self._answers, self._answered = b"", answers, 0
        self.pid, self._end = pty.fork()
        if self.pid == 0:
            kept = {
                key: value for key, value in os.environ.items() if not key.startswith(("TERM", "LC_", "KITTY", "WARD"))
            }
            os.chdir(REPOSITORY)
            os.execve(sys.executable, [sys.executable, "-c", SHOWS], kept | {"TERM": name, "COLORTERM": "truecolor"})
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 800, 480))

    def press(self, keys: bytes) -> None:
        os.write(self._end, keys)

    def until(self, seen: Callable[[bytes], object]) -> None:
        """Read what it says, and answer, until that is so or it has ended."""
        while not seen(self.said):
            try:
                told = os.read(self._end, 1 << 16)
            except OSError:
                return
            if not told:
                return
            self.said += told
            asked = [(found, answer) for question, answer in self._answers.items()
                     for found in question.finditer(self.said, self._answered)]  # fmt: skip
            for found, answer in sorted(asked, key=lambda one: one[0].start()):
                self._answered = max(self._answered, found.end())
                if reply := answer(found):
                    os.write(self._end, reply)

    def close(self) -> None:
        self.press(b"\x1b[27u" if b"\x1b[>" in self.said else b"\x1b")
        self.until(lambda _: False)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self._end)


def held(said: bytes) -> dict[int, Image.Image]:
    """The pictures in the memory of a terminal of Kitty's protocol, which transmits in pieces and deletes with `d=I`
    by `i`; as the protocol's text has it, any other deletion here takes nothing out of the memory."""
    pictures: dict[int, Image.Image] = {}
    pieces = b""
    for control, payload in KITTY.findall(said):
        keys = dict(part.split(b"=") for part in control.split(b","))
        number = int(keys.get(b"i", 0))
        match keys.get(b"a", b"t"):
            case b"t" | b"T":
                assert keys[b"f"] == b"100" and len(payload) <= 4096
                pieces += payload
                if keys.get(b"m", b"0") == b"0":
                    pictures[number] = Image.open(io.BytesIO(base64.b64decode(pieces)))
                    pieces = b""
            case b"p":
                assert keys[b"U"] == b"1" and number in pictures and int(keys[b"c"]) <= 80 and int(keys[b"r"]) <= 24
            case b"d" if keys.get(b"d") == b"I":
                pictures.pop(number, None)
    return pictures


def test_by_kittys_protocol_the_picture_is_sent_placed_and_leaves_the_terminals_memory() -> None:
    answers = {
        re.compile(rb"\x1b_G([^;]*a=q[^;]*);AAAA\x1b\\"): lambda asked: (
            b"\x1b_Gi=" + re.findall(rb"i=(\d+)", asked[1])[0] + b";OK\x1b\\"
        ),
        re.compile(rb"\x1b\[c"): lambda _: b"\x1b[?62;22c",
    }
    terminal = Terminal("xterm-kitty", answers)
    terminal.until(lambda said: PLACEHOLDER.encode() in said and held(said))
    picture = next(iter(held(terminal.said).values())).convert("RGB")
    assert picture.getpixel((2, 2)) == (250, 0, 0) and picture.getpixel((picture.width - 3, 2)) == (0, 0, 250)
    terminal.close()
    assert held(terminal.said) == {}


def test_by_sixel_the_picture_is_drawn_in_its_colours() -> None:
    terminal = Terminal("foot", {re.compile(rb"\x1b\[c"): lambda _: b"\x1b[?62;4;22c"})
    terminal.until(SIXEL.search)
    found = SIXEL.search(terminal.said)
    assert found is not None
    size = re.match(rb'"1;1;(\d+);(\d+)', found[2])
    assert size is not None and 0 < int(size[1]) <= 800 and 0 < int(size[2]) <= 480
    colours = {tuple(map(int, one)) for one in re.findall(rb"#\d+;2;(\d+);(\d+);(\d+)", found[2])}
    assert {(98, 0, 0), (0, 0, 98)} <= colours  # of 250 in 255, in hundredths
    assert not re.sub(rb'[?-~#!$\-";0-9]', b"", found[2])  # nothing in it that is no Sixel
    terminal.close()
