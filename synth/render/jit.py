"""Numba, with its compiled code kept where a read-only checkout can still find it.

Every module that compiles kernels takes `njit` from here, so that the cache's place is settled before the first
compilation: where `kernel_cache` says, else it is compiled anew in each process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from synth.render.kernel_cache import cache_folder

Function = TypeVar("Function", bound=Callable[..., Any])


CACHE_FOLDER = cache_folder()
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
