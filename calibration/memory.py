"""Keeping what a process has in memory out of what the system writes when it crashes."""

from __future__ import annotations

import resource


def keep_out_of_dumps() -> None:
    """From now on a crash of this process, and of every child of it, leaves no core file.

    A limit of one byte, not of none: Linux then gives nothing to a handler named in core_pattern either, which with a
    limit of none is run all the same (fs/coredump.c).
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    least = 0 if most == 0 else 1  # nobody but root may raise what whoever started us has forbidden
    resource.setrlimit(resource.RLIMIT_CORE, (least, least))
