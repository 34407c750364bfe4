"""Serving an application with uvicorn, on a thread of its own.

Whoever holds connections without asking anything takes nobody's place: of those that have not become a WebSocket, so
many are kept, each for a few seconds, and the oldest goes first.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from calibration.errors import WardposeError

_MOST_WAITING = 48
_WAIT_S = 5.0
_LONGEST_HEAD = 16 << 10
_LONGEST_MESSAGE = 4096
_ALIVE_S = 5.0  # between two questions whether a watcher is still there, and for its answer


class Server:
    """Runs until `close`. It owns one thread with an event loop."""

    def __init__(
        self, application: Callable[..., Any], listener: socket.socket, on_loop: Callable[[Any], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        """listener: bound already. on_loop: given the event loop before anything is served. tls: nothing but TLS by
        this context is spoken; None: nothing but plain HTTP."""
        self._listener, self._on_loop = listener, on_loop
        only = None if tls is None else lambda *_: tls
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                application, http=_bounded(), ws="websockets-sansio", lifespan="off", interface="asgi3", loop="asyncio",
                log_config=None, log_level="critical", access_log=False, server_header=False, date_header=False,
                proxy_headers=False, h11_max_incomplete_event_size=_LONGEST_HEAD, timeout_keep_alive=int(_WAIT_S),
                timeout_graceful_shutdown=1, ws_max_size=_LONGEST_MESSAGE, ws_ping_interval=_ALIVE_S,
                ws_ping_timeout=_ALIVE_S, ws_per_message_deflate=False, ssl_context_factory=only,
            )
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="display", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Hang up on everybody and stop."""
        self._uvicorn.should_exit = True
        self._thread.join(timeout=5)
        self._listener.close()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._on_loop(asyncio.get_running_loop())
        await self._uvicorn.serve(sockets=[self._listener])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there, by IPv4; port 0 picks a free one. Raises WardposeError for one that is taken, and
    for an address that is not this box's."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise WardposeError(
            f"can't serve on port {port} ({error.strerror or error})", where=host, mend="choose another port"
        ) from error
    return listener


def _bounded() -> type[H11Protocol]:
    """A protocol class that counts the connections of one server."""
    waiting: dict[Any, None] = {}  # in the order they came

    class Bounded(H11Protocol):
        """A connection over which nothing but HTTP has gone so far."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            waiting[self] = None
            self._patience = self.loop.call_later(_WAIT_S, self._give_up)
            if len(waiting) > _MOST_WAITING:
                next(iter(waiting))._give_up()

        def connection_lost(self, exc: Exception | None) -> None:
            self._leave()
            super().connection_lost(exc)

        def handle_websocket_upgrade(self, event: Any) -> None:
            self._leave()
            super().handle_websocket_upgrade(event)

        def _leave(self) -> None:
            waiting.pop(self, None)
            self._patience.cancel()

        def _give_up(self) -> None:
            self._leave()
            self.transport.abort()

    return Bounded
