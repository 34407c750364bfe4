"""Children that are forked to do one thing to a copy of a small site, and may be killed at it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance import cut_off
from appliance.faults.holding import holds, state_of
from appliance.site.folder import SiteFolder

FINISHED, _FAILED = 0, 3


def in_child(deed: Callable[[], str]) -> tuple[int, str]:
    """Exit status (below 0: killed by that signal) and answer of `deed` in a forked child."""
    return _awaited(*_forked(deed, lambda: None))


def at_once(deeds: Sequence[Callable[[], str]]) -> list[tuple[int, str]]:
    """The same of several children, which all begin when the last of them is there."""
    waiting, begin = os.pipe()

    def wait() -> None:
        os.close(begin)
        os.read(waiting, 1)  # nothing comes: it ends when nobody can write to it any more

    children = [_forked(deed, wait) for deed in deeds]
    os.close(waiting)
    os.close(begin)
    return [_awaited(*child) for child in children]


def _forked(deed: Callable[[], str], first: Callable[[], None]) -> tuple[int, int]:
    """The child's number, and where its answer is to be read."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status, answer = FINISHED, ""
        write, leave = os.write, os._exit
        try:
            os.close(reader)
            first()
            answer = deed()
        except BaseException as error:  # told to the parent: nothing of this child may go on
            status, answer = _FAILED, f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):
            data = answer.encode()
            while data:
                data = data[write(writer, data) :]
        leave(status)
    os.close(writer)
    return child, reader


def _awaited(child: int, reader: int) -> tuple[int, str]:
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read().decode(errors="replace")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), answer


def fresh_copy(original: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(original, target, ignore=shutil.ignore_patterns("ballast", "*.sock"))
    return target


def start_again(root: Path) -> str:
    """What a box does that starts on what is left, and what it found, as JSON."""
    site = SiteFolder.open(root)
    told = cut_off.settle(site)
    return json.dumps({"told": told, "faults": holds(site), "state": state_of(site)})
