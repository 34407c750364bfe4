"""Knowing a process again, and not leaving one behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def process_identity(pid: int) -> str:
    """`boot:pid:start`, which no other process ever has; empty when there is no such process.

    A bare pid is given again to others after a while, and after a restart of the box.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    if fields[0] in "ZX":  # dead, only not yet reaped
        return ""
    return f"{boot}:{pid}:{fields[19]}"


def is_running(identity: str) -> bool:
    """Whether the very process of that identity still runs."""
    return bool(identity) and process_identity(pid_of(identity)) == identity


def pid_of(identity: str) -> int:
    return int(identity.split(":")[1])


def die_with_parent(deadly_signal: int = signal.SIGKILL) -> Callable[[], None]:
    """A `preexec_fn` after which the kernel sends `deadly_signal` to the child when the *thread* that started it ends.

    So the starting thread must live as long as the child should, even where the parent is killed with -9.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, int(deadly_signal), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the request was made
            os._exit(1)

    return arrange


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


def signal_group(pid: int, number: int) -> bool:
    """Send a signal to the whole session of a child that was started in one of its own; False when it is gone."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def busy_ns(pid: int, *, running: bool = True) -> dict[int, int]:
    """How long (ns) each thread of a process has waited for a processor, and with `running` also had one: what only
    sleeps is at neither. Empty where the kernel does not count."""
    found = {}
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            ran, waited = path.read_text().split()[:2]
            found[int(path.parent.name)] = int(waited) + (int(ran) if running else 0)
    return found


def busiest_s(before: Mapping[int, int], now: Mapping[int, int]) -> float:
    """How long (s) the busiest thread was so between two answers of `busy_ns`."""
    return max((count - before.get(thread, 0) for thread, count in now.items()), default=0) / 1e9
