"""The bedside page in a real Chromium: it starts, moves, pauses, says that it has no signal, and finds its way back."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.client import ServiceClient
from appliance.live import pauses, station
from appliance.live.addresses import result_socket, service_socket
from appliance.site import assigning, audit
from appliance.site.folder import SiteFolder
from appliance.site.settings import set_value
from appliance.station_view import StationView
from benchmarks.page_scene import LYING, beside, calibration, live, person, whereabouts
from calibration.files import save_estimate
from runtime.bus import ResultServer
from runtime.display.app import MOST
from runtime.display.pins import Pins
from runtime.display.service import DisplayServer
from runtime.pause import PauseSwitch
from tests.runtime.page_client import watching

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt install chromium)")

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
        self.folder, self.says = folder, in_bed
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bedside]:
    bedside = Bedside(tmp_path_factory.mktemp("page"))
    yield bedside
    bedside.close()


@pytest.fixture
def bedside(served: Bedside) -> Iterator[Bedside]:
    served.says = in_bed
    served.pause.lift("a test")
    yield served
    served.says = in_bed
    served.pause.lift("a test")


@pytest.fixture
def page(browser: Any, bedside: Bedside) -> Iterator[Any]:
    yield from opened(browser, bedside)


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


PICTURE = "document.getElementById('scene').toDataURL()"


def test_it_starts_and_moves_and_asks_nobody_else(page: Any, bedside: Bedside) -> None:
    shows(page, "live")
    assert text(page, "live-word") == "LIVE"
    until(page, "document.getElementById('where').textContent.startsWith('In bed')")
    first = page.evaluate(PICTURE)
    until(page, f"{PICTURE} !== {first!r}")
    assert all(url.startswith((bedside.display.url, "data:")) for url in page.requested)
    assert bedside.display.key not in page.url  # it was carried once


def test_a_pause_says_by_whom_and_how_long_and_is_lifted_by_its_button(page: Any, bedside: Bedside) -> None:
    shows(page, "live")
    page.click("#pause")
    shows(page, "paused")
    assert bedside.pause.active
    assert text(page, "paused-word") == "PAUSED" and text(page, "paused-by") == "by somebody at the bedside page"
    assert text(page, "paused-since").startswith("since ")
    until(page, "document.getElementById('paused-since').textContent.endsWith(', 2 s')")
    page.click("#pause")
    shows(page, "live")
    bedside.pause.set("anna", "washing")
    shows(page, "paused")
    assert (text(page, "paused-by"), text(page, "paused-why")) == ("by anna", "washing")


def test_what_has_no_successor_is_no_signal_and_what_comes_again_is_live(page: Any, bedside: Bedside) -> None:
    shows(page, "live")
    bedside.says = lambda index: None
    shows(page, "lost")
    assert text(page, "lost-word") == "NO SIGNAL"
    assert page.evaluate("getComputedStyle(document.getElementById('scene')).visibility") == "hidden"
    bedside.says = in_bed
    shows(page, "live")
    bedside.says = no_signal
    until(page, "document.getElementById('told-what').textContent === 'The camera has stopped.'")
    assert "call the clinical engineer" in text(page, "told-do")
    assert text(page, "told-detail").startswith("For the engineer: /run/wardpose/frames")


def test_it_finds_its_way_back_when_the_display_was_started_again(page: Any, bedside: Bedside) -> None:
    shows(page, "live")
    port = bedside.display.port
    bedside.display.close()
    until(page, "document.getElementById('told-what').textContent.startsWith('This screen has lost')")
    bedside.display = bedside.serve(port)
    shows(page, "live")
    page.reload()  # the key is kept for this tab
    shows(page, "live")


def test_it_finds_its_way_back_when_the_live_process_was_started_again(page: Any, bedside: Bedside) -> None:
    shows(page, "live")
    bedside.says = lambda index: None
    bedside.bus.close()
    until(page, "document.getElementById('told-what').textContent === 'The live picture has stopped.'")
    bedside.bus = ResultServer(bedside.folder / "live.sock")
    bedside.says = in_bed
    shows(page, "live")


def test_a_script_that_has_died_is_shown_by_the_page_itself(page: Any) -> None:
    shows(page, "live")
    assert page.evaluate("getComputedStyle(document.getElementById('dead')).opacity") == "0"
    page.evaluate("window.requestAnimationFrame = () => {}")
    until(page, "getComputedStyle(document.getElementById('dead')).opacity === '1'")
    assert "NO SIGNAL" in text(page, "dead")


def test_a_page_without_the_key_says_how_to_get_it(browser: Any, bedside: Bedside) -> None:
    for page in opened(browser, bedside, key="wrong"):
        until(page, "document.getElementById('told-what').textContent.includes('without its key')")
        assert "wardpose display --address" in text(page, "told-do")
        assert page.evaluate("document.getElementById('pause').disabled")


def test_a_page_too_many_says_so_and_goes_on_when_another_is_closed(browser: Any, bedside: Bedside) -> None:
    with ExitStack() as others:
        for _ in range(MOST["page"]):
            others.enter_context(watching(bedside.display))
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{bedside.display.url}#key={bedside.display.key}")
        until(page, "document.getElementById('told-what').textContent === 'Too many pages are open.'")
    shows(page, "live")
    context.close()


def test_at_the_wards_station_a_pin_lets_look_and_there_is_nothing_to_press(browser: Any, tmp_path: Path) -> None:
    site = SiteFolder.open(tmp_path / "site")
    assigning.assign(site, pwd.getpwuid(os.getuid()).pw_name, "engineer", "a test")
    assigning.assign(site, "Station 3", "viewer", "a test", pin="480261")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    set_value(site, "station", "address", "127.0.0.1")
    set_value(site, "station", "port", port)
    station.keep_certificate(site, ["127.0.0.1"], "", "", "a test")
    view = StationView(site)
    with ServiceClient.connect(site) as client, ResultServer(result_socket(site)) as bus:
        station.switch(site, True, "a test")
        view.look()
        context = browser.new_context(ignore_https_errors=True)  # it was made here: a station is told to trust it once
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.goto(f"https://127.0.0.1:{port}/")
        page.wait_for_selector("#keypad[open]")
        for pin, expected in (("902104", "was not accepted"), ("480261", "")):
            page.keyboard.type(pin)
            page.keyboard.press("Enter")
            if expected:
                until(page, f"document.getElementById('keypad-say').textContent.includes('{expected}')")
        end = time.monotonic() + WAIT_MS / 1000
        while page.get_attribute("body", "data-state") != "live":
            bus.publish(in_bed(int(1000 * time.monotonic())))
            assert time.monotonic() < end
            time.sleep(0.05)
        assert not page.is_visible("#pause") and not page.is_visible("#keypad")
        context.close()
        view.close()
        client.stop_service()


def test_where_people_have_pins_whoever_resumes_types_theirs(browser: Any, tmp_path: Path) -> None:
    site = SiteFolder.open(tmp_path / "site")
    assigning.assign(site, "daemon", "engineer", "a test")
    assigning.assign(site, "Schwester Anna", "nurse", "a test", pin="480261")
    switch, pins = pauses.switch(site), Pins(site.pins_file)
    with (
        ServiceClient.connect(site) as client,
        DisplayServer(
            tmp_path / "live.sock", switch, tmp_path / "page.key", service=service_socket(site), pins=pins, port=0
        ) as display,
    ):
        page = browser.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{display.url}#kiosk={display.key}")
        shows(page, "lost")
        page.click("#pause")
        shows(page, "paused")
        for pin, state in (("480262", "paused"), ("480261", "lost")):
            page.click("#pause")
            for digit in pin:
                page.click(f"#keypad-keys button:has-text('{digit}')")
            assert text(page, "keypad-typed") == "●●●●●●"
            page.click("#keypad-done")
            if state == "paused":
                page.wait_for_selector("#failed")
                assert "This PIN was not accepted." in text(page, "failed")
            shows(page, state)
        page.close()
        os.kill(client.status()["pid"], signal.SIGTERM)
    assert audit.rows(site)[0].who == "Schwester Anna at the bedside page [nurse]"


# How readable a screen is: for each text that is shown, its contrast to what is behind it and whether it is cut off;
# the height of a sign's capitals as a part of the screen's, and of its width where it stands.
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
      inside: box.left >= -1 && box.top >= -1 && box.right <= innerWidth + 1 && box.bottom <= innerHeight + 1,
    });
  }
  return told;
}
"""
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


