"""What a process arranges for itself: to end with the one that started it, and to show no password to `ps`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from calibration.redaction import redacted

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel kill this helper of a `multiprocessing` pool when the thread that started it ends, whatever ends
    it; at once where the parent is gone already.

    A helper calls this before anything that takes time. The thread that starts helpers must live as long as they
    should.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None and os.getppid() != parent.pid:
        os._exit(1)


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
