"""How much of the page one side may have: so many deeds a time, so many places."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable


class Allowance:
    """At most `burst` at once and `rate` a second in the long run. now: a clock in seconds."""

    def __init__(self, rate: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._now = rate, burst, now
        self._left, self._at = float(burst), now()

    @property
    def has_any(self) -> bool:
        """Whether one more would be allowed."""
        at = self._now()
        self._left, self._at = min(self._burst, self._left + (at - self._at) * self._rate), at
        return self._left >= 1

    def take(self) -> bool:
        """Whether one more is allowed; it is counted then."""
        if not self.has_any:
            return False
        self._left -= 1
        return True


class Places:
    """Who may watch at once, of each kind so many.

    Where a kind that `makes_way` is full, whoever came first leaves for the one that comes: a screen that was started
    again finds its place, whatever became of its earlier connection. Of another kind, the one that comes finds none.
    """

    def __init__(self, most: dict[str, int], makes_way: frozenset[str]) -> None:
        self._most, self._makes_way = most, makes_way
        self._taken: dict[str, OrderedDict[object, Callable[[], None]]] = {kind: OrderedDict() for kind in most}

    def take(self, kind: str, who: object, leave: Callable[[], None]) -> bool:
        """A place for `who`; `leave` is called when it has to go. False where there is none."""
        taken = self._taken[kind]
        if len(taken) >= self._most[kind]:
            if kind not in self._makes_way:
                return False
            _, go = taken.popitem(last=False)
            go()
        taken[who] = leave
        return True

    def give_back(self, kind: str, who: object) -> None:
        self._taken[kind].pop(who, None)
