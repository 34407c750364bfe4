"""The live path as it is found: which of its processes exist, who started them and when, and how to end them.

The processes are looked for in the kernel's own table by the frame ring or the socket that they name, so that none is
overlooked, whoever started it: `wardpose run` in a terminal, the service, systemd, or somebody by hand.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from appliance.live import ownership
from appliance.live.addresses import result_socket, ring_name
from appliance.live.meter import ring_status
from appliance.live.ownership import AlreadyRuns, LiveLock, Owner, local
from appliance.site.database import now, stamp
from appliance.site.folder import SiteFolder, home_path
from calibration.errors import WardposeError
from calibration.processes import is_running, process_identity

# Each process's module, and the option whose value says that it is this site's; the watch is a command of ours.
_MODULES = {
    "capture": (b"runtime.capture.process", b"--ring"),
    "live": (b"runtime.live", b"--ring"),
    "display": (b"runtime.display.service", b"--socket"),
}
END_SECONDS = 30.0  # a supervisor ends one process after the other, with five seconds for each
_SYSTEMCTL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    """One process of the live path. since: UTC. unit: systemd's name for it, empty where systemd did not start it."""

    name: str
    pid: int
    identity: str
    who: str
    since: str
    unit: str


@dataclass(frozen=True, slots=True)
class LivePath:
    """What there is of a site's live path. owner: who supervises it; None where systemd or nobody does."""

    owner: Owner | None
    processes: tuple[Found, ...]

    @property
    def runs(self) -> bool:
        """Whether anything of it exists."""
        return self.owner is not None or bool(self.processes)

    @property
    def looks(self) -> bool:
        """Whether it looks through the camera, or will; a page alone does not."""
        return self.owner is not None or any(process.name != "display" for process in self.processes)

    @property
    def units(self) -> list[str]:
        return sorted({process.unit for process in self.processes if process.unit})

    @property
    def kind(self) -> str:
        """`foreground`, `service`, `systemd`, `by hand`, or nothing."""
        if self.owner is not None:
            return self.owner.kind
        return "systemd" if self.units else "by hand" if self.processes else ""

    def words(self) -> str:
        """Who runs it, how, and since when; empty where nothing runs."""
        if self.owner is not None:
            return self.owner.words()
        if not self.processes:
            return ""
        since = local(min(process.since for process in self.processes))
        if self.units:
            return f"systemd runs it ({', '.join(unit.removesuffix('.service') for unit in self.units)}), since {since}"
        told = ", ".join(f"{process.name} (process {process.pid})" for process in self.processes)
        return f"{self.processes[0].who} started {told} by hand, at {since}"

    def states(self) -> list[dict[str, Any]]:
        """The processes found as a supervisor tells of its own; it alone knows how often it has started them again."""
        return [
            {
                "name": process.name, "state": "running", "pid": process.pid, "restarts": None, "up_s": None,
                "status": f"since {local(process.since)}, {process.unit or process.who}", "last_end": "",
            }
            for process in self.processes
        ]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """`kind`, `who`, `since`, `pid`, `words`, and the `processes` found."""
        first = min((process.since for process in self.processes), default="")
        who = self.owner.who if self.owner else "systemd" if self.units else "".join(p.who for p in self.processes[:1])
        return {
            "kind": self.kind, "who": who, "since": self.owner.since if self.owner else first,
            "pid": self.owner.pid if self.owner else None, "words": self.words(),
            "processes": [asdict(process) for process in self.processes],
        }  # fmt: skip


def look(site: SiteFolder) -> LivePath:
    """What exists of the site's live path now. Takes some milliseconds."""
    return LivePath(ownership.owner(site), tuple(_found(site)))


