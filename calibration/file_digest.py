"""What names a file by its content."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(path: Path, before: bytes = b"") -> str:
    """SHA-256 of a file in 64 hex digits, of `before` and the file where that is given.

    Read piece by piece: a process that lives for months and read models whole would keep their room. Raises `OSError`.
    """
    digest = hashlib.sha256(before)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: digest).hexdigest()
