"""The service's socket: lines of JSON from any number of clients, each with a thread, none of which can crowd it out.

What one client can make it keep is bounded: a line, a place, and the time that an answer waits to be read. Whoever
comes finds a place: when all are taken, the client that has been silent for longest loses its own, and connects again
when it wants something.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.site.people import acting_as, person_at

LONGEST_REQUEST = 1_000_000  # bytes
MOST_CLIENTS = 48
MOST_MISTAKES = 20  # in a row, after which a client is left: it speaks another language
UNREAD_SECONDS = 5  # how long an answer waits for its client to read
UNREAD_BYTES = 16 << 10  # of answers that the kernel keeps for a client: one that does not read is not worked for


class Doorway(socketserver.ThreadingUnixStreamServer):
    """answer: what one line is answered. It is called on the thread of the line's client, as that person."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, answer: Callable[[bytes], dict[str, Any]]) -> None:
        self.answer = answer
        self._lock = threading.Lock()
        self._heard: dict[socket.socket, float] = {}
        super().__init__(str(path), _Client, bind_and_activate=False)
        self.server_bind()
        os.chmod(path, 0o600)  # nobody can connect before it listens
        self.server_activate()

    @property
    def clients(self) -> int:
        """How many are connected."""
        with self._lock:
            return len(self._heard)

    def took_place(self, connection: socket.socket) -> None:
        """The client is there; where the places are taken, the one that has been silent for longest is not any more."""
        with self._lock:
            self._heard[connection] = time.monotonic()
            if len(self._heard) > MOST_CLIENTS:
                silent = min(self._heard, key=self._heard.__getitem__)
                del self._heard[silent]
                _shut(silent)

    def heard(self, connection: socket.socket) -> bool:
        """Note that the client said something; whether it still has its place."""
        with self._lock:
            known = connection in self._heard
            if known:
                self._heard[connection] = time.monotonic()
            return known

    def left(self, connection: socket.socket) -> None:
        with self._lock:
            self._heard.pop(connection, None)


class _Client(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        door = self.server
        assert isinstance(door, Doorway)
        connection: socket.socket = self.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", UNREAD_SECONDS, 0))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
        door.took_place(connection)
        mistakes = 0
        try:
            with acting_as(person_at(connection)):
                while (line := self.rfile.readline(LONGEST_REQUEST)) and door.heard(connection):
                    answer = door.answer(line)
                    self.wfile.write(json.dumps(answer).encode() + b"\n")
                    mistakes = 0 if answer.get("ok") else mistakes + 1
                    if not line.endswith(b"\n") or mistakes == MOST_MISTAKES:
                        return  # what follows a line without an end is no request either
        except OSError:
            return  # the client has gone, or does not read
        finally:
            door.left(connection)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it had gone already
