"""Numba, with its compiled code kept where a read-only checkout can still find it.

Every module that compiles kernels takes `njit` from here, so that the cache's place is settled before the first
compilation. The code is cached under the environment (`<prefix>/share/wardpose/numba`), else under the user's cache
folder, else compiled anew in each process. There each state of the kernels has a folder of its own: numba looks for
changes in a kernel's own file only, not in those whose kernels it calls and whose constants it holds.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def kernels_digest(folder: Path) -> str:
    """Names the state of the modules in `folder`: kernels, and the constants they were compiled with."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _cache_folder() -> Path | None:
    named = os.environ.get("NUMBA_CACHE_DIR")
    candidates = [Path(named)] if named else []
    candidates.append(Path(sys.prefix) / "share" / "wardpose" / "numba")
    user_cache = os.environ.get("XDG_CACHE_HOME")
    home = os.environ.get("HOME")
    if user_cache:
        candidates.append(Path(user_cache) / "wardpose" / "numba")
    elif home:
        candidates.append(Path(home) / ".cache" / "wardpose" / "numba")
    state = kernels_digest(Path(__file__).parent)
    # What another process was told by this one, through the environment, is the folder itself.
    folders = (base if base.name == state else base / state for base in candidates)
    return next((folder for folder in folders if _writable(folder)), None)


CACHE_FOLDER = _cache_folder()
if CACHE_FOLDER is not None:
    os.environ["NUMBA_CACHE_DIR"] = str(CACHE_FOLDER)

import numba  # noqa: E402  (its configuration is read at import)

if CACHE_FOLDER is not None:
    numba.config.CACHE_DIR = str(CACHE_FOLDER)  # where numba had been imported before us


def njit(function: Function) -> Function:
    """Compile without fast-math and without threads: the same input gives the same bytes on every run.

    Division by zero gives infinity as in numpy; testing each divisor would keep loops from being vectorised.
    """
    compiled: Function = numba.njit(cache=CACHE_FOLDER is not None, error_model="numpy")(function)
    return compiled


def inlined(function: Function) -> Function:
    """Like `njit`, spliced into the kernels that call it: passing many arrays costs more than a small kernel does."""
    compiled: Function = numba.njit(inline="always", error_model="numpy")(function)
    return compiled
