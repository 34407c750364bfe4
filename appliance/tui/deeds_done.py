"""What this terminal asked the service to do, and how the last of it is undone."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from calibration.errors import WardposeError
from calibration.redaction import redacted

_REMEMBERED = 200


@dataclass(frozen=True, slots=True)
class Deed:
    """One call of the service. at: this box's own time; ended: how, in words."""

    at: str
    name: str
    told: str
    ended: str


@dataclass(frozen=True, slots=True)
class Undoing:
    """The call that undoes something. what: what is undone, in words."""

    what: str
    name: str
    parameters: Mapping[str, Any]


class DeedsDone:
    """Written by the threads of the pages, read by the screen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deeds: deque[Deed] = deque(maxlen=_REMEMBERED)
        self._undoings: list[Undoing] = []

    @contextmanager
    def noting(self, name: str, parameters: Mapping[str, Any]) -> Iterator[None]:
        """Note the call that is made within, and how it ended."""
        at, ended = time.strftime("%H:%M:%S"), "done"
        try:
            yield
        except WardposeError as error:
            ended = f"refused: {error}"
            raise
        finally:
            shown = {key: value for key, value in parameters.items() if value is not None and key != "estimate"}
            told = redacted(json.dumps(shown, ensure_ascii=False, default=str)) if shown else ""
            with self._lock:
                self._deeds.append(Deed(at, name, told, redacted(ended)))

    def newest_first(self) -> list[Deed]:
        with self._lock:
            return list(self._deeds)[::-1]

    def can_undo(self, what: str, name: str, parameters: Mapping[str, Any]) -> None:
        with self._lock:
            self._undoings.append(Undoing(what, name, parameters))

    def take_undoing(self) -> Undoing | None:
        """What undoes the newest deed that can be undone, once; None where there is none."""
        with self._lock:
            return self._undoings.pop() if self._undoings else None
