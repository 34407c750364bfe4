"""A request that is sent again because the connection broke is carried out once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Answer = TypeVar("Answer")
MOST = 256  # a request comes again within seconds or never


class Once(Generic[Answer]):
    """Remembers the answers to the newest requests by their keys. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, Future[Answer]] = OrderedDict()

    def answer(self, key: str, carry_out: Callable[[], Answer]) -> Answer:
        """What `carry_out` returns, or what it returned, or is about to, when `key` came first; an empty one is never
        remembered. Where it raises, it is forgotten."""
        if not key:
            return carry_out()
        with self._lock:
            known = self._answers.get(key)
            if known is None:
                mine = self._answers[key] = Future()
                while len(self._answers) > MOST:
                    self._answers.popitem(last=False)
        if known is not None:
            return known.result()
        try:
            answer = carry_out()
        except BaseException as error:
            with self._lock:
                self._answers.pop(key, None)
            mine.set_exception(error)
            raise
        mine.set_result(answer)
        return answer
