"""The one pause of a site: who asked for it, since when, and that nobody looks while it lasts.

The pause is a file. Whoever reads pixels asks it before and after each frame (`open_source`, `RingReader` and
`RingWriter` do), whatever process they live in; it outlives every process and the box itself. Whatever stands at its
path is a pause: a file that can't be read or understood too, because nobody may be watched by an accident.

Each pause and each resume is also a line in a journal beside the file, for an audit trail that the processes of this
floor can't reach: `hand_over` gives the lines to whoever keeps one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from calibration.atomic import disk_error, sync_folder, write_text
from calibration.errors import WardposeError

SOMEBODY = "somebody unknown"
LIFT = "`wardpose resume` lifts it"


class Paused(WardposeError):
    """Nothing may be looked at now."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that holds. since: UTC, ISO 8601, empty where it is not known. by: a person or a place (the page)."""

    by: str = SOMEBODY
    since: str = ""
    reason: str = ""

    def words(self) -> str:
        """`paused by NAME since DAY HOUR (REASON)`, in this box's own time."""
        since = f" since {_local(self.since)}" if self.since else ""
        return f"paused by {self.by}{since}{f' ({self.reason})' if self.reason else ''}"

    def to_dict(self) -> dict[str, str]:
        """For a message or a status: `by`, `since`, `reason`, and `words`."""
        return asdict(self) | {"words": self.words()}


class PauseSwitch:
    """The pause of one site, in the file `path`. Safe from any thread and process; `active` costs one system call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path.with_name(f"{path.name}.journal")

    @property
    def active(self) -> bool:
        try:
            os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def state(self) -> Pause | None:
        """The pause that holds; None where none does."""
        if not self.active:
            return None
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
            pause = Pause(*(str(values[name])[:200] for name in ("by", "since", "reason")))
            return pause if not pause.since or _instant(pause.since) else Pause(pause.by, "", pause.reason)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return Pause() if self.active else None

    def set(self, by: str, reason: str = "") -> Pause:
        """Pause. Where a pause holds already it stays whose it was, and its beginning.

        Raises `WardposeError` only where no file can be made at all; a full disk is no such case.
        """
        if (held := self.state()) is not None:
            return held
        pause = Pause(by, datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"), reason)
        try:
            write_text(self.path, json.dumps(asdict(pause), ensure_ascii=False) + "\n")
        except WardposeError:
            self._touch()
        with contextlib.suppress(OSError):  # the pause holds all the same
            self._write_down("pause", by, reason)
        return pause

    def lift(self, by: str, reason: str = "") -> Pause | None:
        """End the pause that holds and return it; None, and nothing is done, where none does.

        Raises `WardposeError` where it can't be lifted, or where the deed can't be written down.
        """
        held = self.state()
        if held is None:
            return None
        try:
            self._write_down("resume", by, "; ".join(filter(None, (reason, f"was {held.words()}"))))
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as error:
            raise disk_error(error, self.path) from error
        return held

    def require_off(self) -> None:
        """Raise `Paused`, in one line that says by whom, since when and how it ends, where a pause holds."""
        held = self.state()
        if held is not None:
            raise Paused(held.words(), mend=LIFT)

    def hand_over(self, keep: Callable[[dict[str, Any]], None]) -> int:
        """Give each line of the journal (`what`: pause or resume, `by`, `at`, `reason`) to `keep`, once, and forget it;
        returns how many there were. What `keep` raises leaves that line and the later ones for the next time."""
        try:
            if self.journal.stat().st_size == 0:
                return 0
        except OSError:
            return 0
        with self._journal() as descriptor:
            lines = os.pread(descriptor, os.fstat(descriptor).st_size, 0).split(b"\n")
            kept = 0
            try:
                for line in filter(None, lines):
                    with contextlib.suppress(ValueError, RecursionError):  # torn by a power cut: nobody can read it
                        deed = json.loads(line)
                        if isinstance(deed, dict):
                            keep(deed)
                    kept += 1
            finally:
                left = b"".join(line + b"\n" for line in list(filter(None, lines))[kept:])
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, left, 0)
                os.fsync(descriptor)
        return kept

    def _write_down(self, what: str, by: str, reason: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"what": what, "by": by, "at": at, "reason": reason}, ensure_ascii=False)
        with self._journal() as descriptor:
            # Begun on a line of its own, whatever half a line a power cut has left.
            os.pwrite(descriptor, b"\n" + line.encode() + b"\n", os.fstat(descriptor).st_size)
            os.fsync(descriptor)

    @contextlib.contextmanager
    def _journal(self) -> Iterator[int]:
        """The journal, open and this process's alone for the block."""
        descriptor = os.open(self.journal, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _touch(self) -> None:
        """An empty file needs no room on the disk, and is a pause."""
        try:
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise disk_error(error, self.path) from error


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _local(since: str) -> str:
    instant = _instant(since)
    return since if instant is None else instant.astimezone().strftime("%d %b %H:%M")