def plan_of(site: SiteFolder, path: LivePath, models: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """What a live path runs (`LivePlan` as a dict), whoever started it; None where it doesn't look at all.

    models: what the live process says of its models.
    """
    if not path.looks:
        return None
    if path.owner is not None and path.owner.plan:
        return dict(path.owner.plan)
    models = models or {}
    return {
        "source": ring_status(site)["source"], "detector": models.get("detector", ""), "pose": models.get("pose"),
        "display": any(process.name == "display" for process in path.processes),
    }  # fmt: skip


def require_free(site: SiteFolder) -> None:
    """Raise `WardposeError` naming whoever runs the live path already."""
    path = look(site)
    if path.looks:
        raise AlreadyRuns(path.words(), site)


def begin(site: SiteFolder, kind: str, plan: Mapping[str, Any], *, patience_s: float = 0.0) -> LiveLock:
    """Become the one who keeps the live path running; `release` the lock when it has ended.

    patience_s: for what an earlier one has left to end. Raises `WardposeError` naming whoever runs it already.
    """
    lock = LiveLock.take(site, kind, plan)
    wanted = {"capture", "live", "drift", *(["display"] if plan.get("display") else [])}
    until = time.monotonic() + patience_s
    while taken := [process for process in _found(site) if process.name in wanted]:
        if time.monotonic() >= until:
            lock.release()
            raise AlreadyRuns(LivePath(None, tuple(taken)).words(), site)
        time.sleep(0.1)
    return lock


def stop(site: SiteFolder) -> str:
    """End the live path, whoever runs it, and wait until it is gone; returns who ran it, empty where nothing did.

    A program in a terminal is asked to end, systemd's units are stopped by `systemctl`. Raises `WardposeError` with
    what to type where this user may not.
    """
    path = look(site)
    words = path.words()
    if path.owner is not None:
        _ask_to_end(path.owner.process, path.owner.words())
        _wait_for(lambda: ownership.owner(site) is None, path.owner.words())
    if units := look(site).units:
        _stop_units(units)
    for process in look(site).processes:
        _ask_to_end(process.identity, f"{process.name} (process {process.pid})")
        _wait_for(lambda process=process: not is_running(process.identity), f"{process.name} (process {process.pid})")  # type: ignore[misc]
    return words


def _found(site: SiteFolder) -> list[Found]:
    ours = {b"--ring": os.fsencode(ring_name(site)), b"--socket": os.fsencode(result_socket(site))}
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        for name, (module, option) in _MODULES.items():
            if module in words and (option, ours[option]) in pairwise(words):
                with contextlib.suppress(OSError, psutil.Error):
                    found.append(_describe(name, int(entry)))
        if (
            b"appliance" in words
            and (b"--only", b"drift") in pairwise(words)
            and _home_of(int(entry), words) == site.root
        ):
            with contextlib.suppress(OSError, psutil.Error):
                found.append(_describe("drift", int(entry)))
    order = [*_MODULES, "drift"]
    return sorted((one for one in found if one.identity), key=lambda one: (order.index(one.name), one.pid))


def _home_of(pid: int, words: list[bytes]) -> Path | None:
    """The site that a command of ours works on; None where it can't be told."""
    given = next((value for option, value in pairwise(words) if option == b"--home"), None)
    if given is None:
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            given = next((v.partition(b"=")[2] for v in variables if v.startswith(b"WARDPOSE_HOME=")), None)
    try:
        return home_path(os.fsdecode(given)) if given else None
    except WardposeError:
        return None


def _describe(name: str, pid: int) -> Found:
    from datetime import UTC, datetime

    process = psutil.Process(pid)
    since = stamp(datetime.fromtimestamp(process.create_time(), UTC)) if process.create_time() else now()
    unit = re.search(r"/(wardpose-[\w-]+\.service)$", Path(f"/proc/{pid}/cgroup").read_text().strip(), re.M)
    return Found(name, pid, process_identity(pid), process.username(), since, unit[1] if unit else "")


def _ask_to_end(identity: str, what: str) -> None:
    """SIGTERM to that very process: a pid that was given to another meanwhile is left alone."""
    if not is_running(identity):
        return
    pid = ownership.pid_of(identity)
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if is_running(identity):  # what the handle names is what was found
            signal.pidfd_send_signal(handle, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise WardposeError(f"this user may not end it: {what}", mend=f"type: sudo kill {pid}") from None
    finally:
        os.close(handle)


def _wait_for(gone: Any, what: str) -> None:
    until = time.monotonic() + END_SECONDS
    while not gone():
        if time.monotonic() > until:
            raise WardposeError(f"it was asked to end and has not: {what}", mend="see its log, or end it there")
        time.sleep(0.1)


def _stop_units(units: list[str]) -> None:
    command = ["systemctl", "--no-ask-password", "stop", *units]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SYSTEMCTL_SECONDS, check=False
        )
        if ended.returncode == 0:
            return
    raise WardposeError(
        "systemd runs it, and this user may not stop it", mend=f"type: sudo systemctl stop {' '.join(units)}"
    )
