"""The page as the ward's station sees it over the network: by a PIN, nothing to press, and each look noted.

Whoever opens it is asked for a PIN over the WebSocket before anything is told. With the answer comes a token, by which
the same tab comes back after its connection broke; it lives in memory, as long as the look does.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from calibration.errors import WardposeError
from runtime.display.app import ENDED, BedOf, Watched, Watcher, command_of
from runtime.display.hub import Hub
from runtime.display.limits import Places
from runtime.display.pausing import NOT_ALLOWED
from runtime.display.words import language

MOST = {"asking": 16, "station": 8}
_ASKING_S = 120.0  # in which a PIN is to be typed
_AWAY_S = 30.0  # after which whoever has gone has left
_LOOK_S = 2.0  # between two looks whether somebody may still look
_READ_ONLY = {"ok": False, "what": "the ward's station looks only; pause and resume at the bed"}


class Entrance(Protocol):
    """Who may look, and what is written down of it; called on threads of their own."""

    def enter(self, pin: str, address: str) -> str:
        """Whose PIN that is, for whom it is noted that they look now. Raises `WardposeError` for nobody's, and where
        it could not be noted."""

    def leave(self, who: str, address: str, seconds: float) -> None:
        """Note that they look no longer."""

    def may_stay(self, who: str) -> bool:
        """Whether they may still look."""


@dataclass(slots=True)
class _Look:
    """One person's look, from their PIN to their leaving."""

    who: str
    address: str
    began: float
    watching: int = 0
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))


class StationPage(Watched):
    """Whoever has a PIN sees; nobody changes anything."""

    def __init__(
        self, hub: Hub, entrance: Entrance, bed_of: BedOf, *, tongue: str = "en", bed: str = "", hours: float = 8.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """bed: what the page calls it. hours: after which a PIN is asked for again. clock: in seconds."""
        super().__init__(
            hub, bed_of, language(tongue) | {"station": True}, Places(MOST, makes_way=frozenset({"asking"}))
        )
        self._bed = bed
        self._entrance, self._most_s, self._clock = entrance, 3600 * hours, clock
        self._looks: dict[str, _Look] = {}
        self._of: dict[Watcher, _Look] = {}

    def close(self) -> None:
        """Note of everybody who still looks that they look no longer; the server has ended."""
        for look in list(self._looks.values()):
            self._end(look)

    def _may_come(self, offered: Mapping[str, str]) -> bool:
        return True

    def _next_place(self, watcher: Watcher) -> str:
        if watcher.gone:
            self._of.pop(watcher, None)
            return ""
        if watcher not in self._of and (look := self._looks.get(watcher.offered.get("look", ""))) is not None:
            self._of[watcher] = look
        return "station" if watcher in self._of else "asking"

    async def _stay(self, watcher: Watcher, kind: str) -> int | None:
        if kind == "asking":
            return await self._until_first(watcher, self._asks(watcher), _after(_ASKING_S))
        look = self._of.pop(watcher)
        look.watching += 1
        try:
            return await self._until_first(watcher, self._show(watcher), self._may_no_longer(look))
        finally:
            look.watching -= 1
            asyncio.get_running_loop().call_later(_AWAY_S, self._gone, look)

    def _besides(self, said: Mapping[str, Any]) -> dict[str, Any]:
        return {"called": self._bed}

    async def _asks(self, watcher: Watcher) -> int | None:
        await watcher.say({"asks": "pin"})
        while (line := await watcher.line()) is not None:
            command, pin = command_of(line)
            if command != "enter":
                await watcher.say({"answer": _READ_ONLY})
            elif not watcher.allowance.take():
                await watcher.say({"answer": {"ok": False, "what": "too often; wait a moment"}})
            elif (answer := await self._enter(watcher, pin)) is not None:
                await watcher.say({"answer": answer})
                if answer["ok"]:
                    return None
        return None

    async def _enter(self, watcher: Watcher, pin: str) -> dict[str, Any]:
        try:
            who = await asyncio.to_thread(self._entrance.enter, pin, watcher.address)
        except WardposeError as error:
            return {"ok": False, "what": error.what, "mend": error.mend, "refused": error.exit_code == NOT_ALLOWED}
        look = self._of[watcher] = _Look(who, watcher.address, self._clock())
        self._looks[look.token] = look
        return {"ok": True, "name": who, "look": look.token}

    async def _may_no_longer(self, look: _Look) -> int:
        """Ends when the person may not look any more."""
        while self._clock() - look.began < self._most_s and await asyncio.to_thread(self._entrance.may_stay, look.who):
            await asyncio.sleep(_LOOK_S)
        self._looks.pop(look.token, None)
        await asyncio.to_thread(self._entrance.leave, look.who, look.address, self._clock() - look.began)
        return ENDED

    def _gone(self, look: _Look) -> None:
        if not look.watching and look.token in self._looks:
            asyncio.get_running_loop().run_in_executor(None, self._end, look)

    def _end(self, look: _Look) -> None:
        if self._looks.pop(look.token, None) is not None:
            self._entrance.leave(look.who, look.address, self._clock() - look.began)

    async def _answer(self, watcher: Watcher, line: str) -> dict[str, Any]:
        return _READ_ONLY


async def _after(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return ENDED
