"""The bedside page's server: what it shows, to whom, and what it never does."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus

from benchmarks import page_scene
from calibration.errors import WardposeError
from calibration.files import save_estimate
from runtime.bus import ResultServer
from runtime.display import page_key
from runtime.display.app import HEADERS, MOST, NO_KEY, REPLACED, TOO_MANY
from runtime.display.limits import Allowance
from runtime.display.pausing import WHO
from runtime.display.service import DisplayServer
from runtime.pause import PauseSwitch
from runtime.state import GAP_S, STALE_S, gap_s
from tests.conftest import REPOSITORY
from tests.runtime.page_client import WAIT_S, ask, press, said, watching

SCRIPTS = tuple(f"/{name}.js" for name in ("main", "keypad", "link", "scene", "verdict", "words"))
FILES = ("/", "/page.css", "/icon.svg", *SCRIPTS, "/words")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[ResultServer]:
    with ResultServer(tmp_path / "live.sock") as server:
        yield server


@pytest.fixture
def pause(tmp_path: Path) -> PauseSwitch:
    return PauseSwitch(tmp_path / "pause.json")


@pytest.fixture
def display(tmp_path: Path, pause: PauseSwitch) -> Iterator[DisplayServer]:
    with DisplayServer(tmp_path / "live.sock", pause, tmp_path / "page.key", port=0) as server:
        yield server


def until(true: Any) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def closed(connection: Any) -> int:
    """The number with which the server closes it."""
    with pytest.raises(ConnectionClosed) as told:
        while True:
            connection.recv(timeout=WAIT_S)
    assert told.value.rcvd is not None
    return told.value.rcvd.code


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "ward.example"])
def test_it_serves_this_box_only(tmp_path: Path, pause: PauseSwitch, host: str) -> None:
    with pytest.raises(WardposeError, match="this box only"):
        DisplayServer(tmp_path / "live.sock", pause, tmp_path / "page.key", host=host, port=0)


def test_a_taken_port_is_one_line(tmp_path: Path, pause: PauseSwitch, display: DisplayServer) -> None:
    with pytest.raises(WardposeError, match="choose another port"):
        DisplayServer(tmp_path / "live.sock", pause, tmp_path / "page.key", port=display.port)


def test_the_page_and_all_it_needs_come_from_here(display: DisplayServer) -> None:
    response, body = ask(display, "/")
    assert response.status == 200
    policy = response.getheader("Content-Security-Policy", "")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for link in re.findall(r'(?:src|href)="([^"]+)"', body.decode()):
        assert link in FILES
    for path in FILES:
        response, body = ask(display, path)
        assert response.status == 200
        assert not re.search(rb"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", body)
        assert set(re.findall(rb'from "([^"]+)"', body)) <= {name.encode() for name in FILES}


def test_the_pages_files_say_nothing_of_anybody(live: ResultServer, display: DisplayServer) -> None:
    live.publish({"state": "live", "people": [{"id": 4711}], "captured_at": time.monotonic()})
    assert all(b"4711" not in ask(display, path)[1] for path in FILES)


@pytest.mark.parametrize(
    "path", ["/../service.py", "/page/index.html", "/%2e%2e/hub.py", "//etc/passwd", "/frame.jpg", "/events", "/live"]
)
def test_nothing_but_the_page_is_served(display: DisplayServer, path: str) -> None:
    assert ask(display, path)[0].status == 404


def test_a_name_that_is_not_this_hosts_is_turned_away(display: DisplayServer, pause: PauseSwitch) -> None:
    evil: tuple[dict[str, str], ...] = (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{display.port}"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    )
    for headers in evil:
        assert ask(display, "/", headers=headers)[0].status == 403
    assert ask(display, "/", headers={"Host": f"localhost:{display.port}"})[0].status == 200
    # A foreign page that has the key, or a name made to point at this box (DNS rebinding), gets no further.
    for crossing in (
        {"origin": "http://evil.example"},
        {"origin": None},
        {"origin": f"http://127.0.0.1:{display.port + 1}"},
        {"host": f"evil.example:{display.port}", "origin": f"http://evil.example:{display.port}"},
        {"host": f"evil.example:{display.port}"},
    ):
        with pytest.raises(InvalidStatus) as told, watching(display, **crossing):  # type: ignore[arg-type]
            pass
        assert told.value.response.status_code == 403
    for method in ("POST", "PUT", "DELETE"):
        assert ask(display, "/pause", method)[0].status in (404, 405)
        assert ask(display, "/", method)[0].status == 405
    assert not pause.active


def test_whoever_lacks_the_key_sees_and_does_nothing(
    live: ResultServer, display: DisplayServer, pause: PauseSwitch
) -> None:
    live.publish({"state": "live", "people": [{"id": 1}], "captured_at": time.monotonic()})
    for wrong in ("", "none", display.key[:-1], display.key.swapcase()):
        with watching(display, key=wrong) as page:
            with contextlib.suppress(ConnectionClosed):  # it may be closed already
                page.send(json.dumps({"command": "pause"}))
            assert closed(page) == NO_KEY
    assert not pause.active and display.watching == 0


def test_who_tries_keys_is_turned_away_without_a_word(display: DisplayServer) -> None:
    with pytest.raises(InvalidStatus):
        for _ in range(200):
            with watching(display, key="guess"):
                pass
    with watching(display) as page:  # whoever has the key gets in all the same
        said(page, "gone")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_of_the_box_can_read_neither_the_key_nor_the_page_that_opens_it(
    display: DisplayServer, tmp_path: Path
) -> None:
    for path in (display.opener, tmp_path / "page.key"):
        assert path.stat().st_mode & 0o777 == 0o600
        within_reach = Path(tempfile.gettempdir()) / f"wardpose-test-{os.getpid()}"  # the folder alone keeps nobody out
        os.link(path, within_reach)
        try:
            read = subprocess.run(
                ["/bin/cat", str(within_reach)], user=pwd.getpwnam("nobody").pw_uid, extra_groups=[], cwd="/",
                capture_output=True,
            )  # fmt: skip
        finally:
            within_reach.unlink()
        assert read.returncode != 0 and read.stdout == b"" and b"ermission" in read.stderr


def test_a_key_that_others_could_have_read_is_made_anew(tmp_path: Path) -> None:
    first = page_key.page_key(tmp_path / "page.key")
    assert page_key.page_key(tmp_path / "page.key") == first  # so that an open page finds its way back
    (tmp_path / "page.key").chmod(0o644)
    second = page_key.page_key(tmp_path / "page.key")
    assert second != first and (tmp_path / "page.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "page.key").write_text("short")
    assert len(page_key.page_key(tmp_path / "page.key")) == 43
    (tmp_path / "page.key").unlink()
    (tmp_path / "page.key").symlink_to("/etc/hostname")
    with pytest.raises(WardposeError):
        page_key.page_key(tmp_path / "page.key")


def test_the_page_that_opens_the_page_holds_the_key_and_no_command_line_does(display: DisplayServer) -> None:
    opener = display.opener.read_text()
    assert f"{display.url}#kiosk={display.key}" in opener
    assert display.key not in Path("/proc/self/cmdline").read_text()


def test_messages_reach_the_page_with_the_age_of_their_picture(live: ResultServer, display: DisplayServer) -> None:
    with watching(display) as page:
        live.publish({"state": "live", "people": [], "captured_at": time.monotonic() - 0.3})
        first = said(page, "live")
        assert first["age_ms"] >= 300
        # With nothing new the same picture is told again, older.
        assert json.loads(page.recv(timeout=WAIT_S))["age_ms"] > first["age_ms"]


def test_the_page_is_told_no_more_than_it_shows(live: ResultServer, display: DisplayServer) -> None:
    person = {"id": 1, "box": [0, 0, 1, 1], "keypoints": [], "shown": "box", "joints_m": [[1, 2, 3, 4]]}
    with watching(display) as page:
        live.publish({"state": "live", "people": [person], "captured_at": time.monotonic(), "picture": "pixels"})
        message = said(page, "live")
    assert "picture" not in message and set(message["people"][0]) == {"id", "box", "keypoints", "shown"}


def test_no_role_sees_pixels_on_a_page_for_its_programs_can_not_reach_any() -> None:
    code = "import sys, runtime.display.service, runtime.display.station; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    reading = {
        name
        for name in loaded.stdout.split()
        if name.startswith(("runtime.capture", "runtime.live", "runtime.pipeline"))
    }
    assert not reading
    assert "img-src 'self'" in HEADERS["Content-Security-Policy"] and not [
        name
        for name in (REPOSITORY / "runtime/display/page").iterdir()
        if name.suffix not in (".js", ".html", ".css", ".svg")
    ]


def test_another_calibration_is_drawn_by_an_open_page_without_a_restart(
    live: ResultServer, pause: PauseSwitch, tmp_path: Path
) -> None:
    file = tmp_path / "calibration.json"
    with (
        DisplayServer(tmp_path / "live.sock", pause, tmp_path / "page.key", calibration=file, port=0) as display,
        watching(display) as page,
    ):
        beds: list[Any] = []
        for azimuth in (None, 20.0, 60.0):
            if azimuth is not None:
                save_estimate(page_scene.calibration(azimuth), file)
            wanted = 1 if azimuth is None else len(beds) + 1
            until(lambda wanted=wanted: len(_beds(live, page, beds)) >= wanted)
        file.write_text("{")
        until(lambda: len(_beds(live, page, beds)) == 4)
    assert beds[0] == [] and beds[3] == [] and beds[1] and beds[2] and beds[1] != beds[2]


def _beds(live: ResultServer, page: Any, beds: list[Any]) -> list[Any]:
    """The beds that the page was told so far, with one more message."""
    live.publish(page_scene.live([]))
    if (bed := json.loads(page.recv(timeout=WAIT_S)).get("bed")) is not None:
        beds.append(bed)
    return beds


def test_the_page_hears_when_the_live_process_is_gone_and_when_it_is_back(
    tmp_path: Path, display: DisplayServer
) -> None:
    with watching(display) as page:
        said(page, "gone", "not running")
        with ResultServer(tmp_path / "live.sock") as server:
            server.publish({"state": "live", "people": [], "captured_at": None})
            said(page, "live")
            said(page, "gone", "stopped answering")
        said(page, "gone", "not running")


def test_pause_and_resume_from_the_page(live: ResultServer, display: DisplayServer, pause: PauseSwitch) -> None:
    live.publish({"state": "live", "people": [{"id": 1}], "captured_at": time.monotonic()})
    with watching(display) as page:
        said(page, "live")
        assert press(page, "pause") == {"ok": True, "paused": True}
        held = pause.state()
        assert held is not None and held.by == WHO
        message = said(page, "paused")
        assert (message["people"], message["pause"]["words"]) == ([], held.words())
        assert press(page, "resume") == {"ok": True, "paused": False}
        assert not pause.active


def test_a_pause_by_somebody_else_shows_by_whom_and_since_when(display: DisplayServer, pause: PauseSwitch) -> None:
    pause.set("anna", "washing")
    with watching(display) as page:
        told = said(page, "paused")["pause"]
    assert (told["by"], told["reason"]) == ("anna", "washing") and told["since"]


def test_a_page_pauses_where_no_live_process_answers(display: DisplayServer, pause: PauseSwitch) -> None:
    with watching(display) as page:
        assert press(page, "pause")["ok"]
    assert pause.active


def test_whoever_presses_without_end_is_told_to_wait(display: DisplayServer) -> None:
    with watching(display) as page:
        answers = [press(page, "resume") for _ in range(12)]
        assert answers[0]["ok"] and "too often" in answers[-1]["what"]
        assert press(page, "shutdown") == {"ok": False, "what": "no such command"}


def test_a_screen_that_starts_again_finds_its_place_and_a_page_too_many_is_told(display: DisplayServer) -> None:
    with ExitStack() as open_pages:
        pages = [open_pages.enter_context(watching(display)) for _ in range(MOST["page"])]
        until(lambda: display.watching == len(pages))
        with watching(display) as one_more:
            assert closed(one_more) == TOO_MANY
        screens = [open_pages.enter_context(watching(display, kiosk=True)) for _ in range(MOST["kiosk"] + 1)]
        assert closed(screens[0]) == REPLACED
        said(screens[-1], "gone")


def test_connections_that_ask_nothing_shut_nobody_out(display: DisplayServer) -> None:
    held = [socket.create_connection(("127.0.0.1", display.port), timeout=WAIT_S) for _ in range(200)]
    try:
        for one in held[::7]:
            one.send(b"GET / HT")
        with watching(display, kiosk=True) as page:
            said(page, "gone")
            assert press(page, "pause")["ok"]
    finally:
        for one in held:
            one.close()


def test_a_page_that_does_not_read_loses_its_place(live: ResultServer, display: DisplayServer) -> None:
    person = {"id": 1, "box": [0.0] * 4, "keypoints": [[0.123, 0.456, 0.5]] * 40_000, "shown": "skeleton"}
    frozen = socket.create_connection(("127.0.0.1", display.port), timeout=WAIT_S)
    frozen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    here = f"127.0.0.1:{display.port}"
    lines = [
        "GET /live HTTP/1.1", f"Host: {here}", f"Origin: http://{here}", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Sec-WebSocket-Protocol: wardpose, key.{display.key}", "", "",
    ]  # fmt: skip
    frozen.sendall("\r\n".join(lines).encode())
    until(lambda: display.watching == 1)
    end = time.monotonic() + WAIT_S
    while display.watching and time.monotonic() < end:
        live.publish({"state": "live", "people": [person], "captured_at": time.monotonic()})
        time.sleep(0.05)
    assert display.watching == 0
    frozen.close()


def test_whatever_is_sent_instead_of_a_command_harms_nobody(display: DisplayServer, pause: PauseSwitch) -> None:
    @settings(max_examples=25)
    @given(st.one_of(st.text(max_size=300), st.recursive(st.integers(), lambda one: st.lists(one)).map(json.dumps)))
    def sent(line: str) -> None:
        page.send(line)
        assert page.recv(timeout=WAIT_S)

    with watching(display) as page:
        sent()
        page.send('{"command":' + "[" * 3000)
        page.send(json.dumps({"command": ["pause"]}))
        assert not pause.active
    with watching(display) as page:
        page.send(b"\x00\xff" * 100)
        with pytest.raises(ConnectionClosed):
            while True:
                page.recv(timeout=WAIT_S)
    with watching(display) as page:
        page.send("x" * 10_000)
        with pytest.raises(ConnectionClosed):
            while True:
                page.recv(timeout=WAIT_S)
    for noise in (os.urandom(5000), b"\n" * 65536, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 9000):
        with socket.create_connection(("127.0.0.1", display.port), timeout=WAIT_S) as stranger:
            try:
                stranger.sendall(noise)
                stranger.recv(4096)
            except OSError:
                pass  # it hung up, which is its right
    assert ask(display, "/")[0].status == 200


def test_so_many_at_once_and_so_many_a_second() -> None:
    at = [0.0]
    allowance = Allowance(rate=2.0, burst=3, now=lambda: at[0])
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]
    at[0] = 0.5
    assert [allowance.take() for _ in range(2)] == [True, False]


@pytest.mark.parametrize(("fps", "told"), [(None, GAP_S), (30.0, GAP_S), (4.0, GAP_S), (3.0, 2 / 3), (0.5, STALE_S)])
def test_a_picture_is_old_when_half_a_second_brought_no_other(fps: float | None, told: float) -> None:
    assert gap_s(fps) == pytest.approx(told)


def test_the_program_says_where_the_page_is_without_its_key(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runtime.display.service", "--socket", str(tmp_path / "s"), "--port", "0"]
    page = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    assert page.stderr is not None
    line = page.stderr.readline()
    page.terminate()
    assert re.fullmatch(r"display: http://127\.0\.0\.1:\d+/\n", line)
    assert page.wait(timeout=WAIT_S) == 0
