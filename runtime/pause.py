"""The one pause of a site: who asked for it, since when, and that nobody looks while it lasts.

The pause is a file. Whoever reads pixels asks it before and after each frame (`open_source`, `RingReader` and
`RingWriter` do), whatever process they live in; it outlives every process and the box itself. Whatever stands at its
path is a pause: a file that can't be read or understood too, because nobody may be watched by an accident.

Each pause and each resume is also a line in a journal beside the file, for an audit trail that the processes of this
floor can't reach: `hand_over` gives the lines to whoever keeps one.

Pausing wants no room on the disk. What `prepare` has laid ready, a spare of the file to be written over and renamed and
a journal that is longer than its lines, needs neither a byte nor an inode; where that is missing, or the disk is
read-only, file and journal stand in memory (`/dev/shm`), where they last until the box is started anew.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from calibration.atomic import disk_error, sync_folder, write_bytes
from calibration.disk import is_read_only
from calibration.errors import WardposeError
from calibration.json_text import parse_json

SOMEBODY = "somebody unknown"
LIFT = "`wardpose resume` lifts it"
MEMORY = Path("/dev/shm")
_SPARE_BYTES = 4096
_JOURNAL_BYTES = 16 << 10
_BLANK = b"\n \0"


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
    """The pause of one site, in the file `path`. Safe from any thread and process; `active` costs two system calls."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path.with_name(f"{path.name}.journal")
        self._spare = path.with_name(f"{path.stem}.spare{path.suffix}")
        name = f"wardpose-pause-{hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:16]}"
        self.in_memory, self._memory_journal = MEMORY / name, MEMORY / f"{name}.journal"

    @property
    def active(self) -> bool:
        try:
            os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return self._holds_in_memory()
        except OSError:
            return True
        return True

    def state(self) -> Pause | None:
        """The pause that holds; None where none does."""
        if not self.active:
            return None
        found = _read(self.path)
        if found is None and self._holds_in_memory():
            found = _read(self.in_memory)
        return found or (Pause() if self.active else None)

    def prepare(self) -> None:
        """Lay ready what a later pause needs where the disk is full then. Does nothing where it lies there."""
        with contextlib.suppress(OSError, WardposeError):
            if not os.path.lexists(self._spare):
                write_bytes(self._spare, b" " * _SPARE_BYTES)
        with contextlib.suppress(OSError), _opened(self.journal) as descriptor:
            if (size := os.fstat(descriptor).st_size) < _JOURNAL_BYTES:
                _write_at(descriptor, b"\n" * (_JOURNAL_BYTES - size), size)

    def set(self, by: str, reason: str = "") -> Pause:
        """Pause. Where a pause holds already it stays whose it was, and its beginning.

        Raises `WardposeError` only where no file can be made, neither on the disk nor in memory.
        """
        if (held := self.state()) is not None:
            return held
        pause = Pause(by, datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"), reason)
        self._put(pause)
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
            if is_read_only(self.path.parent) and os.path.lexists(self.path):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            self._write_down("resume", by, "; ".join(filter(None, (reason, f"was {held.words()}"))))
            self._take_away()
        except OSError as error:
            raise disk_error(error, self.path) from error
        return held

    @property
    def forgets(self) -> bool:
        """Whether the pause that holds stands in memory alone, and ends when the box is started anew."""
        return self._holds_in_memory() and not os.path.lexists(self.path)

    def require_off(self) -> None:
        """Raise `Paused`, in one line that says by whom, since when and how it ends, where a pause holds."""
        held = self.state()
        if held is not None:
            raise Paused(held.words(), mend=LIFT)

    @property
    def owes(self) -> bool:
        """Whether a pause or resume waits to be handed over."""
        return any(_content(journal) for journal in self._journals())

    def hand_over(self, keep: Callable[[dict[str, Any]], None]) -> int:
        """Give each line of the journal (`what`: pause or resume, `by`, `at`, `reason`) to `keep`, once, and forget it;
        returns how many there were. What `keep` raises leaves that line and the later ones for the next time."""
        return sum(_hand_over(journal, keep) for journal in self._journals() if _content(journal))

    def _put(self, pause: Pause) -> None:
        """Make the file, with its words where there is any way to: see the module's first lines."""
        content = json.dumps(asdict(pause), ensure_ascii=False).encode()
        padded = content.ljust(_SPARE_BYTES - 1) + b"\n"
        with contextlib.suppress(WardposeError):
            write_bytes(self.path, padded)
            return
        with contextlib.suppress(OSError):
            if len(padded) <= _SPARE_BYTES == os.lstat(self._spare).st_size:
                descriptor = os.open(self._spare, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    os.pwrite(descriptor, padded, 0)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                os.rename(self._spare, self.path)
                sync_folder(self.path.parent)
                return
        try:  # an empty file needs no room, and is a pause
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            if not self._put_in_memory(content):
                raise disk_error(error, self.path) from error
        else:
            self._put_in_memory(content)

    def _put_in_memory(self, content: bytes) -> bool:
        """Whether the file could be made there; it belongs to whoever owns the site."""
        with contextlib.suppress(OSError):
            with _opened(self.in_memory) as descriptor:
                self._give_to_owner(descriptor)
                os.ftruncate(descriptor, 0)
                with contextlib.suppress(OSError):
                    os.pwrite(descriptor, content, 0)
            return self._holds_in_memory()
        return False

    def _take_away(self) -> None:
        if self._holds_in_memory():
            self.in_memory.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(self.path).st_size == _SPARE_BYTES:
                os.replace(self.path, self._spare)  # which needs no room the next time
            else:
                self.path.unlink()
            sync_folder(self.path.parent)

    def _holds_in_memory(self) -> bool:
        return _is_ours(self.in_memory, self.path.parent)

    def _journals(self) -> list[Path]:
        return [self.journal, *([self._memory_journal] if _is_ours(self._memory_journal, self.path.parent) else [])]

    def note(self, what: str, by: str, reason: str) -> None:
        """Another deed of the live path whose row has to wait: a line of the journal. Raises `OSError`."""
        self._write_down(what, by, reason)

    def _write_down(self, what: str, by: str, reason: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"what": what, "by": by, "at": at, "reason": reason}, ensure_ascii=False).encode()
        try:
            _add(self.journal, line)
        except OSError:
            _add(self._memory_journal, line)
            with contextlib.suppress(OSError), _opened(self._memory_journal) as descriptor:
                self._give_to_owner(descriptor)

    def _give_to_owner(self, descriptor: int) -> None:
        """What root makes in memory is the site's owner's, who may then lift the pause."""
        if os.geteuid() == 0:
            owner = os.stat(self.path.parent)
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _add(journal: Path, line: bytes) -> None:
    """Add a line, on the room that the journal has already where it has any."""
    with _opened(journal) as descriptor:
        size = os.fstat(descriptor).st_size
        end = len(os.pread(descriptor, size, 0).rstrip(_BLANK))
        # Begun on a line of its own, whatever half a line a power cut has left.
        try:
            _write_at(descriptor, b"\n" + line + b"\n", end)
            os.fsync(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
                os.pwrite(descriptor, b"\n" * (size - end), end)
            raise


def _hand_over(journal: Path, keep: Callable[[dict[str, Any]], None]) -> int:
    with _opened(journal) as descriptor:
        size = os.fstat(descriptor).st_size
        lines = [line for line in os.pread(descriptor, size, 0).split(b"\n") if line.strip(_BLANK)]
        kept = 0
        try:
            for line in lines:
                with contextlib.suppress(ValueError):  # torn by a power cut: nobody can read it
                    deed = parse_json(line)
                    if isinstance(deed, dict):
                        keep(deed)
                kept += 1
        finally:  # written over in place, which needs no room
            left = b"".join(line + b"\n" for line in lines[kept:])
            os.pwrite(descriptor, left.ljust(size, b"\n"), 0)
            os.ftruncate(descriptor, min(size, max(len(left), _JOURNAL_BYTES)))
            os.fsync(descriptor)
    return kept


def _content(journal: Path) -> bytes:
    try:
        return journal.read_bytes().strip(_BLANK)
    except OSError:
        return b""


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A file of the pause, made where it is not there, and this process's alone for the block."""
    how = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:  # not made where it is there: in a folder for everybody, the kernel refuses that for another user's file
        descriptor = os.open(path, how)
    except FileNotFoundError:
        descriptor = os.open(path, how | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _write_at(descriptor: int, content: bytes, offset: int) -> None:
    """All of it, or an error."""
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written


def _read(path: Path) -> Pause | None:
    """What a pause's file says; None where that can't be read or understood."""
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
        pause = Pause(*(str(values[name])[:200] for name in ("by", "since", "reason")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pause if not pause.since or _instant(pause.since) else Pause(pause.by, "", pause.reason)


def _is_ours(path: Path, folder: Path) -> bool:
    """Whether a file in memory, where anybody may make one, was made by this user, the owner of `folder`, or root."""
    try:
        about = os.lstat(path)
        return stat.S_ISREG(about.st_mode) and about.st_uid in (0, os.geteuid(), os.stat(folder).st_uid)
    except OSError:
        return False


def _instant(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _local(since: str) -> str:
    instant = _instant(since)
    return since if instant is None else instant.astimezone().strftime("%d %b %H:%M")
