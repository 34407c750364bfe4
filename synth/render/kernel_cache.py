"""Where compiled kernels are kept, and which of them nobody uses any more. Imports nothing heavy.

They lie under the environment (`<prefix>/share/wardpose/numba`), else under the user's cache folder. There each state
of the kernels has a folder of its own: numba looks for changes in a kernel's own file only, not in those whose kernels
it calls and whose constants it holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import tempfile
import time
from pathlib import Path

UNUSED_S = 14 * 86_400.0  # other checkouts may share the place; for them, deleting means compiling anew
_STATE = re.compile(r"[0-9a-f]{12}")


def kernels_digest(folder: Path) -> str:
    """Names the state of the modules in `folder`: kernels, and the constants they were compiled with."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def cache_folder() -> Path | None:
    """The folder of the present state's kernels, marked as used now; None where none can be written."""
    state = kernels_digest(Path(__file__).parent)
    # What another process was told by this one, through the environment, is the folder itself.
    for base in _places():
        folder = base if base.name == state else base / state
        if _writable(folder):
            with contextlib.suppress(OSError):
                os.utime(folder)
            return folder
    return None


def unused_kernels() -> list[Path]:
    """The folders of other states that nobody has used for two weeks."""
    state, now, found = kernels_digest(Path(__file__).parent), time.time(), []
    for base in _places():
        for folder in (base.parent if _STATE.fullmatch(base.name) else base).glob("*"):
            with contextlib.suppress(OSError):
                if _STATE.fullmatch(folder.name) and folder.name != state and folder.is_dir():
                    newest = max(each.stat().st_mtime for each in (folder, *folder.rglob("*")))
                    if now - newest > UNUSED_S and os.access(folder, os.W_OK):
                        found.append(folder)
    return found


def _places() -> list[Path]:
    named, user_cache, home = (os.environ.get(name) for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"))
    places = [Path(named)] if named else []
    places.append(Path(sys.prefix) / "share" / "wardpose" / "numba")
    if user_cache:
        places.append(Path(user_cache) / "wardpose" / "numba")
    elif home:
        places.append(Path(home) / ".cache" / "wardpose" / "numba")
    return places


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
