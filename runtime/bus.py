"""Results and commands between processes: lines of JSON over a Unix socket that only this user may open.

The server holds one message, the latest. A client that reads slowly misses messages; it never makes the publisher
wait. A client may send commands and gets one answer for each: {"command": "pause"} → {"answer": {...}}. What one client
can make the server do or keep is bounded, and whoever comes finds a place: it is taken from one that does not read what
it is sent, else from the one that came last, which is told: {"refused": "…"}.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from calibration.errors import WardposeError
from calibration.json_text import parse_json

Message = dict[str, Any]

_MODE = 0o600
_LONGEST_COMMAND = 64 * 1024
_LONGEST_MESSAGE = 4 * 1024 * 1024
_MOST_ANSWERS = 64 * 1024  # bytes that wait to be read; until then no further command is
_COMMANDS_A_TURN = 32  # of one client, before the others have theirs
_MOST_CLIENTS = 32
_UNREAD = 16 * 1024  # bytes that the kernel keeps for a client: who doesn't read shows by it within seconds
_TOO_MANY = "too many programs are connected"
_LONGEST_PATH = 107  # sun_path of Linux, less its terminating nought


class BusTimeout(WardposeError):
    """Nothing arrived in time."""


class _Client:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = bytearray()
        self.scanned = 0  # bytes of `received` known to hold no end of a line
        self.answers = bytearray()  # never dropped
        self.leaving = memoryview(b"")  # what is left of the lines being sent
        self.sent_number = 0
        self.blocked_since: float | None = None  # that it took nothing of what is leaving
        self.ending = False  # it is sent its answers and then left

    @property
    def hears(self) -> bool:
        """Whether further commands of it are carried out now."""
        return len(self.answers) < _MOST_ANSWERS and not self.ending

    @property
    def has_more(self) -> bool:
        """Whether there may be a command in what was received."""
        return self.hears and self.scanned < len(self.received)

    @property
    def events(self) -> int:
        """What to wait for."""
        return (selectors.EVENT_READ if self.hears else 0) | (selectors.EVENT_WRITE if self.leaving else 0)

    def next_line(self) -> bytes | None:
        """A whole line of what was received, taken out of it."""
        end = self.received.find(b"\n", self.scanned)
        if end < 0:
            self.scanned = len(self.received)
            return None
        line = bytes(self.received[:end])
        del self.received[: end + 1]
        self.scanned = 0
        return line


class ResultServer:
    """Publishes results to any number of clients. It owns one thread; `publish` never blocks.

    on_command: called on the server's thread with each command; what it returns is the answer. Raises WardposeError
    when another server already listens at `path` or the path can't be used.
    """

    def __init__(self, path: Path, on_command: Callable[[Message], Message] | None = None) -> None:
        self.path = path
        self._on_command = on_command
        self._listener = _listen(path)
        self._inode = os.stat(path).st_ino
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self._lock = threading.Lock()
        self._line, self._number = b"", 0
        self._stopping = False
        self._clients: dict[socket.socket, _Client] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name=f"bus {path.name}", daemon=True)
        self._thread.start()

    def publish(self, message: Message) -> None:
        """Make this the latest message; every client gets it unless a later one comes first."""
        line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        with self._lock:
            self._line, self._number = line, self._number + 1
        # A full pipe means that a wake-up is already on its way.
        with contextlib.suppress(BlockingIOError):
            self._wake.send(b"w")

    def close(self) -> None:
        """Stop serving and remove the socket (unless another server has taken the path meanwhile)."""
        if self._stopping:
            return
        self._stopping = True
        with contextlib.suppress(BlockingIOError):
            self._wake.send(b"q")
        self._thread.join(timeout=5)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self.path).st_ino == self._inode:
                self.path.unlink()
        for one in (self._listener, self._wake, self._woken, *self._clients):
            one.close()
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        while not self._stopping:
            at_once = any(client.has_more for client in self._clients.values())
            comes = False
            for key, events in self._selector.select(0 if at_once else None):
                if key.fileobj is self._listener:
                    comes = True
                elif key.fileobj is self._woken:
                    self._woken.recv(4096)
                elif events & selectors.EVENT_READ:
                    self._attend(key.data, self._receive)
            for client in list(self._clients.values()):
                self._attend(client, self._serve_one)
            if comes:  # last, so that whoever has to leave has been served
                self._accept()

    def _attend(self, client: _Client, act: Callable[[_Client], None]) -> None:
        """Do it for a client, who may have left at any moment."""
        if client.connection not in self._clients:
            return
        try:
            act(client)
        except OSError:
            self._drop(client)

    def _serve_one(self, client: _Client) -> None:
        self._carry_out(client)
        self._send(client)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has left already, or there is no descriptor for it now
            return
        if len(self._clients) >= _MOST_CLIENTS:
            self._make_room()
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD)
        client = _Client(connection)
        self._clients[connection] = client
        self._selector.register(connection, selectors.EVENT_READ, client)
        self._attend(client, self._send)  # the latest message, which may be the last for long

    def _make_room(self) -> None:
        clients = list(self._clients.values())
        blocked = [client for client in clients if client.blocked_since is not None]
        leaves = min(blocked, key=lambda client: client.blocked_since or 0.0) if blocked else clients[-1]
        if not leaves.leaving:  # between two lines
            with contextlib.suppress(OSError):
                leaves.connection.send(json.dumps({"refused": _TOO_MANY}).encode() + b"\n")
        self._drop(leaves)

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.connection, None) is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(client.connection)
            client.connection.close()

    def _receive(self, client: _Client) -> None:
        data = client.connection.recv(65536)
        if not data:
            raise ConnectionError("the client left")
        client.received += data

    def _carry_out(self, client: _Client) -> None:
        """Answer what has been received, at most so many commands at once."""
        for _ in range(_COMMANDS_A_TURN):
            if not client.hears:
                return
            line = client.next_line()
            if line is None:
                break
            answer = self._answer(line)
            if answer is None:
                client.ending = True
                answer = {"ok": False, "error": 'a command is one line of JSON such as {"command": "pause"}'}
            client.answers += json.dumps({"answer": answer}).encode() + b"\n"
        if client.scanned > _LONGEST_COMMAND:
            raise ConnectionError("a command without an end")

    def _answer(self, line: bytes) -> Message | None:
        """None for what is no command."""
        try:
            command = parse_json(line)
        except ValueError:
            return None
        if not isinstance(command, dict) or self._on_command is None:
            return None
        try:
            return self._on_command(command)
        except Exception as error:  # a defect in carrying out one command must not end the carrying out of all
            sys.stderr.write(f"{self.path.name}: a command failed: {type(error).__name__}: {error}\n")
            return {"ok": False, "error": f"a defect in wardpose: {type(error).__name__}"}

    def _send(self, client: _Client) -> None:
        """Send what fits: answers first, then the latest message, line by whole line."""
        while True:
            if not client.leaving:
                with self._lock:
                    line, number = self._line, self._number
                if client.answers:
                    client.leaving, client.answers = memoryview(bytes(client.answers)), bytearray()
                elif client.ending:
                    raise ConnectionError("it sent no command")
                elif client.sent_number < number:
                    client.leaving, client.sent_number = memoryview(line), number
                else:
                    break
            try:
                client.leaving = client.leaving[client.connection.send(client.leaving) :]
                client.blocked_since = None
            except BlockingIOError:
                client.blocked_since = client.blocked_since or time.monotonic()
                break
        self._watch(client)

    def _watch(self, client: _Client) -> None:
        watched = client.connection in self._selector.get_map()
        if not client.events:
            if watched:
                self._selector.unregister(client.connection)
        elif not watched:
            self._selector.register(client.connection, client.events, client)
        elif self._selector.get_key(client.connection).events != client.events:
            self._selector.modify(client.connection, client.events, client)


class ResultClient:
    """One connection to a `ResultServer`; belongs to one thread.

    It connects when first used and again after the server was restarted. Raises BusTimeout when nothing arrives in
    time, WardposeError when nobody serves at `path`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: socket.socket | None = None
        self._received = b""

    def latest(self, timeout_s: float = 1.0) -> Message:
        """The newest message not handed out yet; waits at most `timeout_s` for one."""
        return self._await("message", timeout_s)

    def command(self, name: str, timeout_s: float = 2.0, **arguments: Any) -> Message:
        """Send a command and return its answer. Raises WardposeError when the server refuses it."""
        self._connect()
        assert self._connection is not None
        try:
            self._connection.sendall(json.dumps({"command": name, **arguments}).encode() + b"\n")
        except OSError as error:
            self.close()
            raise self._gone() from error
        answer: Message = self._await("answer", timeout_s)["answer"]
        if not answer.get("ok", False):
            raise WardposeError(str(answer.get("error", "the command failed")), where=name)
        return answer

    def close(self) -> None:
        """Hang up. Does nothing if never connected."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._received = None, b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _await(self, wanted: str, timeout_s: float) -> Message:
        until = time.monotonic() + timeout_s
        self._connect()
        assert self._connection is not None
        newest: Message | None = None
        while True:
            # With a message in hand only take what is already there.
            left = until - time.monotonic()
            self._connection.settimeout(1e-4 if newest is not None else max(left, 1e-4))
            try:
                data = self._connection.recv(1 << 20)
            except TimeoutError:
                if newest is not None:
                    return newest
                raise BusTimeout(f"no {wanted} within {timeout_s:g} s", where=str(self.path)) from None
            except OSError as error:
                self.close()
                raise self._gone() from error
            if not data:
                self.close()
                if newest is not None:
                    return newest
                raise self._gone()
            self._received += data
            *lines, self._received = self._received.split(b"\n")
            if len(self._received) > _LONGEST_MESSAGE:
                self.close()
                raise WardposeError("a message without an end", where=str(self.path))
            for line in lines:
                message = parse_json(line)
                if "refused" in message:
                    self.close()
                    raise WardposeError(str(message["refused"]), where=str(self.path), mend="close some of them")
                if ("answer" in message) == (wanted == "answer"):
                    newest = message
            if newest is not None and (wanted == "answer" or time.monotonic() >= until):
                return newest

    def _connect(self) -> None:
        if self._connection is not None:
            return
        _require_short(self.path)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self.path))
        except OSError as error:
            connection.close()
            raise self._gone() from error
        self._connection = connection

    def _gone(self) -> WardposeError:
        return WardposeError("the live pipeline is not running", where=str(self.path), mend="start it: `wardpose run`")


def _require_short(path: Path) -> None:
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise WardposeError(
            f"a socket's path may have {_LONGEST_PATH} bytes", where=str(path), mend="use a shorter site folder"
        )


def _listen(path: Path) -> socket.socket:
    _require_short(path)
    if path.is_socket():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                # Left behind by a server that was killed.
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
            else:
                raise WardposeError("another live pipeline already serves here", where=str(path), mend="stop it first")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        listener.bind(str(path))
        # Nobody can connect between these two lines: the socket doesn't listen yet.
        os.chmod(path, _MODE)
        listener.listen()
    except OSError as error:
        listener.close()
        raise WardposeError(
            f"can't open the socket ({error.strerror or error})", where=str(path), mend="choose another place"
        ) from error
    listener.setblocking(False)
    return listener
