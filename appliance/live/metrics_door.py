"""The loopback door where the live path's figures are asked for, opened and closed by the settings."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from calibration.errors import WardposeError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PATH = "/metrics"
_LOOPBACK = "127.0.0.1"
_HOSTS = (_LOOPBACK, "localhost")
_SILENT_S, _MOST_AT_ONCE = 5.0, 8


class MetricsDoor:
    """Answers `GET /metrics` on a port of loopback, for any user of this box. It owns one thread and one a request.

    told: makes the text, on a request's thread. Raises WardposeError where the port is taken. port: 0 for any.
    """

    def __init__(self, port: int, told: Callable[[], str]) -> None:
        places = threading.BoundedSemaphore(_MOST_AT_ONCE)

        class Answer(BaseHTTPRequestHandler):
            timeout = _SILENT_S

            def do_GET(self) -> None:
                host = self.headers.get("Host", "").rsplit(":", 1)[0]
                if self.path != PATH or host not in _HOSTS:
                    self.send_error(404)
                    return
                body = told().encode()
                self.send_response(200)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def handle(self) -> None:
                with places:
                    super().handle()

            def log_message(self, format: str, *args: object) -> None:
                """Not a line a request."""

        try:
            self._server = ThreadingHTTPServer((_LOOPBACK, port), Answer)
        except OSError as error:
            raise WardposeError(
                f"port {port} of this box is taken ({error.strerror})", where="metrics.port", mend="choose another port"
            ) from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.5}, name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class MetricsBySettings:
    """The door, where `metrics.port` of the settings says. For one thread."""

    def __init__(self, site: SiteFolder, told: Callable[[], str]) -> None:
        self._site, self._told = site, told
        self._seen_ns, self._port = -1, 0
        self._door: MetricsDoor | None = None

    def follow(self) -> None:
        """Open or close the door where the settings have changed; a port that is taken is told on standard error."""
        try:
            changed_ns = self._site.settings_file.stat().st_mtime_ns
        except OSError:
            return  # no settings were ever said
        if changed_ns == self._seen_ns:
            return
        self._seen_ns = changed_ns
        try:
            port = load_settings(self._site).metrics.port
        except WardposeError:  # a mistake in the file, which whoever made it is told: what holds goes on
            return
        if port == self._port:
            return
        self.close()
        self._port = port
        if port:
            try:
                self._door = MetricsDoor(port, self._told)
            except WardposeError as error:
                sys.stderr.write(f"{error}\n")

    def close(self) -> None:
        """Close the door, where it is open."""
        if self._door is not None:
            self._door.close()
            self._door = None
