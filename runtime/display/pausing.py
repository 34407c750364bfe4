"""The page's pause: asked of the site's service where one answers at once, set and lifted by the page itself elsewhere.

Asked, it has its row in the audit trail before the page says that it holds; done without, it waits in the journal
beside the pause for whoever keeps the trail. A service that hangs can't keep a pause from holding.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from calibration.json_text import parse_json
from runtime.pause import PauseSwitch

WHO = "somebody at the bedside page"
PRESSED = "pressed at the page"
_AT_ONCE_S = 1.0
_LONGEST_ANSWER = 100_000


class PagePause:
    """Pauses the site and lifts the pause for the page. service: the socket of the site's service, if it has one."""

    def __init__(self, switch: PauseSwitch, service: Path | None = None) -> None:
        self._switch, self._service = switch, service

    @property
    def active(self) -> bool:
        return self._switch.active

    def set(self) -> None:
        """Pause; raises `WardposeError` where no pause can be had by either way."""
        if not (self._asked("live.pause", "") and self._switch.active):
            self._switch.set(WHO)

    def lift(self) -> None:
        """End the pause that holds; raises `WardposeError` where it can't be lifted."""
        if not self._asked("live.resume", PRESSED):
            self._switch.lift(WHO, PRESSED)

    def _asked(self, call: str, reason: str) -> bool:
        """Whether the service has done it."""
        if self._service is None:
            return False
        request = {"call": call, "parameters": {"place": WHO, "reason": reason}}
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_AT_ONCE_S)
                connection.connect(str(self._service))
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile("rb") as answers:
                    answer = parse_json(answers.readline(_LONGEST_ANSWER))
        except (OSError, ValueError):
            return False
        return isinstance(answer, dict) and answer.get("ok") is True
