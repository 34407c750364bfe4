"""A process of its own for what strangers wrote: bounded in memory, processor time and what it writes, and closed to
network, other programs and other processes.

The bounds are the kernel's resource limits and a seccomp filter. The filter comes through pyseccomp, the one module
that imports it, and wants the system's libseccomp; where that is missing the limits alone hold.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from calibration.disk import DiskError
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.memory import keep_out_of_dumps
from calibration.processes import die_with_parent

CPU_SECONDS = 150  # of a large file; a small one has so many, and some more for each MiB
LEAST_CPU_SECONDS, CPU_SECONDS_A_MIB = 45, 2
# Of a step that a file can make endless: so many, or so many times what this box took until then, to load the libraries
# that take it. The largest models of a few MiB want a fifth of it; larger files have more for each MiB.
STEP_SECONDS, STEP_TIMES = 10, 3
WALL_SECONDS = 600.0  # for a box that does much else meanwhile
LEAST_BYTES = 2 * 2**30
BYTES_A_BYTE = 8  # of memory, of the file that is read: its tensors are widened, copied and loaded by a library
WRITTEN_BYTES = 4 * 2**30
_REPOSITORY = Path(__file__).resolve().parents[1]
_CONFINED = "WARDPOSE_CONFINED"
_CLONE_THREAD = 0x0001_0000
# What reading a file and running a model never wants: other programs, the network, other processes, the kernel's own.
_FORBIDDEN = (
    "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "execve", "execveat", "fork", "vfork",
    "ptrace", "process_vm_readv", "process_vm_writev", "kill", "tkill", "pidfd_open", "pidfd_getfd",
    "pidfd_send_signal", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_by_handle_at", "bpf",
    "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "kexec_load", "kexec_file_load",
    "init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff", "io_uring_setup", "personality",
    "iopl", "ioperm", "acct", "quotactl", "settimeofday", "clock_settime", "sethostname", "setdomainname",
)  # fmt: skip


def run_confined(
    module: str, arguments: Sequence[str], *, where: str, size: int, mend: str, cpu_seconds: float | None = None,
    wall_seconds: float = WALL_SECONDS, least_bytes: int = LEAST_BYTES,
) -> str:  # fmt: skip
    """Run `python -m module arguments…`, whose `main` is wrapped in `confined`; returns what it printed.

    size: of the file it reads, in bytes, by which its memory and its processor time are measured. Raises the
    WardposeError that it ended with; or one that names `where` and the bound that it ran into, with `mend`.
    """
    memory = min(least_bytes + BYTES_A_BYTE * size, max(least_bytes, _memory_of_box() * 3 // 4))
    if cpu_seconds is None:
        cpu_seconds = min(CPU_SECONDS, LEAST_CPU_SECONDS + CPU_SECONDS_A_MIB * size / 2**20)
    begin = _limits(memory, int(cpu_seconds) + 1)
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], capture_output=True, timeout=wall_seconds, check=False,
            cwd=_REPOSITORY, env=os.environ | {_CONFINED: "1"}, stdin=subprocess.DEVNULL, preexec_fn=begin,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise WardposeError(f"it was not done within {wall_seconds:.0f} s", where=where, mend=mend) from None
    text = done.stdout.decode(errors="replace")
    if done.returncode == 0:
        return text
    raise _told(text, where) or WardposeError(_why(done, text, memory, cpu_seconds), where=where, mend=mend)


def confined(main: Callable[[], None]) -> int:
    """Run `main` in this process, which `run_confined` started, behind the filter; returns the exit code. An error that
    a person can mend is printed for `run_confined` to raise again."""
    keep_out_of_dumps()
    forbid()
    try:
        main()
    except WardposeError as error:
        told = {"what": error.what, "where": error.where, "mend": error.mend}
        print(json.dumps({"refused": told, "disk": isinstance(error, DiskError)}))
        return 2
    except MemoryError:
        return 3
    return 0


@contextlib.contextmanager
def hurried(step: str, size: int) -> Iterator[None]:
    """Bound what a file of `size` bytes may make of the block, where this process was started by `run_confined`: the
    budget for all of it is for boxes that take long to load libraries, and a file that never ends would use it up.
    step: how the block is called where it isn't done in time."""
    if not is_confined():
        yield
        return
    used = time.process_time()
    more = max(STEP_SECONDS, STEP_TIMES * used) + CPU_SECONDS_A_MIB * size / 2**20
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(used + more)
    if most != resource.RLIM_INFINITY and until >= most:  # what bounds all of it comes first
        yield
        return
    print(json.dumps({"step": f"{step} was not done within {more:.0f} s of processor time"}), flush=True)
    resource.setrlimit(resource.RLIMIT_CPU, (until, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (most, most))
        print(json.dumps({"step": ""}), flush=True)


def is_confined() -> bool:
    """Whether this process was started by `run_confined`."""
    return os.environ.get(_CONFINED) == "1"


def forbid() -> bool:
    """Close this process to other programs, processes and the network, for good; False where this box has no filter."""
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError):  # it looks for the system's library when it is imported
        return False
    try:
        rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
        rules.set_attr(pyseccomp.Attr.CTL_TSYNC, 1)  # the threads that libraries have begun as well
        refused = pyseccomp.ERRNO(errno.EPERM)
        for name in _FORBIDDEN:
            _forbid_one(rules, refused, name)
        # Threads may be made, processes not. clone3 hides which in memory: without it the C library falls back.
        _forbid_one(rules, pyseccomp.ERRNO(errno.ENOSYS), "clone3")
        a_process = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, 0)
        rules.add_rule(refused, "clone", a_process)
        rules.load()
    except (OSError, ValueError, RuntimeError):  # a kernel without it
        return False
    return True


def _forbid_one(rules: object, refused: object, name: str) -> None:
    try:
        rules.add_rule(refused, name)  # type: ignore[attr-defined]
    except (OSError, ValueError, RuntimeError):
        return  # this processor's kernel has no such call


def _limits(memory: int, seconds: int) -> Callable[[], None]:
    die = die_with_parent()

    def begin() -> None:
        die()
        # RLIMIT_DATA counts what is its own to write: no libraries and reserved addresses, as RLIMIT_AS would.
        for limit, most in (
            (resource.RLIMIT_DATA, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_FSIZE, WRITTEN_BYTES),
        ):  # fmt: skip
            hard = resource.getrlimit(limit)[1]
            bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(limit, (bound, bound))

    return begin


def _memory_of_box() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _told(text: str, where: str) -> WardposeError | None:
    try:
        answer = parse_json(text.strip().splitlines()[-1])
        said, kind = answer["refused"], DiskError if answer["disk"] else WardposeError
        return kind(str(said["what"]), where=str(said["where"] or where), mend=str(said["mend"]))
    except (IndexError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _why(done: subprocess.CompletedProcess[bytes], text: str, memory: int, cpu_seconds: float) -> str:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    last = lines[-1] if lines else ""
    if done.returncode in (-24, -9):  # SIGXCPU, or SIGKILL after it
        with contextlib.suppress(IndexError, ValueError, KeyError, TypeError):
            if step := parse_json(text.strip().splitlines()[-1])["step"]:
                return str(step)
        return f"it was not done within {cpu_seconds:.0f} s of processor time"
    if done.returncode == 3 or "MemoryError" in last or "bad_alloc" in last:
        return f"it asks for more than {memory / 2**30:.1f} GiB of memory"
    if done.returncode < 0:
        return f"the library that reads it crashed (signal {-done.returncode})"
    return f"it can't be read ({last[:200] or f'exit code {done.returncode}'})"
