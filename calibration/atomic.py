"""Files that are either wholly there or not there at all, whatever instant the power fails."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from calibration.disk import trouble_of
from calibration.errors import WardposeError

# What is wrong with a name, and with no disk.
_MEND = {
    errno.ENOENT: "name a place that is there",
    errno.ENOTDIR: "a file stands where a folder should: name another place",
    errno.EEXIST: "a file stands where a folder should: name another place",
    errno.EISDIR: "name a file", errno.ENAMETOOLONG: "name a shorter one",
    errno.ELOOP: "its links lead in a circle: name another place",
}  # fmt: skip


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_file(path: Path, *, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """Open a temporary beside `path` for writing; it takes the name `path` when the block ends without an error.

    Raises `WardposeError` when the disk is full or the folder can't be written; the old file then stands unharmed.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        temporary = ""
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path) from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def require_file_place(path: Path) -> None:
    """Say before long work, not behind it, that a file can't be written at `path`; raises `WardposeError`."""
    if path.is_dir():
        raise WardposeError("is a folder", where=str(path), mend="name a file")
    there = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    try:
        with tempfile.NamedTemporaryFile(prefix=".", suffix=".part", dir=there):
            pass
    except OSError as error:
        raise disk_error(error, there) from error


@contextlib.contextmanager
def whole_folder(target: Path, *, mode: int = 0o755) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when all went well; otherwise nothing is left of it.

    Raises `WardposeError` where something stands at `target` by then: of two who make it at once one does.
    """
    workplace = Path()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        yield workplace
        workplace.chmod(mode)
        _take_name(workplace, target)
    except BaseException:
        if workplace.name:
            shutil.rmtree(workplace, ignore_errors=True)
        raise


def _take_name(workplace: Path, target: Path) -> None:
    try:
        workplace.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise WardposeError("something is here already", where=str(target), mend="choose another name") from None
        raise disk_error(error, target) from error


def write_bytes(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` by `content` in one step."""
    with atomic_file(path, mode=mode) as stream:
        stream.write(content)


def write_text(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace `path` by `text` (UTF-8) in one step."""
    write_bytes(path, text.encode(), mode=mode)


def disk_error(error: OSError, path: Path | str) -> WardposeError:
    """The one-line form of an operating-system error about a file; of a disk that can't be written, a `DiskError`."""
    if (trouble := trouble_of(error, path)) is not None:
        return trouble.error()
    reason = (error.strerror or str(error)).lower()
    mend = _MEND.get(error.errno or 0, "check the disk, then give the command again")
    return WardposeError(reason, where=str(path), mend=mend)
