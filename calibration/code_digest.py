"""Which state of this program's code it is: what was computed by another state is not taken for this one's."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


@cache
def code_digest(*parts: str) -> str:
    """SHA-256 (hex) over the Python files of `parts`: folders, with all below them, and files of this program."""
    digest = hashlib.sha256()
    for part in parts:
        place = _ROOT / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(f"{path.relative_to(_ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()
