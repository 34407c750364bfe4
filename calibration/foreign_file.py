"""The bytes of a file that somebody brings: of a file alone, which has an end, and of one that is not too large."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MOST_BYTES = 1 << 30
_PIECE = 1 << 20


def foreign_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """What the file holds; an OSError where it can't be read, is no file (a pipe would be waited for, a device has no
    end), or holds more than `most` bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as stream:
        about = os.fstat(descriptor)
        if stat.S_ISDIR(about.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "is a pipe or a device, not a file", str(path))
        pieces, left = [], most + 1  # what the kernel makes up, as in /proc, has no size
        while left > 0 and (piece := stream.read(min(left, _PIECE))):
            pieces.append(piece)
            left -= len(piece)
    if left <= 0:
        raise OSError(errno.EFBIG, f"is larger than {most >> 20} MiB", str(path))
    return b"".join(pieces)
