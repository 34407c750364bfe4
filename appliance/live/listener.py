"""Following what a process of the live path publishes, on a thread of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError

_TRY_AGAIN_S = 0.3


class Listener:
    """Hands each message of the bus at `path` to `note`, on this listener's thread; waits for whoever serves there."""

    def __init__(self, path: Path, note: Callable[[dict[str, Any]], None]) -> None:
        self._path, self._note = path, note
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"listener {path.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=3)

    def _listen(self) -> None:
        from runtime.bus import BusTimeout, ResultClient

        with ResultClient(self._path) as client:
            while not self._stop.is_set():
                try:
                    message = client.latest(timeout_s=0.5)
                except BusTimeout:
                    continue
                except WardposeError:
                    self._stop.wait(_TRY_AGAIN_S)  # nobody serves yet, or not at present
                    continue
                try:
                    self._note(message)
                except WardposeError as error:  # such as a full disk: the next message is heard all the same
                    sys.stderr.write(f"{error}\n")
