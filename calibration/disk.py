"""What keeps something from being written: a full disk, one without inodes, a read-only one, somebody else's, a broken
one. Each has its own words and its own way out, and none is a reason to restore anything."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calibration.errors import WardposeError

Cause = Literal["full", "no inodes", "read-only", "permission", "I/O error"]
ROOM = 256 << 10  # bytes: what a small deed writes, its row in a database and the log of that among it
INODES = 12  # files that such a deed makes, the locks and sockets of a live path that begins among them
_BY_NUMBER: dict[int, Cause] = {
    errno.ENOSPC: "full", errno.EDQUOT: "full", errno.EROFS: "read-only", errno.EACCES: "permission",
    errno.EPERM: "permission", errno.EIO: "I/O error", errno.EUCLEAN: "I/O error", errno.ENODEV: "I/O error",
}  # fmt: skip
_WORDS: dict[Cause, tuple[str, str]] = {
    "full": (
        "the disk is full (no space left on device)",
        "free some space (`wardpose doctor` shows how much is left, `wardpose doctor --mend` frees the box's ballast) "
        "and give the command again",
    ),
    "no inodes": (
        "the disk has no inodes left, so that no further file can be made (bytes may be free)",
        "delete files there, many small ones first (`wardpose doctor --mend` frees a few), and give the command again",
    ),
    "read-only": (
        "the disk is read-only",
        "mount it writable again; if nobody made it so, it failed: `dmesg` says why, copy the site folder away first",
    ),
    "permission": (
        "this user may not write here",
        "run as the user who owns the site folder, or choose another with --home",
    ),
    "I/O error": (
        "the disk reports an I/O error",
        "the disk or its cable fails: `dmesg` says more; copy the site folder away and replace the disk",
    ),
}


@dataclass(frozen=True, slots=True)
class DiskTrouble:
    """Why the disk that holds `where` can't be written."""

    cause: Cause
    where: str

    @property
    def words(self) -> str:
        """One phrase, such as `the disk is full`."""
        return _WORDS[self.cause][0]

    @property
    def mend(self) -> str:
        return _WORDS[self.cause][1]

    def error(self) -> WardposeError:
        """The one line of it."""
        return DiskError(self.words, where=self.where, mend=self.mend)


class DiskError(WardposeError):
    """Something could not be written, by no fault of what was written: what is finished is kept."""


def trouble_of(error: OSError, path: Path | str) -> DiskTrouble | None:
    """What an operating-system error about a file says of its disk; None where it is about the file alone."""
    cause = _BY_NUMBER.get(error.errno or 0)
    if cause == "full" and error.errno == errno.ENOSPC and not _inodes(Path(path)):
        cause = "no inodes"
    return None if cause is None else DiskTrouble(cause, str(path))


def behind(error: BaseException) -> WardposeError | None:
    """The disk, or the file, that is behind an error, also where a library made another error of it; None where neither
    is to blame."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DiskError):
            return seen
        if isinstance(seen, OSError) and (trouble := trouble_of(seen, str(seen.filename or "the disk"))):
            return trouble.error()
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        mend = "check the name and the disk, then give the command again"
        return WardposeError(error.strerror.lower(), where=str(error.filename), mend=mend)
    return None


def look(folder: Path) -> DiskTrouble | None:
    """Try the disk that holds `folder`: None where what a small deed needs can be written there. Leaves nothing."""
    try:
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return DiskTrouble("read-only", str(folder))
        with tempfile.TemporaryFile(dir=folder, buffering=0) as stream:  # without a name where the kernel can
            left = ROOM
            while left > 0:
                left -= stream.write(bytes(min(left, 1 << 16)))
            os.fsync(stream.fileno())
    except OSError as error:
        return trouble_of(error, folder)
    return None


def is_short(folder: Path, *, room: int = ROOM, inodes: int = INODES) -> bool:
    """Whether less than `room` bytes or `inodes` files are free there, by what the file system says of itself."""
    try:
        about = os.statvfs(folder)
    except OSError:
        return False
    return about.f_bavail * about.f_frsize < room or (about.f_files > 0 and about.f_favail < inodes)


def is_read_only(folder: Path) -> bool:
    """Whether the disk that holds `folder` takes no write from anybody. One that turned read-only because it failed
    doesn't say so of itself: it shows when something is made."""
    try:
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return True
        with tempfile.TemporaryFile(dir=folder, buffering=0):
            return False
    except OSError as error:
        return error.errno == errno.EROFS


# SQLite's primary result codes that speak of the disk, not of the database: what stands in it is as it was.
_DISK_CODES = (
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
)  # fmt: skip


def is_about_the_disk(error: sqlite3.Error) -> bool:
    """Whether SQLite failed because of the disk."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISK_CODES


def sqlite_trouble(error: sqlite3.Error, path: Path) -> DiskTrouble | None:
    """The same of an error of SQLite about the database at `path`, which doesn't say why; None where it isn't about the
    disk."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):  # a disk that fails may give no bytes, or wrong ones
        found = look(path.parent)
        return DiskTrouble("I/O error", str(path)) if found is not None and found.cause == "I/O error" else None
    if not is_about_the_disk(error):
        return None
    if code == sqlite3.SQLITE_FULL:
        return DiskTrouble("full", str(path))
    if (found := look(path.parent)) is not None:
        return DiskTrouble(found.cause, str(path))
    if os.path.lexists(path) and not os.access(path, os.R_OK | os.W_OK):
        return DiskTrouble("permission", str(path))
    with contextlib.suppress(OSError):
        if is_short(path.parent):
            return DiskTrouble("full" if _inodes(path) else "no inodes", str(path))
    return DiskTrouble("permission" if code == sqlite3.SQLITE_READONLY else "I/O error", str(path))


def _inodes(path: Path) -> bool:
    """Whether a file can still be made beside `path`, as far as the file system counts."""
    for folder in (path, *path.parents):
        try:
            about = os.statvfs(folder)
        except OSError:
            continue
        return about.f_files == 0 or about.f_favail > 0
    return True
