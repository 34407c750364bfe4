"""A crowd at the socket: whatever the others send, or hold, or never read, the next one is served."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.errors import WardposeError
from runtime.bus import ResultClient, ResultServer

WAIT_S = 60.0
PLACES = 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live.sock"


@pytest.fixture
def server(path: Path) -> Iterator[ResultServer]:
    with ResultServer(path, lambda command: {"ok": True, "echo": command.get("command")}) as server:
        yield server


def connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    connection.settimeout(WAIT_S)
    return connection


def served(server: ResultServer) -> None:
    """Somebody who comes now gets the latest message and an answer."""
    with ResultClient(server.path) as client:
        assert client.command("state", WAIT_S)["echo"] == "state"
        server.publish({"state": "live"})
        assert client.latest(WAIT_S) == {"state": "live"}


def test_of_malformed_lines_only_the_first_is_answered_and_their_sender_is_left(server: ResultServer) -> None:
    with connected(server.path) as rude:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            rude.sendall(b"\n" * 65536)
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while data := rude.recv(65536):
                said += data
        assert said.count(b"\n") <= 1
        served(server)


def test_commands_that_nobody_reads_the_answers_of_are_not_read_on(server: ResultServer) -> None:
    """Else the answers would pile up in the live process's memory."""
    with connected(server.path) as rude:
        rude.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            for _ in range(20_000):
                rude.sendall(b'{"command": "state"}\n')
                sent += 1
        assert sent < 20_000
        served(server)


def test_commands_sent_at_once_are_all_answered_in_order(server: ResultServer) -> None:
    with connected(server.path) as eager:
        eager.sendall(b"".join(json.dumps({"command": n}).encode() + b"\n" for n in range(500)))
        lines = eager.makefile()
        assert [json.loads(lines.readline())["answer"]["echo"] for _ in range(500)] == list(range(500))


def test_who_holds_all_places_keeps_nobody_from_pausing(server: ResultServer) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(200):
            held.enter_context(connected(server.path))
        served(server)


def test_who_watches_keeps_the_place_while_others_come_and_hold(server: ResultServer) -> None:
    with ResultClient(server.path) as watcher, contextlib.ExitStack() as held:
        server.publish({"n": 0})
        assert watcher.latest(WAIT_S) == {"n": 0}
        for _ in range(100):
            held.enter_context(connected(server.path))
        server.publish({"n": 1})
        assert watcher.latest(WAIT_S) == {"n": 1}


def test_one_who_is_sent_away_is_told_that_there_were_too_many_and_not_that_nothing_runs(server: ResultServer) -> None:
    with contextlib.ExitStack() as held:
        early = [held.enter_context(connected(server.path)) for _ in range(PLACES)]
        late = ResultClient(server.path)
        late.command("state", WAIT_S)
        for _ in range(PLACES):
            held.enter_context(connected(server.path))
        with pytest.raises(WardposeError, match="too many"):
            while True:
                server.publish({"state": "live"})
                late.latest(1.0)
        assert len(early) == PLACES
        late.close()


def test_an_error_in_answering_is_answered_and_not_the_end_of_all_answers(path: Path) -> None:
    def break_down(command: dict[str, object]) -> dict[str, object]:
        raise ZeroDivisionError

    with ResultServer(path, break_down) as server, ResultClient(path) as client:
        for _ in range(2):
            with pytest.raises(WardposeError, match="ZeroDivisionError"):
                client.command("pause", WAIT_S)
        server.publish({"n": 1})
        assert client.latest(WAIT_S) == {"n": 1}


JSON_LINE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
).map(lambda value: json.dumps(value).encode())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=300) | JSON_LINE, max_size=8), st.booleans())
def test_nothing_that_is_sent_ends_the_service(server: ResultServer, lines: list[bytes], reads: bool) -> None:
    with connected(server.path) as rude, contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
        for line in lines:
            rude.sendall(line + b"\n")
        if reads:
            rude.settimeout(0.01)
            rude.recv(65536)
    served(server)


def test_a_crowd_that_comes_and_goes_ends_with_everybody_served(server: ResultServer) -> None:
    def come_and_go() -> None:
        for _ in range(50):
            with contextlib.suppress(OSError), connected(server.path) as one:
                one.sendall(b'{"command": "state"}\n')

    crowd = [threading.Thread(target=come_and_go) for _ in range(8)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(WAIT_S)
    served(server)
