"""Every file call of an operation, counted, and the process killed at each: `python -m appliance.faults.kill_points`.

One process imports everything once and forks a child for each point: the child works on a copy of a small site and
sends itself SIGKILL before its n-th call that changes a file. Another child then starts on what is left, as the box
would, and tells what it found.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import io
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from appliance import cut_off, program
from appliance.faults.operations import OPERATIONS, holds, prepare, state_of
from appliance.site.folder import SiteFolder
from calibration.json_text import parse_json

_CALLS = (
    "open", "rename", "replace", "fsync", "unlink", "remove", "mkdir", "rmdir", "link", "truncate", "ftruncate",
    "pwrite", "write", "chmod", "fchmod",
)  # fmt: skip
_FINISHED, _FAILED = 0, 3


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
    _, before = _in_child(lambda: state_of(SiteFolder(_copy(original, work))))
    status, told = _in_child(partial(_carry_out, operation, _copy(original, work), 0))
    if status != _FINISHED:
        raise RuntimeError(f"{operation} failed by itself: {told}")
    swept.calls = int(told)
    for point in range(1, swept.calls + 1, every):
        site = _copy(original, work)
        _in_child(partial(_carry_out, operation, site, point))
        status, told = _in_child(partial(_start_again, site))
        found = parse_json(told) if status == _FINISHED else {"faults": [told], "told": [], "state": ""}
        swept.tried += 1
        swept.told += bool(found["told"])
        swept.faults += [f"killed at call {point}: {fault}" for fault in found["faults"]]
        swept.lost += bool(found["faults"])
        swept.undone += found["state"] == before
        swept.done += found["state"] not in (before, "")
    shutil.rmtree(work, ignore_errors=True)
    return swept


def _start_again(root: Path) -> str:
    site = SiteFolder.open(root)
    told = cut_off.settle(site)
    return json.dumps({"told": told, "faults": holds(site), "state": state_of(site)})


def _carry_out(operation: str, root: Path, point: int) -> str:
    """The operation; killed before its call of that number, which 0 never is. Returns how many calls it made."""
    site = SiteFolder(root)
    count = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
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


def _in_child(deed: Callable[[], str]) -> tuple[int, str]:
    """Exit status (below 0: killed by that signal) and answer of `deed` in a forked child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status, answer = _FINISHED, ""
        write, leave = os.write, os._exit
        try:
            os.close(reader)
            answer = deed()
        except BaseException as error:  # told to the parent: nothing of this child may go on
            status, answer = _FAILED, f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):
            data = answer.encode()
            while data:
                data = data[write(writer, data) :]
        leave(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read().decode(errors="replace")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), answer


def _copy(original: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(original, target, ignore=shutil.ignore_patterns("ballast", "*.sock"))
    return target


def main(arguments: list[str] | None = None) -> int:
    """Sweep operations; prints one line of JSON each. Returns 1 where anything was lost."""
    parser = argparse.ArgumentParser(prog="appliance.faults.kill_points", description=__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("operations", nargs="*", default=sorted(OPERATIONS))
    options = parser.parse_args(arguments)
    program.prepare()
    lost = 0
    with tempfile.TemporaryDirectory(prefix="wardpose-kill-") as folder:
        original = prepare(Path(folder) / "original").root
        for operation in options.operations:
            swept = sweep(operation, original, Path(folder) / "copy", every=options.every)
            print(json.dumps(asdict(swept)), flush=True)
            lost += swept.lost
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
