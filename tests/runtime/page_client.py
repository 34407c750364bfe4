"""A program's own view of the bedside page: what a browser would be told, and what it could ask."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from runtime.display.service import DisplayServer

WAIT_S = 30.0


def ask(
    display: DisplayServer, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", display.port, timeout=WAIT_S)
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


@contextmanager
def watching(
    display: DisplayServer, *, key: str | None = None, kiosk: bool = False, origin: str | None = "here",
    host: str | None = None,
) -> Iterator[ClientConnection]:  # fmt: skip
    """One page's connection. origin: of the page that opens it; host: by which name it knows this box."""
    names = ["wardpose", f"key.{display.key if key is None else key}", *(["kiosk"] if kiosk else [])]
    here = f"http://127.0.0.1:{display.port}"
    with connect(
        f"ws://{host or f'127.0.0.1:{display.port}'}/live",
        sock=socket.create_connection(("127.0.0.1", display.port), timeout=WAIT_S),
        subprotocols=[Subprotocol(name) for name in names],
        origin=None if origin is None else Origin(here if origin == "here" else origin),
        open_timeout=WAIT_S,
        close_timeout=1,
        proxy=None,
    ) as connection:
        yield connection


def said(connection: ClientConnection, state: str, saying: str = "") -> dict[str, Any]:
    """The first message of that state."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        message: dict[str, Any] = json.loads(connection.recv(timeout=WAIT_S))
        if message.get("state") == state and saying in message.get("message", ""):
            return message
    raise AssertionError(f"never {state}")


def press(connection: ClientConnection, command: str, **more: str) -> dict[str, Any]:
    """Ask for something as a button of the page does; returns the answer."""
    connection.send(json.dumps({"command": command, **more}))
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        message = json.loads(connection.recv(timeout=WAIT_S))
        if "answer" in message:
            answer: dict[str, Any] = message["answer"]
            return answer
    raise AssertionError("never answered")
