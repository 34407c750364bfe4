"""Every file call of an operation, counted, and the process killed at each.

One process imports everything once and forks a child for each point: the child works on a copy of a small site and
sends itself SIGKILL before its n-th call that changes a file. Another child then starts on what is left, as the box
would, and tells what it found.
"""

from __future__ import annotations

import builtins
import io
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from appliance.faults.children import FINISHED, fresh_copy, in_child, start_again
from appliance.faults.holding import state_of
from appliance.faults.operations import OPERATIONS
from appliance.site.folder import SiteFolder
from calibration.json_text import parse_json

_CALLS = (
    "open", "rename", "replace", "fsync", "unlink", "remove", "mkdir", "rmdir", "link", "truncate", "ftruncate",
    "pwrite", "write", "chmod", "fchmod",
)  # fmt: skip


@dataclass(slots=True)
class Swept:
    """How an operation fared that was killed at many points. done: its deed stands, or was completed by the next start;
    undone: nothing of it is there; told: the next start said that it completed or withdrew it; lost: what does not
    hold afterwards is in `faults`."""

    operation: str
    calls: int = 0
    tried: int = 0
    done: int = 0
    undone: int = 0
    told: int = 0
    lost: int = 0
    faults: list[str] = field(default_factory=list)


def sweep(operation: str, original: Path, work: Path, *, every: int = 1) -> Swept:
    """Kill `operation` at every `every`-th of its calls, each time on a fresh copy at `work` of the site `original`.

    For a process with one thread: it forks.
    """
    swept = Swept(operation)
    _, before = in_child(lambda: state_of(SiteFolder(fresh_copy(original, work))))
    status, told = in_child(partial(carry_out, operation, fresh_copy(original, work), 0))
    if status != FINISHED:
        raise RuntimeError(f"{operation} failed by itself: {told}")
    swept.calls = int(told)
    for point in range(1, swept.calls + 1, every):
        site = fresh_copy(original, work)
        in_child(partial(carry_out, operation, site, point))
        status, told = in_child(partial(start_again, site))
        found = parse_json(told) if status == FINISHED else {"faults": [told], "told": [], "state": ""}
        swept.tried += 1
        swept.told += bool(found["told"])
        swept.faults += [f"killed at call {point}: {fault}" for fault in found["faults"]]
        swept.lost += bool(found["faults"])
        swept.undone += found["state"] == before
        swept.done += found["state"] not in (before, "")
    shutil.rmtree(work, ignore_errors=True)
    return swept


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def carry_out(operation: str, root: Path, point: int, strike: Callable[[], None] = _kill) -> str:
    """The operation; struck before its call of that number, which 0 never is. Returns how many calls it made."""
    site = SiteFolder(root)
    count = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            if arguments and str(arguments[0]).startswith("/proc/"):  # the box's other programs are many
                return call(*arguments, **options)
            count += 1
            if count == point:
                strike()
            return call(*arguments, **options)

        return instead

    for name in _CALLS:
        setattr(os, name, counted(getattr(os, name)))
    builtins.open = io.open = counted(io.open)  # what pathlib opens by
    setattr(sqlite3, "connect", partial(sqlite3.connect, factory=_counting(counted)))  # noqa: B010 (typed by overloads)
    OPERATIONS[operation](site)
    return str(count)


def _counting(counted: Callable[[Callable[..., Any]], Callable[..., Any]]) -> type[sqlite3.Connection]:
    class Counting(sqlite3.Connection):
        """A point before each order that changes the database, and before what makes it lasting."""

        def execute(self, order: str, *arguments: Any) -> sqlite3.Cursor:
            run = super().execute
            changes = order.split(maxsplit=1)[0].upper() in ("INSERT", "UPDATE", "DELETE", "COMMIT")
            cursor: sqlite3.Cursor = (counted(run) if changes else run)(order, *arguments)
            return cursor

    return Counting
