"""Some MiB kept in the site folder for the day its disk is full: what must get through then gets their room.

The ballast is a few files, so that giving some up frees bytes and inodes alike. A deed that writes its row, or the live
path that begins, takes from it where the disk is short (`make_room`); `wardpose doctor --mend` gives all of it up where
the disk is full, and lays it down again when there is room.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from calibration.disk import is_short

FILES, EACH_BYTES = 64, 128 << 10
_AT_ONCE = 16  # files given up for one deed
_FREE_BYTES = 4 * FILES * EACH_BYTES  # laid down only where as much is free: it must not be what fills the disk


def folder(root: Path) -> Path:
    return root / "ballast"


def held(root: Path) -> int:
    """Bytes of ballast that lie there."""
    total = 0
    for path in _files(root):
        with contextlib.suppress(OSError):
            total += _bytes(path)
    return total


def lay(root: Path) -> int:
    """Lay down what is missing, where there is ample room; returns the bytes laid down. Never raises for the disk."""
    laid = 0
    for number in range(FILES):
        path = folder(root) / f"{number:02d}"
        with contextlib.suppress(FileNotFoundError):
            if _bytes(path) >= EACH_BYTES:  # a copied site may hold a hole in its place
                continue
        if is_short(root, room=_FREE_BYTES, inodes=100):
            break
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, EACH_BYTES)
            finally:
                os.close(descriptor)
        except OSError:
            break
        laid += EACH_BYTES
    return laid


def make_room(root: Path) -> None:
    """Give up some ballast where the disk is too short for a small deed; does nothing where it isn't."""
    if is_short(root):
        _give_up(root, _AT_ONCE)


def release(root: Path) -> int:
    """Give up all of it; returns the bytes freed."""
    return _give_up(root, FILES)


def _give_up(root: Path, most: int) -> int:
    freed = 0
    for path in _files(root)[-most:]:
        with contextlib.suppress(OSError):
            size = _bytes(path)
            path.unlink()
            freed += size
    if freed:
        with contextlib.suppress(OSError):  # a file system with a log gives blocks out again once that is written
            descriptor = os.open(folder(root), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    return freed


def _files(root: Path) -> list[Path]:
    try:
        return sorted(folder(root).iterdir())
    except OSError:
        return []


def _bytes(path: Path) -> int:
    return path.lstat().st_blocks * 512
