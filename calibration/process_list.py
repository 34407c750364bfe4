"""What a process shows of itself in the list of processes: no password."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from calibration.redaction import redacted


def hide_secrets_in_arguments() -> None:
    """Overwrite the passwords of cameras in this process's own command line, as `ps` and /proc/PID/cmdline show it.

    A person may name a camera with its password behind `--source`; every user of the box can read that for as long as
    the command runs. Python's own copy of the arguments stays. Where the kernel doesn't say where they lie, nothing is
    done.
    """
    if all(redacted(argument) == argument for argument in sys.orig_argv):
        return
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
        shown = Path("/proc/self/cmdline").read_bytes()
        if not begin < end or len(shown) != end - begin or ctypes.string_at(begin, end - begin) != shown:
            return
    except (OSError, ValueError, IndexError):
        return
    hidden = b"\0".join(os.fsencode(redacted(os.fsdecode(word))) for word in shown.split(b"\0"))
    ctypes.memmove(begin, hidden[: len(shown)].ljust(len(shown), b"\0"), len(shown))
