"""One live path a site: the lock on keeping it running, and who holds it.

`live.lock` in the site folder is held exclusively (flock) by the one program that supervises the live path, with a line
of JSON inside that says who that is, and shared by each process that systemd keeps running by itself. The kernel lets
go of it however its holder ends; what the file says counts only while it is held.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from appliance.site import ballast
from appliance.site.database import now
from appliance.site.folder import SiteFolder, open_lock
from appliance.site.people import current_user
from calibration.disk import is_read_only
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.processes import pid_of, process_identity

KINDS = {"foreground": "in a terminal (`wardpose run`)", "service": "by the service"}
LEAST_BYTES = 2048  # of the file: its next holder then needs no further room
PATIENCE_SECONDS = 1.0  # whoever only looks whether it is held holds it for an instant


class AlreadyRuns(WardposeError):
    """The one line for a second live path. words: who runs the first."""

    def __init__(self, words: str, site: SiteFolder) -> None:
        super().__init__(f"the live path already runs: {words}", where=str(site.root), mend="`wardpose stop` ends it")


@dataclass(frozen=True, slots=True)
class Owner:
    """Who keeps the live path running. kind: `foreground` or `service`. since: UTC. process: its identity (see
    `process_identity`), empty where it could not be read. plan: what it runs (`LivePlan` as a dict)."""

    kind: str
    who: str
    since: str
    process: str
    plan: Mapping[str, Any]

    @property
    def pid(self) -> int | None:
        return pid_of(self.process) if self.process else None

    def words(self) -> str:
        """`anna runs it in a terminal (…), process 12, since 28 Nov 14:05`."""
        where = KINDS.get(self.kind, self.kind)
        pid = f", process {self.pid}" if self.process else ""
        return f"{self.who} runs it {where}{pid}{f', since {local(self.since)}' if self.since else ''}"


class LiveLock:
    """The exclusive lock, held from `take` to `release` or to the end of this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, site: SiteFolder, kind: str, plan: Mapping[str, Any]) -> LiveLock:
        """Hold the site's lock and say in it who holds it; raises `WardposeError` naming whoever has it already."""
        descriptor = _open(site)
        try:
            if not _locked(descriptor, fcntl.LOCK_EX, PATIENCE_SECONDS):
                held = owner(site)
                raise AlreadyRuns(held.words() if held else "systemd runs it", site)
            said = Owner(kind, current_user(), now(), process_identity(os.getpid()), plan)
            # Written over in place, which a full disk allows; where nothing can be written, it is held all the same.
            with contextlib.suppress(OSError):
                text = json.dumps(asdict(said)).encode().ljust(os.fstat(descriptor).st_size or LEAST_BYTES)
                os.pwrite(descriptor, text, 0)
                os.ftruncate(descriptor, len(text))
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        """Let go. Does nothing the second time."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def share(site: SiteFolder) -> None:
    """Hold the lock together with the other processes that nobody of ours supervises, until this process ends, also
    through `exec`. Does nothing for a child of the supervisor. Raises `WardposeError` where somebody supervises."""
    held = owner(site)
    if held is not None and held.pid == os.getppid():
        return
    descriptor = _open(site)
    if not _locked(descriptor, fcntl.LOCK_SH, PATIENCE_SECONDS):
        os.close(descriptor)
        held = owner(site)
        raise AlreadyRuns(held.words() if held else "somebody runs it", site)
    os.set_inheritable(descriptor, True)


def owner(site: SiteFolder) -> Owner | None:
    """Whoever holds the lock exclusively; None where nobody does."""
    try:
        descriptor = os.open(_path(site), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if _locked(descriptor, fcntl.LOCK_SH, 0.0):
            return None
        try:
            values = parse_json(os.pread(descriptor, 65536, 0))
            return Owner(**{name: values[name] for name in ("kind", "who", "since", "process", "plan")})
        except (ValueError, KeyError, TypeError):
            return Owner("foreground", "somebody", "", "", {})  # it is only just saying so
    finally:
        os.close(descriptor)


def local(stamp: str) -> str:
    """A stored UTC time in this box's own, to the minute."""
    return datetime.fromisoformat(stamp).astimezone().strftime("%d %b %H:%M") if stamp else ""


def _path(site: SiteFolder) -> Path:
    path = site.root / "live.lock"
    if is_read_only(site.root) and not path.exists():
        return site.sockets_place / path.name
    return path


def _open(site: SiteFolder) -> int:
    ballast.make_room(site.root)
    _ = site.sockets  # where the lock of a read-only disk lies
    return open_lock(_path(site))


def _locked(descriptor: int, how: int, patience_s: float) -> bool:
    until = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.02)
