"""What the two servers have in common: one page of one live process, whoever may look at it and from where."""

from __future__ import annotations

import socket
import ssl
from types import TracebackType
from typing import Self

from runtime.display.app import AtThisAddress, Watched
from runtime.display.server import Server


class PageServer:
    """Serves a page. It owns the threads of the page's hub and of the server; `close` ends them."""

    def __init__(
        self, page: Watched, application: AtThisAddress, listener: socket.socket, tls: ssl.SSLContext | None = None
    ) -> None:
        """application: the page's, behind what decides from where it may be asked. listener, tls: see `Server`."""
        self.hub, self._page = page.hub, page
        self.port = int(listener.getsockname()[1])
        self.hub.on_change = page.changed
        self._server = Server(application, listener, page.here, tls)

    @property
    def watching(self) -> int:
        """How many pages watch now."""
        return self._page.watching

    @property
    def alive(self) -> bool:
        """Whether its threads still do their work."""
        return self.hub.alive and self._server.alive

    def close(self) -> None:
        """Hang up on every page, let the page put down what it has to, and stop."""
        self.hub.close()
        self._server.close()
        self._page.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
