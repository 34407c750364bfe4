"""A call that is waited for so long and no longer: what hangs in a library can't be stopped, but left behind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from calibration.errors import WardposeError

_Given = TypeVar("_Given")
_Answer = TypeVar("_Answer")
# Seconds that an engine may take, not counting those for which it waited for the processor.
PATIENCE_S = 1.0
# However busy a box is: no longer than so many times that.
_MOST = 8
_LOOK_S = 0.2


class NoAnswer(WardposeError):
    """A call did not return in time. Its thread is left behind, with what it holds."""


class PatientCall:
    """Makes calls on a thread of its own, which is begun with the first one and lives until a call hangs on it.

    For one thread at a time. patience_s: seconds that a call may take.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._worker: _Worker | None = None

    def run(self, call: Callable[[_Given], _Answer], given: _Given) -> _Answer:
        """What `call` returns or raises of what it is given; raises NoAnswer when it does neither in time."""
        if self._worker is None:
            self._worker = _Worker()
        worker, began = self._worker, time.monotonic()
        waited_s = worker.waited_s()
        worker.calls.put(lambda: call(given))
        while True:
            lasted = time.monotonic() - began
            left = self._patience_s - lasted
            if left <= 0:  # on a busy box, what it waited for a processor is not its own fault
                left = self._patience_s + min(worker.waited_s() - waited_s, _MOST * self._patience_s) - lasted
                if left <= 0:
                    self._worker = None
                    raise NoAnswer(f"it has not answered for {lasted:.1f} s")
            try:
                answer, error = worker.answers.get(timeout=min(left, _LOOK_S) if lasted else left)
            except Empty:
                continue
            if error is not None:
                raise error
            found: _Answer = answer
            return found

    def __del__(self) -> None:
        if self._worker is not None:
            self._worker.calls.put(None)


class _Worker:
    def __init__(self) -> None:
        self.calls: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._thread = threading.Thread(target=_work, args=(self.calls, self.answers), name="engine", daemon=True)
        self._thread.start()

    def waited_s(self) -> float:
        """For how long the thread could have run and had no processor; 0 where the kernel does not count."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(Path(f"/proc/self/task/{self._thread.native_id}/schedstat").read_text().split()[1]) / 1e9
        return 0.0


def _work(calls: SimpleQueue[Callable[[], Any] | None], answers: SimpleQueue[tuple[Any, BaseException | None]]) -> None:
    while (call := calls.get()) is not None:
        try:
            answers.put((call(), None))
        except BaseException as error:  # it is raised again where the call was asked for
            answers.put((None, error))
        del call