@pytest.mark.parametrize("light", HOURS)
def test_it_is_read_from_three_metres(browser: Any, bedside: Bedside, light: str) -> None:
    for page in opened(browser, bedside, hour=HOURS[light]):
        for state in ("live", "edge", "perhaps", "lost", "nobody", "elsewhere", "out", "paused"):
            in_state(page, bedside, state)
            assert page.evaluate("document.body.dataset.light") == light
            for width, height in SIZES:
                page.set_viewport_size({"width": width, "height": height})
                until(page, f"innerHeight === {height}")
                told = page.evaluate(READABLE)
                assert all(one["inside"] for one in told), (width, [one for one in told if not one["inside"]])
                assert all(one["contrast"] >= 4.5 for one in told), [one for one in told if one["contrast"] < 4.5]
                signs = [one for one in told if one["id"] in SIGNS.values()]
                besides = [one for one in told if one["id"] in TELLS.values()]
                assert all(one["capitals"] >= 0.06 for one in signs), (width, signs)
                assert all((one["standing"] or one["capitals"]) >= 0.06 for one in besides), (width, besides)
                assert (SIGNS | TELLS)[state] in [one["id"] for one in told]


def test_states_differ_in_word_shape_and_place_and_not_by_colour_alone(browser: Any, bedside: Bedside) -> None:
    looks = []
    for state, place in (("live", "live"), ("paused", "paused"), ("lost", "lost"), ("nobody", "empty")):
        for page in opened(browser, bedside):
            in_state(page, bedside, state)
            word = text(page, SIGNS[state])
            box = page.evaluate(MIDDLE.format(SIGNS[state]))
            drawn = page.evaluate(f"document.querySelector('#{place} svg')?.innerHTML ?? 'a dashed frame'")
            looks.append((word, tuple(box), drawn))
        bedside.pause.lift("a test")
    for (word, place, shape), (other_word, other_place, other_shape) in itertools.combinations(looks, 2):
        assert word != other_word and shape != other_shape
        assert np.hypot(*np.subtract(place, other_place)) > 100, (word, other_word)


