"""What a crowd of clients does to a Unix socket that is asked in lines of JSON: bytes without meaning, lines without
end, brackets without end, values of other kinds, connections that are held, and readers that never read."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HELD = 200
_DEEP = b"[" * 100_000
_WRONG: tuple[Any, ...] = (
    None, 7, "call", [], {}, {"call": 7}, {"call": None}, {"call": "status", "parameters": 7},
    {"call": "status", "parameters": []}, {"call": "nothing"}, {"call": "status", "version": "x"},
    {"call": "jobs.get", "parameters": {"id": "1; DROP"}}, {"call": "jobs.get", "parameters": {"id": 1 << 80}},
    {"command": 7}, {"command": "nothing"}, {"command": "pause", "by": []},
)  # fmt: skip


def connect(path: Path, seconds: float = 5.0) -> socket.socket:
    """A connection; its calls wait so long at most."""
    made, until = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), time.monotonic() + seconds
    made.settimeout(seconds)
    while True:
        try:
            made.connect(str(path))
            return made
        except BlockingIOError:  # many come at once: the kernel's queue is full
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


@contextlib.contextmanager
def held(path: Path, count: int = HELD) -> Iterator[list[socket.socket]]:
    """`count` connections that say nothing."""
    connections: list[socket.socket] = []
    try:
        for _ in range(count):
            connections.append(connect(path))
        yield connections
    finally:
        for connection in connections:
            connection.close()


def noise(path: Path, seed: int = 0) -> None:
    """Random bytes, among them ends of lines; whoever listens may hang up at any time."""
    rng = random.Random(seed)
    _send(path, rng.randbytes(1 << 16), b"\n".join(rng.randbytes(rng.randrange(40)) for _ in range(500)) + b"\n")


def endless_line(path: Path, mib: int = 4) -> None:
    _send(path, *[b"a" * (1 << 20)] * mib)


def newlines(path: Path) -> None:
    _send(path, b"\n" * (1 << 16))


def deep(path: Path) -> None:
    _send(path, _DEEP + b"\n", b'{"call":' * 50_000 + b"\n")


def wrong_kinds(path: Path) -> None:
    _send(path, b"".join(json.dumps(value).encode() + b"\n" for value in _WRONG))


def never_read(path: Path, request: bytes, times: int = 2000) -> socket.socket:
    """A client that asks and asks and reads nothing; returns its connection, to be held."""
    connection = connect(path, 0.2)
    with contextlib.suppress(OSError):
        for _ in range(times):
            connection.sendall(request)
    return connection


ATTACKS = (noise, endless_line, newlines, deep, wrong_kinds)


def answer_ms(path: Path, request: bytes, seconds: float = 30.0) -> float:
    """How long one request takes to be answered on a new connection (ms). Raises OSError where it is not."""
    began = time.monotonic()
    with connect(path, seconds) as connection:
        connection.sendall(request)
        received = b""
        while b"\n" not in received:
            piece = connection.recv(1 << 16)
            if not piece:
                raise ConnectionError("no answer")
            received += piece
    return 1e3 * (time.monotonic() - began)


def _send(path: Path, *pieces: bytes) -> None:
    with contextlib.suppress(OSError), connect(path) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.settimeout(0.2)
        while connection.recv(1 << 16):
            pass
