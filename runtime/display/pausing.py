"""The page's pause: asked of the site's service where one answers at once, set and lifted by the page itself elsewhere.

Asked, it has its row in the audit trail before the page says that it holds; done without, it waits in the journal
beside the pause for whoever keeps the trail. A service that hangs can't keep a pause from holding. Where people have
PINs, whoever resumes says theirs; nobody needs one to pause.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Final

from calibration.errors import WardposeError
from calibration.json_text import parse_json
from runtime.display.pins import Pins
from runtime.pause import PauseSwitch

AT_THE_PAGE = "at the bedside page"
AT_THE_STATION = "at the ward's station"
WHO = f"somebody {AT_THE_PAGE}"
WHO_AT_THE_STATION: Final = "somebody at the ward's station"
PRESSED = "pressed at the page"
NOT_ALLOWED = 77  # sysexits.h: EX_NOPERM; the service's word for who may not
_AT_ONCE_S = 1.0
_BY_PIN_S = 10.0  # there is no other way, and a PIN is slow to check
_LONGEST_ANSWER = 100_000


class PagePause:
    """Pauses the site and lifts the pause for the page. service: the socket of the site's service, if it has one;
    pins: of those who may resume at the page, if any have one."""

    def __init__(self, switch: PauseSwitch, service: Path | None = None, pins: Pins | None = None) -> None:
        self._switch, self._service, self._pins = switch, service, pins

    @property
    def active(self) -> bool:
        return self._switch.active

    @property
    def asks_pin(self) -> bool:
        """Whether resuming needs a PIN."""
        return self._pins is not None and self._pins.any

    def set(self) -> None:
        """Pause; raises `WardposeError` where no pause can be had by either way."""
        if not (self._asked("live.pause", _AT_ONCE_S, reason="") and self._switch.active):
            self._switch.set(WHO)

    def lift(self, pin: str = "") -> None:
        """End the pause that holds; raises `WardposeError` where it can't be lifted, or not with this PIN."""
        within_s = _BY_PIN_S if self.asks_pin else _AT_ONCE_S
        if self._asked("live.resume", within_s, reason=PRESSED, pin=pin):
            return
        if self.asks_pin:  # who is whose PIN is written down, and guesses are counted, by the service alone
            raise WardposeError("the box's service does not answer", mend="type `wardpose resume`")
        self._switch.lift(WHO, PRESSED)

    def _asked(self, call: str, within_s: float, **parameters: str) -> bool:
        """Whether the service has done it; raises `WardposeError` where it says that this person may not."""
        if self._service is None:
            return False
        request = {"call": call, "parameters": {"place": WHO} | parameters}
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(within_s)
                connection.connect(str(self._service))
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile("rb") as answers:
                    answer = parse_json(answers.readline(_LONGEST_ANSWER))
            if not isinstance(answer, dict):
                return False
            error = answer.get("error")
            if isinstance(error, dict) and error.get("exit_code") == NOT_ALLOWED:
                raise WardposeError(str(error.get("what")), mend=str(error.get("mend")), exit_code=NOT_ALLOWED)
        except (OSError, ValueError):
            return False
        return answer.get("ok") is True
