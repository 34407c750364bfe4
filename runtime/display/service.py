"""The page's server: loopback only, nothing fetched from elsewhere, nothing but skeletons.

    python -m runtime.display.service --socket PATH --port 8765

A request must name this host in its `Host` header, so that a foreign page can't reach the box by giving its own name
this address; a command must besides carry a header that no foreign page can send without asking first.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from calibration.errors import WardposeError
from calibration.memory import keep_out_of_dumps
from runtime.display.hub import Hub
from runtime.display.pausing import PagePause
from runtime.notify import notify
from runtime.pause import PauseSwitch

_PAGE = Path(__file__).with_name("page")
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Pages that may watch at once: each holds a thread.
_MOST_WATCHERS = 16
_EVENT_WAIT_S = 0.25


class DisplayServer:
    """Serves the page for one live process. It owns its threads; `close` ends them.

    pause: the site's; a live process that hangs can't keep it from holding. service: the socket of the site's service,
    which is asked for a pause first (see `PagePause`).

    host: a loopback address. port: 0 picks a free one; see `port`. Raises WardposeError for an address that others
    could reach and for a port that is taken.
    """

    def __init__(
        self, socket: Path, pause: PauseSwitch, *, service: Path | None = None, host: str = "127.0.0.1",
        port: int = 8765,
    ) -> None:  # fmt: skip
        if host != "localhost" and not _is_loopback(host):
            raise WardposeError(
                f"the display serves this box only, {host} could be reached from elsewhere",
                where="--host",
                mend="use 127.0.0.1",
            )
        self.hub = Hub(socket, pause)
        watchers = threading.BoundedSemaphore(_MOST_WATCHERS)
        try:
            self._http = _Http((host, port), partial(_Handler, self.hub, PagePause(pause, service), watchers))
        except OSError as error:
            self.hub.close()
            raise WardposeError(
                f"can't serve on port {port} ({error.strerror or error})", where=host, mend="choose another --port"
            ) from error
        self.port = int(self._http.server_address[1])
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), name="display", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def close(self) -> None:
        """Hang up on every page and stop."""
        self.hub.close()
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes its window is no error; anything else is told in one line."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            sys.stderr.write(f"display: {type(error).__name__}: {error}\n")


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "wardpose", ""
    timeout = 30

    def __init__(self, hub: Hub, pause: PagePause, watchers: threading.BoundedSemaphore, *arguments: Any) -> None:
        self._hub, self._pause, self._watchers = hub, pause, watchers
        super().__init__(*arguments)

    def do_GET(self) -> None:
        if not self._addressed_here():
            return
        if self.path == "/events":
            self._events()
        elif self.path in _FILES:
            name, kind = _FILES[self.path]
            self._reply(HTTPStatus.OK, (_PAGE / name).read_bytes(), kind)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "no such page")

    def do_POST(self) -> None:
        if not self._addressed_here():
            return
        command = self.path.removeprefix("/")
        if command not in ("pause", "resume"):
            self._refuse(HTTPStatus.NOT_FOUND, "no such command")
        elif self.headers.get("X-Wardpose") != "page":
            self._refuse(HTTPStatus.FORBIDDEN, "commands come from the page itself")
        else:
            try:
                if command == "pause":
                    self._pause.set()
                else:
                    self._pause.lift()
            except WardposeError as error:
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
                return
            self._reply(
                HTTPStatus.OK, json.dumps({"ok": True, "paused": self._pause.active}).encode(), "application/json"
            )

    def _addressed_here(self) -> bool:
        port = self.server.server_address[1]  # type: ignore[index]
        here = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in here and (origin is None or origin.removeprefix("http://") in here):
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "this page is served to this box only")
        return False

    def _events(self) -> None:
        if not self._watchers.acquire(blocking=False):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many pages are open")
            return
        try:
            self._headers(HTTPStatus.OK, "text/event-stream; charset=utf-8")
            self.end_headers()
            number = 0
            while not self._hub.closed:
                number, message = self._hub.after(number, _EVENT_WAIT_S)
                self.wfile.write(b"data: " + json.dumps(message).encode() + b"\n\n")
        finally:
            self._watchers.release()

    def _reply(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self._headers(status, kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._reply(status, f"{why}\n".encode(), "text/plain; charset=utf-8")

    def _headers(self, status: HTTPStatus, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store")

    def log_message(self, format: str, *args: object) -> None:
        """Who looked when is not written down here: the audit is the appliance's."""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m runtime.display.service", description=__doc__.splitlines()[0])
    parser.add_argument("--socket", required=True, type=Path, help="the live process's socket")
    parser.add_argument("--pause-file", type=Path, metavar="PATH", help="the site's pause (default: beside the socket)")
    parser.add_argument("--service", type=Path, metavar="PATH", help="the socket of the site's service")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8765, help="default 8765; 0 picks a free one")
    options: Any = parser.parse_args(arguments)
    keep_out_of_dumps()
    ending = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: ending.set())
    pause = PauseSwitch(options.pause_file or options.socket.with_name(f"{options.socket.name}.paused"))
    try:
        with DisplayServer(
            options.socket, pause, service=options.service, host=options.host, port=options.port
        ) as server:
            sys.stderr.write(f"display: {server.url}\n")
            notify("READY=1", f"STATUS={server.url}")
            while not ending.wait(2.0):
                if server.hub.alive:
                    notify("WATCHDOG=1")
            notify("STOPPING=1")
    except WardposeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
