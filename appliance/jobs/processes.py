"""Every process that belongs to a job, whatever it did to hide.

A job's process leads a session of its own and carries the job's mark in its environment; what it starts, and what that
starts, inherits both. A helper that leaves the session, loses its parent or outlives a runner that was killed still
has the mark, which the kernel shows to the user it runs as.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from appliance.site.folder import SiteFolder
from calibration.processes import pid_of, process_identity

MARK = "WARDPOSE_JOB"


def mark_of(site: SiteFolder, number: int) -> str:
    """What the processes of job `number` have in their environment as `WARDPOSE_JOB`."""
    return f"{site.key}-{number}"


def processes_of(site: SiteFolder, number: int, leader: str = "") -> list[int]:
    """The pids of all processes of job `number` that still live.

    leader: the identity (see `process_identity`) of the job's own process, where it is known; those of its session
    count as well then, as long as no other process has been given its pid.
    """
    mark, session = f"{MARK}={mark_of(site, number)}".encode(), 0
    if leader and process_identity(pid_of(leader)) in ("", leader):
        session = pid_of(leader)
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] in "ZX":
                continue
            if (session and int(fields[3]) == session) or mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def at_rest(pids: list[int]) -> Iterator[None]:
    """Those processes get no processor in the block. Each may have ended by itself meanwhile."""
    _send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(pids, signal.SIGCONT)


def kill(pids: list[int]) -> None:
    """End processes at once. Each may have ended by itself meanwhile."""
    _send(pids, signal.SIGKILL)


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