@pytest.mark.parametrize("tongue", ["de", "fr"])
def test_it_speaks_other_languages_without_cutting_them_off(browser: Any, bedside: Bedside, tongue: str) -> None:
    bedside.display.close()
    bedside.display = bedside.serve(0, tongue)
    words = {"de": ("NIEMAND ERKANNT", "Pause"), "fr": ("PERSONNE DÉTECTÉ", "Pause")}[tongue]
    try:
        for page in opened(browser, bedside):
            for state in ("perhaps", "nobody", "lost", "elsewhere", "paused"):
                in_state(page, bedside, state)
                if state == "nobody":
                    assert (text(page, "empty-word"), text(page, "pause")) == words
                for width, height in SIZES[:4]:
                    page.set_viewport_size({"width": width, "height": height})
                    until(page, f"innerHeight === {height}")
                    told = page.evaluate(READABLE)
                    assert all(one["inside"] for one in told), (width, [one for one in told if not one["inside"]])
    finally:
        bedside.display.close()
        bedside.display = bedside.serve(0)


def test_written_from_the_right_it_is_laid_out_from_the_right(page: Any) -> None:
    shows(page, "live")
    before = [page.evaluate(MIDDLE.format(place))[0] for place in ("live", "clock", "pause")]
    page.evaluate("document.documentElement.dir = 'rtl'")
    after = [page.evaluate(MIDDLE.format(place))[0] for place in ("live", "clock", "pause")]
    assert [1280 - x for x in before] == pytest.approx(after, abs=2)
