"""The bedside page: loopback only, nothing fetched from elsewhere, nothing but skeletons, and for nobody but the user
who can read its key.

    python -m runtime.display.service --socket PATH --port 8765
"""

from __future__ import annotations

import argparse
import ipaddress
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError
from calibration.memory import keep_out_of_dumps
from runtime.display import page_key
from runtime.display.app import AtThisAddress, Page
from runtime.display.bed_source import CalibratedBed
from runtime.display.hub import Hub
from runtime.display.page_server import PageServer
from runtime.display.pausing import PagePause
from runtime.display.pins import Pins
from runtime.display.server import listen
from runtime.notify import notify, starting
from runtime.pause import PauseSwitch

_BEAT_S = 0.5


class DisplayServer(PageServer):
    """Serves the bedside page of one live process.

    socket: the live process's. pause: the site's; a live process that hangs can't keep it from holding. key_file:
    where the page's key is, or is made (see `page_key`). service: the socket of the site's service, which is asked
    for a pause first, and pins its people's (see `PagePause`). calibration: of the camera whose picture is live; it may
    be replaced at any time (see `CalibratedBed`).
    host: a loopback address. port: 0 picks a free one; see `port`. Raises WardposeError for an address that others
    could reach, for a port that is taken and for a key that can't be read.
    """

    def __init__(
        self, socket: Path, pause: PauseSwitch, key_file: Path, *, service: Path | None = None,
        pins: Pins | None = None, calibration: Path | None = None, tongue: str = "en", host: str = "127.0.0.1",
        port: int = 8765,
    ) -> None:  # fmt: skip
        if host != "localhost" and not _is_loopback(host):
            raise WardposeError(
                f"the display serves this box only, {host} could be reached from elsewhere",
                where="--host",
                mend="use 127.0.0.1",
            )
        self.key = page_key.page_key(key_file)
        bed_of = CalibratedBed(calibration)
        listener = listen(host, port)
        self.opener = key_file.with_suffix(".html")
        port = int(listener.getsockname()[1])
        hub = Hub(socket, pause)
        try:
            page_key.write_opener(self.opener, port, self.key)
            page = Page(hub, PagePause(pause, service, pins), self.key, bed_of, tongue)
        except WardposeError:
            hub.close()
            listener.close()
            raise
        here = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        super().__init__(page, AtThisAddress(page.application, here), listener)

    @property
    def url(self) -> str:
        """The page's address, without the key that opens it."""
        return f"http://127.0.0.1:{self.port}/"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m runtime.display.service", description=__doc__.splitlines()[0])
    parser.add_argument("--socket", required=True, type=Path, help="the live process's socket")
    parser.add_argument("--pause-file", type=Path, metavar="PATH", help="the site's pause (default: beside the socket)")
    parser.add_argument("--key-file", type=Path, metavar="PATH", help="the page's key (default: beside the socket)")
    parser.add_argument("--service", type=Path, metavar="PATH", help="the socket of the site's service")
    parser.add_argument("--pins-file", type=Path, metavar="PATH", help="PINs of those who may resume at the page")
    parser.add_argument(
        "--calibration", type=Path, metavar="PATH", help="of the camera whose picture is live; may come and change"
    )
    parser.add_argument("--language", default="en", help="of the page (default en)")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8765, help="default 8765; 0 picks a free one")
    options: Any = parser.parse_args(arguments)
    keep_out_of_dumps()
    ending = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: ending.set())
    pause = PauseSwitch(options.pause_file or options.socket.with_name(f"{options.socket.name}.paused"))
    starting()
    try:
        with DisplayServer(
            options.socket, pause, options.key_file or options.socket.with_name("page.key"), service=options.service,
            pins=Pins(options.pins_file) if options.pins_file else None,
            calibration=options.calibration, tongue=options.language, host=options.host, port=options.port,
        ) as server:  # fmt: skip
            sys.stderr.write(f"display: {server.url}\n")
            notify("READY=1", f"STATUS={server.url}")
            while not ending.wait(_BEAT_S):
                if server.alive:
                    notify("WATCHDOG=1")
            notify("STOPPING=1")
    except WardposeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
