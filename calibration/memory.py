"""What becomes of a process's memory: at a crash, and when it is freed."""

from __future__ import annotations

import ctypes
import resource

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # names of glibc's malloc.h


def keep_out_of_dumps() -> None:
    """From now on a crash of this process, and of every child of it, leaves no core file.

    A limit of one byte, not of none: Linux then gives nothing to a handler named in core_pattern either, which with a
    limit of none is run all the same (fs/coredump.c).
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    least = 0 if most == 0 else 1  # nobody but root may raise what whoever started us has forbidden
    resource.setrlimit(resource.RLIMIT_CORE, (least, least))


def keep_freed_memory() -> None:
    """Have glibc keep what it is given back instead of returning it to the system, for the rest of this process.

    A training frees and asks for the same tensors at every step; each would be mapped anew, and its pages zeroed by the
    system at the first touch: a good part of the time of a step on a CPU. Tensors beyond the threshold are mapped as
    before. Elsewhere than on glibc nothing changes.
    """
    _set_malloc({_MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 512 << 20})  # the largest that glibc takes


def give_back_freed_memory() -> None:
    """Have glibc return large pieces to the system when they are freed, for the rest of this process.

    For what lives for months: by itself glibc takes the largest piece ever freed for usual and keeps so much from then
    on, for each of several threads. Call it before threads are started.
    """
    _set_malloc({_MMAP_THRESHOLD: 128 << 10, _TRIM_THRESHOLD: 128 << 10, _ARENA_MAX: 1})


def _set_malloc(values: dict[int, int]) -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for name, value in values.items():
        mallopt(name, value)
