"""The bedside page's server: what it shows, to whom, and what it never does."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from calibration.errors import WardposeError
from runtime.bus import ResultServer
from runtime.display.pausing import WHO
from runtime.display.service import DisplayServer
from runtime.pause import PauseSwitch

WAIT_S = 30.0


@pytest.fixture
def live(tmp_path: Path) -> Iterator[ResultServer]:
    with ResultServer(tmp_path / "live.sock") as server:
        yield server


@pytest.fixture
def pause(tmp_path: Path) -> PauseSwitch:
    return PauseSwitch(tmp_path / "pause.json")


@pytest.fixture
def display(tmp_path: Path, pause: PauseSwitch) -> Iterator[DisplayServer]:
    with DisplayServer(tmp_path / "live.sock", pause, port=0) as server:
        yield server


def _ask(
    display: DisplayServer, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", display.port, timeout=WAIT_S)
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


@contextmanager
def _events(display: DisplayServer) -> Iterator[Iterator[dict[str, Any]]]:
    connection = http.client.HTTPConnection("127.0.0.1", display.port, timeout=WAIT_S)
    connection.request("GET", "/events")
    response = connection.getresponse()
    assert response.getheader("Content-Type", "").startswith("text/event-stream")

    def stream() -> Iterator[dict[str, Any]]:
        while line := response.readline():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    yield stream()
    connection.close()


def _first(events: Iterator[dict[str, Any]], state: str, saying: str = "") -> dict[str, Any]:
    until = time.monotonic() + WAIT_S
    for event in events:
        if event["state"] == state and saying in event.get("message", ""):
            return event
        if time.monotonic() > until:
            break
    raise AssertionError(f"never {state}")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "ward.example"])
def test_it_serves_this_box_only(tmp_path: Path, pause: PauseSwitch, host: str) -> None:
    with pytest.raises(WardposeError, match="this box only"):
        DisplayServer(tmp_path / "live.sock", pause, host=host, port=0)


def test_a_taken_port_is_one_line(tmp_path: Path, pause: PauseSwitch, display: DisplayServer) -> None:
    with pytest.raises(WardposeError, match="choose another --port"):
        DisplayServer(tmp_path / "live.sock", pause, port=display.port)


def test_the_page_and_all_it_needs_come_from_here(display: DisplayServer) -> None:
    response, body = _ask(display, "/")
    assert response.status == 200
    policy = response.getheader("Content-Security-Policy", "")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for link in re.findall(r'(?:src|href)="([^"]+)"', body.decode()):
        assert link.startswith("/")
        assert _ask(display, link)[0].status == 200
    for path in ("/page.js", "/page.css"):
        assert not re.search(rb"https?://|@import|url\(", _ask(display, path)[1])


def test_a_name_that_is_not_this_hosts_is_turned_away(display: DisplayServer) -> None:
    for headers in (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{display.port}"},
        {"Origin": "http://evil.example"},
    ):
        for path in ("/", "/events"):
            assert _ask(display, path, headers=headers)[0].status == 403
    assert _ask(display, "/", headers={"Host": f"localhost:{display.port}"})[0].status == 200


@pytest.mark.parametrize("path", ["/../service.py", "/page/index.html", "/%2e%2e/hub.py", "//etc/passwd", "/frame.jpg"])
def test_nothing_but_the_page_is_served(display: DisplayServer, path: str) -> None:
    assert _ask(display, path)[0].status == 404


def test_messages_reach_the_page_with_the_age_of_their_picture(live: ResultServer, display: DisplayServer) -> None:
    with _events(display) as events:
        live.publish({"state": "live", "people": [], "captured_at": time.monotonic() - 0.3})
        event = _first(events, "live")
        assert event["age_ms"] >= 300
        # With nothing new the same picture is told again, older.
        assert next(events)["age_ms"] > event["age_ms"]


def test_the_page_hears_when_the_live_process_is_gone_and_when_it_is_back(
    tmp_path: Path, display: DisplayServer
) -> None:
    with _events(display) as events:
        _first(events, "gone", "not running")
        with ResultServer(tmp_path / "live.sock") as server:
            server.publish({"state": "live", "people": [], "captured_at": None})
            _first(events, "live")
            _first(events, "gone", "stopped answering")
        _first(events, "gone", "not running")


def test_pause_and_resume_from_the_page(live: ResultServer, display: DisplayServer, pause: PauseSwitch) -> None:
    live.publish({"state": "live", "people": [{"id": 1}], "captured_at": time.monotonic()})
    with _events(display) as events:
        _first(events, "live")
        assert _ask(display, "/pause", "POST", {"X-Wardpose": "page"})[0].status == 200
        held = pause.state()
        assert held is not None and held.by == WHO
        event = _first(events, "paused")
        assert (event["people"], event["pause"]["words"]) == ([], held.words())
        assert _ask(display, "/resume", "POST", {"X-Wardpose": "page"})[0].status == 200
        assert not pause.active


def test_a_pause_by_somebody_else_shows_by_whom_and_since_when(display: DisplayServer, pause: PauseSwitch) -> None:
    pause.set("anna", "washing")
    with _events(display) as events:
        told = _first(events, "paused")["pause"]
    assert (told["by"], told["reason"]) == ("anna", "washing") and told["since"]


def test_a_page_pauses_where_no_live_process_answers(display: DisplayServer, pause: PauseSwitch) -> None:
    assert _ask(display, "/pause", "POST", {"X-Wardpose": "page"})[0].status == 200
    assert pause.active


def test_a_foreign_page_cannot_pause(display: DisplayServer, pause: PauseSwitch) -> None:
    assert _ask(display, "/pause", "POST")[0].status == 403
    crossing = {"X-Wardpose": "page", "Origin": "http://evil.example"}
    assert _ask(display, "/pause", "POST", crossing)[0].status == 403
    assert _ask(display, "/pause")[0].status == 404
    assert _ask(display, "/shutdown", "POST", {"X-Wardpose": "page"})[0].status == 404
    assert not pause.active
