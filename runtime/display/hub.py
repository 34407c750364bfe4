"""One connection to the live process, shared by every open page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from calibration.errors import WardposeError
from runtime.bus import BusTimeout, Message, ResultClient
from runtime.pause import PauseSwitch
from runtime.state import GAP_S, SILENT_S, STALE_S, gap_s

_RETRY_S = 0.5
_LOOK_S = 0.25  # between two looks whether the hub is to close


class Hub:
    """Keeps the latest message and its age. It owns one thread, which reconnects for as long as the hub is open."""

    def __init__(self, socket: Path, pause: PauseSwitch) -> None:
        self._socket, self._pause = socket, pause
        self.on_change: Callable[[], None] = lambda: None  # called on the hub's thread when there is a new message
        self._changed = threading.Condition()
        self._number = 1
        self._message: Message = {"state": "gone", "message": "the live pipeline is not running", "people": []}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="display hub", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        return self._closing.is_set()

    @property
    def alive(self) -> bool:
        """Whether the listening thread still does its work."""
        return self._thread.is_alive()

    def after(self, number: int, timeout_s: float) -> tuple[int, Message]:
        """The number and message that follow `number`, or the same once more after `timeout_s`.

        `age_ms` in the message says how old its picture is now, `stale_s` how old it may be. While the site is paused
        the message says so, by whom and since when, also where no live process is there to tell.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._number > number or self.closed, timeout_s)
        return self.now()

    def now(self) -> tuple[int, Message]:
        """The newest message and its number, at once; see `after`."""
        with self._changed:
            number, message = self._number, dict(self._message)
        if (held := self._pause.state()) is not None:
            said: Message = {"state": "paused", "message": "", "people": [], "age_ms": None, "pause": held.to_dict()}
            return number, said | {"stale_s": STALE_S, "gap_s": GAP_S}
        captured = message.pop("captured_at", None)
        message.pop("finished_at", None)
        message.setdefault("stale_s", STALE_S)  # where there is no live process, how long the page may be without word
        message["gap_s"] = gap_s(message.get("fps"))
        message["age_ms"] = None if captured is None else max(0.0, round((time.monotonic() - captured) * 1e3, 1))
        return number, message

    def close(self) -> None:
        """Let every waiting page go and end the thread."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=5)

    def _listen(self) -> None:
        heard_at = time.monotonic()
        with ResultClient(self._socket) as client:
            while not self.closed:
                try:
                    self._tell(client.latest(_LOOK_S))
                    heard_at = time.monotonic()
                except BusTimeout:
                    # Loading its models may keep it from speaking; at any other time silence is a hang.
                    if self._message["state"] != "starting" and time.monotonic() - heard_at > SILENT_S:
                        self._tell(
                            {"state": "gone", "message": "the live pipeline has stopped answering", "people": []}
                        )
                except WardposeError as error:
                    self._tell({"state": "gone", "message": str(error), "people": []})
                    self._closing.wait(_RETRY_S)
                    heard_at = time.monotonic()

    def _tell(self, message: Message) -> None:
        with self._changed:
            self._message, self._number = message, self._number + 1
            self._changed.notify_all()
        self.on_change()
