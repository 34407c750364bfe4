"""Restarts and outages of the live path: counted, with their times and causes, in a short file that only grows.

`outages.jsonl` in the site folder keeps some thousand lines. What is noted: `start` (somebody, or systemd, started it),
`restart` (a process ended or hung and was started again), `lost` and `back` (the live picture). A pause is no outage.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from appliance.live.ownership import local
from appliance.site.database import now, stamp
from appliance.site.folder import SiteFolder
from calibration.json_text import parse_json

LARGEST_BYTES = 300_000
LOST_SECONDS = 2.0  # a shorter gap is no outage
_HOURS = 24
_UNSAID = {"off": "the live process says nothing"}


@dataclass(frozen=True, slots=True)
class Event:
    """One line. at: UTC. seconds: how long the picture was gone (`back`)."""

    at: str
    what: str
    process: str = ""
    why: str = ""
    seconds: float = 0.0

    def words(self) -> str:
        """`28 Nov 14:05 capture started again: killed by signal 9`."""
        told = {
            "start": f"{self.process or 'the live path'} started",
            "restart": f"{self.process} started again",
            "lost": "no live picture",
            "back": f"live again after {self.seconds:.0f} s",
        }.get(self.what, self.what)
        return f"{local(self.at)} {told}{f': {self.why}' if self.why else ''}"


def note(site: SiteFolder, what: str, process: str = "", why: str = "", *, seconds: float = 0.0, at: str = "") -> None:
    """Add one line. What can't be written is not worth stopping the live path for."""
    line = json.dumps(asdict(Event(at or now(), what, process, why[:300], round(seconds, 1))), ensure_ascii=False)
    with contextlib.suppress(OSError):
        descriptor = os.open(_path(site), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if size > LARGEST_BYTES:
                kept = os.pread(descriptor, size, size // 2).partition(b"\n")[2]
                os.ftruncate(descriptor, 0)
                os.write(descriptor, kept)
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)


def events(site: SiteFolder, limit: int = 50) -> list[Event]:
    """The newest first; lines that can't be read are left out."""
    try:
        lines = _path(site).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in reversed(lines):
        with contextlib.suppress(ValueError, TypeError):
            found.append(Event(**parse_json(line)))
        if len(found) == limit:
            break
    return found


def tally(site: SiteFolder) -> dict[str, Any]:
    """The last day: `restarts`, `outages`, `seconds` without a picture, `recent` (events), and all of it in `words`."""
    since = stamp(datetime.now(UTC) - timedelta(hours=_HOURS))
    day = [event for event in events(site, 10_000) if event.at >= since]
    restarts = [event for event in day if event.what == "restart"]
    outages = [event for event in day if event.what == "lost"]
    seconds = sum(event.seconds for event in day if event.what == "back")
    words = f"{_count(len(restarts), 'restart')}, {_count(len(outages), 'outage')} in {_HOURS} h"
    if outages:
        words += f", {seconds:.0f} s without a picture"
    last = next((event for event in day if event.what in ("restart", "lost")), None)
    if last is not None:
        words += f"; the last: {last.words()}"
    return {
        "hours": _HOURS, "restarts": len(restarts), "outages": len(outages), "seconds": round(seconds, 1),
        "words": words, "recent": [asdict(event) | {"words": event.words()} for event in day[:10]],
    }  # fmt: skip


class PictureWatch:
    """Notes when the live picture is lost and when it is back. Give it the meter's figures once or more a second."""

    def __init__(self, site: SiteFolder) -> None:
        self._site = site
        self._was_live = False
        self._gone_since = 0.0
        self._told = False

    def look(self, figures: Mapping[str, Any]) -> None:
        """figures: of `LiveMeter`."""
        state, moment = figures["state"], time.monotonic()
        if state == "live":
            if self._told:
                note(self._site, "back", seconds=moment - self._gone_since)
            self._was_live, self._gone_since, self._told = True, 0.0, False
        elif state == "paused":
            self._was_live, self._gone_since, self._told = False, 0.0, False
        elif self._was_live and not self._told:
            self._gone_since = self._gone_since or moment
            if moment - self._gone_since >= LOST_SECONDS:
                begun = stamp(datetime.now(UTC) - timedelta(seconds=moment - self._gone_since))
                note(self._site, "lost", why=figures.get("message") or _UNSAID.get(state, state), at=begun)
                self._told = True


def _path(site: SiteFolder) -> Path:
    return site.root / "outages.jsonl"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
