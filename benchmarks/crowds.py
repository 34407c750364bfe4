"""What a crowd of clients does to a socket: bytes without meaning, lines without end, brackets without end, values of
other kinds, connections that are held, and readers that never read. To a Unix socket that is asked in lines of JSON, or
to the bedside page, a loopback port that speaks HTTP and over WebSockets in JSON."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HELD = 200
Place = Path | int  # a Unix socket, or a loopback port
_DEEP = b"[" * 100_000
_WRONG: tuple[Any, ...] = (
    None, 7, "call", [], {}, {"call": 7}, {"call": None}, {"call": "status", "parameters": 7},
    {"call": "status", "parameters": []}, {"call": "nothing"}, {"call": "status", "version": "x"},
    {"call": "jobs.get", "parameters": {"id": "1; DROP"}}, {"call": "jobs.get", "parameters": {"id": 1 << 80}},
    {"command": 7}, {"command": "nothing"}, {"command": "pause", "by": []},
)  # fmt: skip


def connect(place: Place, seconds: float = 5.0) -> socket.socket:
    """A connection; its calls wait so long at most."""
    until = time.monotonic() + seconds
    if isinstance(place, int):
        return socket.create_connection(("127.0.0.1", place), timeout=seconds)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(seconds)
    while True:
        try:
            made.connect(str(place))
            return made
        except BlockingIOError:  # many come at once: the kernel's queue is full
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


@contextlib.contextmanager
def held(place: Place, count: int = HELD) -> Iterator[list[socket.socket]]:
    """`count` connections that say nothing."""
    connections: list[socket.socket] = []
    try:
        for _ in range(count):
            connections.append(connect(place))
        yield connections
    finally:
        for connection in connections:
            connection.close()


def noise(place: Place, seed: int = 0) -> None:
    """Random bytes, among them ends of lines; whoever listens may hang up at any time."""
    rng = random.Random(seed)
    _send(place, rng.randbytes(1 << 16), b"\n".join(rng.randbytes(rng.randrange(40)) for _ in range(500)) + b"\n")


def endless_line(place: Place, mib: int = 4) -> None:
    _send(place, *[b"a" * (1 << 20)] * mib)


def newlines(place: Place) -> None:
    _send(place, b"\n" * (1 << 16))


def deep(place: Place) -> None:
    _send(place, _DEEP + b"\n", b'{"call":' * 50_000 + b"\n")


def wrong_kinds(place: Place) -> None:
    _send(place, b"".join(json.dumps(value).encode() + b"\n" for value in _WRONG))


def never_read(place: Place, request: bytes, times: int = 2000) -> socket.socket:
    """A client that asks and asks and reads nothing; returns its connection, to be held."""
    connection = connect(place, 0.2)
    with contextlib.suppress(OSError):
        for _ in range(times):
            connection.sendall(request)
    return connection


def no_header_ends(place: Place) -> None:
    """Of the page: a request whose headers never end."""
    _send(place, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 9000)


def deep_to_the_page(port: int, key: str) -> None:
    """Of somebody who has the page's key."""
    with contextlib.suppress(OSError), watch(port, key) as page:
        for text in (b'{"command":' + b"[" * 3000, _DEEP, b"\x00\xff" * 100):
            page.sendall(_frame(text))


def wrong_kinds_to_the_page(port: int, key: str) -> None:
    with contextlib.suppress(OSError), watch(port, key) as page:
        for value in _WRONG:
            page.sendall(_frame(json.dumps(value).encode()))


def watch(port: int, key: str, *, kiosk: bool = False, seconds: float = 5.0) -> socket.socket:
    """A WebSocket of the page that has been let in; raises OSError where it is not."""
    names = ", ".join(["wardpose", f"key.{key}", *(["kiosk"] if kiosk else [])])
    made = connect(port, seconds)
    try:
        made.sendall(
            f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {names}\r\n\r\n".encode()
        )
        received = b""
        while b"\r\n\r\n" not in received:
            received += _some(made)
        if b" 101 " not in received.partition(b"\r\n")[0]:
            raise ConnectionError("not let in")
    except BaseException:
        made.close()
        raise
    return made


def picture_ms(port: int, key: str, seconds: float = 30.0) -> float:
    """How long the screen beside the bed waits, as it starts, for the first it is told (ms)."""
    began = time.monotonic()
    with watch(port, key, kiosk=True, seconds=seconds) as screen:
        _some(screen)
    return 1e3 * (time.monotonic() - began)


ATTACKS = (noise, endless_line, newlines, deep, wrong_kinds)


def answer_ms(place: Place, request: bytes, seconds: float = 30.0) -> float:
    """How long one request takes to be answered on a new connection (ms). Raises OSError where it is not."""
    began = time.monotonic()
    with connect(place, seconds) as connection:
        connection.sendall(request)
        received = b""
        while b"\n" not in received:
            received += _some(connection)
    return 1e3 * (time.monotonic() - began)


def _send(place: Place, *pieces: bytes) -> None:
    with contextlib.suppress(OSError), connect(place) as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.settimeout(0.2)
        while connection.recv(1 << 16):
            pass


def _some(connection: socket.socket) -> bytes:
    piece = connection.recv(1 << 16)
    if not piece:
        raise ConnectionError("no answer")
    return piece


def _frame(text: bytes) -> bytes:
    """A WebSocket's message as a client sends it, masked with noughts."""
    size = (
        struct.pack(">BH", 0x80 | 126, len(text)) if len(text) < 1 << 16 else struct.pack(">BQ", 0x80 | 127, len(text))
    )
    return b"\x81" + size + bytes(4) + text
