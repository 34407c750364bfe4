"""A bedside for a browser: a live process that says what a test wants, the page of it, and how readable that is."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.page_scene import LYING, beside, calibration, live, person, whereabouts
from calibration.files import save_estimate
from runtime.bus import ResultServer
from runtime.display.service import DisplayServer
from runtime.pause import PauseSwitch

WAIT_MS = 30_000
# A full-HD screen lying and standing, 7-inch panels, the smaller both ways, and 4K.
SIZES = ((1920, 1080), (1080, 1920), (1024, 600), (800, 480), (480, 800), (3840, 2160))
HOURS = {"day": 12, "evening": 20, "night": 2}
SEEN = calibration()
Message = Callable[[int], dict[str, Any] | None]


def in_bed(index: int) -> dict[str, Any]:
    """Somebody lying, whose arm moves from message to message."""
    joints = LYING.copy()
    joints[[9, 10], 2] += 0.1 + 0.1 * np.sin(index / 3)
    return live([person(joints, SEEN, role="patient")], index=index, patient=whereabouts("in-bed", 765))


def nobody(index: int) -> dict[str, Any]:
    return live([], index=index, patient=whereabouts("nobody", 95))


def out_of_bed(index: int) -> dict[str, Any]:
    return live([person(beside(), SEEN, role="patient")], index=index, patient=whereabouts("out-of-bed", 12))


def on_edge(index: int) -> dict[str, Any]:
    return in_bed(index) | {"patient": whereabouts("on-edge", 75)}


def perhaps_on_edge(index: int) -> dict[str, Any]:
    return in_bed(index) | {"patient": whereabouts("on-edge", 7500, sure=0.5, seen=False)}


def simulated(index: int) -> dict[str, Any]:
    return in_bed(index) | {"origin": "simulation"}


def no_signal(index: int) -> dict[str, Any]:
    why = "/run/wardpose/frames: the camera process is dead or hangs; see its log"
    return live([], index=index) | {"state": "no-signal", "message": why, "captured_at": None}


class Bedside:
    """A live process that says what a test wants, and the display that serves the page of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.says: Message = in_bed
        save_estimate(SEEN, folder / "calibration.json")
        self.pause = PauseSwitch(folder / "pause.json")
        self.bus = ResultServer(folder / "live.sock")
        self.display = self.serve(0)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._speak, daemon=True)
        self._thread.start()

    def serve(self, port: int, tongue: str = "en") -> DisplayServer:
        return DisplayServer(
            self.folder / "live.sock", self.pause, self.folder / "page.key", tongue=tongue,
            calibration=self.folder / "calibration.json", port=port,
        )  # fmt: skip

    def _speak(self) -> None:
        for index in itertools.count(1):
            if self._ending.wait(0.05):
                return
            message = self.says(index)
            if message is not None:
                self.bus.publish(message)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self.display.close()
        self.bus.close()


def opened(browser: Any, bedside: Bedside, *, key: str | None = None, hour: int = 12) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.add_init_script(f"Date.prototype.getHours = () => {hour}")
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.requested, page.troubles = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.goto(f"{bedside.display.url}#kiosk={bedside.display.key if key is None else key}")
    yield page
    assert page.troubles == []
    context.close()


def shows(page: Any, state: str) -> None:
    page.wait_for_selector(f'body[data-state="{state}"]')


def until(page: Any, true: str) -> None:
    """Wait for an expression to be true. It is asked from outside: the page's policy lets no text become a script."""
    end = time.monotonic() + WAIT_MS / 1000
    while not page.evaluate(true):
        assert time.monotonic() < end, f"never: {true}"
        time.sleep(0.05)


def text(page: Any, place: str) -> str:
    return str(page.inner_text(f"#{place}"))


# How readable a screen is: for each text that is shown, its contrast to what is behind it and whether it is cut off;
# the height of a sign's capitals as a part of the screen's, and of its width where it stands; how much of the width is
# free beside it.
READABLE = """
() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => (v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const clear = (colour) => /, 0\\)$/.test(colour);
  const told = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, place = node.parentElement, style = getComputedStyle(place);
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (!node.textContent.trim() || !box.width || place.closest("#dead")) continue;
    let behind = place;
    while (clear(getComputedStyle(behind).backgroundColor) && behind.parentElement) behind = behind.parentElement;
    const [one, other] = [light(style.color), light(getComputedStyle(behind).backgroundColor)];
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    told.push({
      text: node.textContent, id: place.id,
      contrast: (Math.max(one, other) + .05) / (Math.min(one, other) + .05),
      capitals: pen.measureText("H").actualBoundingBoxAscent / innerHeight,
      standing: innerHeight > innerWidth ? pen.measureText("H").actualBoundingBoxAscent / innerWidth : null,
      margin: Math.min(box.left, innerWidth - box.right) / innerWidth,
      inside: box.left >= -1 && box.top >= -1 && box.right <= innerWidth + 1 && box.bottom <= innerHeight + 1,
    });
  }
  return told;
}
"""
PICTURE = "document.getElementById('scene').toDataURL()"
MIDDLE = """
(() => {{
  const box = document.getElementById('{}').getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}})()
"""
SIGNS = {"live": "live-word", "paused": "paused-word", "lost": "lost-word", "nobody": "empty-word"}
# Of a standing screen's width what the signs are of its height.
TELLS = {"edge": "place", "perhaps": "place", "elsewhere": "warning", "out": "empty-word"}


def in_state(page: Any, bedside: Bedside, state: str) -> None:
    says: dict[str, Message] = {
        "lost": no_signal, "nobody": nobody, "elsewhere": simulated, "out": out_of_bed, "edge": on_edge,
        "perhaps": perhaps_on_edge,
    }  # fmt: skip
    bedside.says = says.get(state, in_bed)
    if state == "paused":
        bedside.pause.set("somebody at the bedside page", "the patient is being washed and nobody is to look")
    shows(page, state if state in ("live", "lost", "elsewhere", "paused") else "live")
    if state in ("nobody", "out"):
        page.wait_for_selector("#empty")
    if state in ("edge", "perhaps"):
        until(page, f"document.getElementById('since').textContent.includes('{'1 min' if state == 'edge' else '2 h'}')")


def read_in(page: Any, state: str) -> list[dict[str, Any]]:
    """What is read while the page is in that state. Where the machine is too busy for pictures of this moment, it says
    NO SIGNAL meanwhile, as it must: that is waited for."""
    end = time.monotonic() + WAIT_MS / 1000
    while True:
        told: list[dict[str, Any]] = page.evaluate(READABLE)
        if any(one["id"] == (SIGNS | TELLS)[state] for one in told):
            return told
        assert time.monotonic() < end, told
        time.sleep(0.05)
