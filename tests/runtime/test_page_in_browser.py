"""The bedside page in a real Chromium: it starts, moves, pauses, says that it has no signal, and finds its way back."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import time
from collections.abc import Iterator
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
from runtime.bus import ResultServer
from runtime.display.app import MOST
from runtime.display.pins import Pins
from runtime.display.service import DisplayServer
from tests.runtime.bedside import (
    HOURS,
    MIDDLE,
    PICTURE,
    READABLE,
    SIGNS,
    SIZES,
    TELLS,
    WAIT_MS,
    Bedside,
    in_bed,
    in_state,
    no_signal,
    nobody,
    opened,
    read_in,
    shows,
    text,
    until,
)
from tests.runtime.page_client import watching

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `test`)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt install chromium)")


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


@pytest.mark.parametrize("light", HOURS)
def test_it_is_read_from_three_metres(browser: Any, bedside: Bedside, light: str) -> None:
    for page in opened(browser, bedside, hour=HOURS[light]):
        for state in ("live", "edge", "perhaps", "lost", "nobody", "elsewhere", "out", "paused"):
            in_state(page, bedside, state)
            assert page.evaluate("document.body.dataset.light") == light
            for width, height in SIZES:
                page.set_viewport_size({"width": width, "height": height})
                until(page, f"innerHeight === {height}")
                told = read_in(page, state)
                assert all(one["inside"] for one in told), (width, [one for one in told if not one["inside"]])
                assert all(one["contrast"] >= 4.5 for one in told), [one for one in told if one["contrast"] < 4.5]
                signs = [one for one in told if one["id"] in SIGNS.values()]
                besides = [one for one in told if one["id"] in TELLS.values()]
                assert all(one["capitals"] >= 0.06 and one["margin"] >= 0.015 for one in signs), (width, signs)
                assert all((one["standing"] or one["capitals"]) >= 0.06 for one in besides), (width, besides)


# Whether something that is drawn reaches an edge of its field, as what is cut off there does.
CUT_OFF = """
(() => {
  const field = document.getElementById("scene"), { width, height } = field;
  const edges = [[0, 0, width, 1], [0, height - 1, width, 1], [0, 0, 1, height], [width - 1, 0, 1, height]];
  return edges.some((edge) => field.getContext("2d").getImageData(...edge).data.some((value) => value));
})()
"""


def test_the_bed_is_drawn_whole_to_its_foot_on_every_screen(page: Any, bedside: Bedside) -> None:
    for says in (in_bed, nobody):
        bedside.says = says
        shows(page, "live")
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            until(page, f"innerHeight === {height} && {PICTURE}.length > 3000 && !{CUT_OFF}")


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
