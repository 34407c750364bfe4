"""Running an external trainer: in its own environment, without a network, followed by its own lines of progress."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import math
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.processes import die_with_parent, signal_group
from calibration.progress import Progress
from tuning.external.contract import CHECKPOINT, METRICS, ONNX, ExternalTask

_LOOK_SECONDS = 0.2
_MERCY_SECONDS = 30.0
_NEW_USER, _NEW_NETWORK = 0x1000_0000, 0x4000_0000  # CLONE_NEWUSER, CLONE_NEWNET of Linux
_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41  # SIOCSIFFLAGS; IFF_UP | IFF_RUNNING
_NOTE_LENGTH = 200
_AUTOGROUP = Path("/proc/self/autogroup")
# What a trainer may see of this process's environment; the rest, proxies and tokens among it, stays here.
_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "WARDPOSE_JOB", "OMP_NUM_THREADS")
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1"}


def run_external(
    python: Path, trainer: Path, task: ExternalTask, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Have `trainer` do `task`; returns the lines of its `metrics.jsonl`.

    python: the interpreter of its environment. Blocks until it has ended, with all that it started; an exception from
    `progress` has it save and end, and is raised again. WardposeError with its own last words where it fails, or where
    it was to write a model and wrote none.
    """
    out = Path(task.out)
    out.mkdir(parents=True, exist_ok=True)
    if not python.is_file():
        raise WardposeError(
            "its environment is not there", where=str(python), mend="make it: wardpose setup --external"
        )
    with tempfile.TemporaryDirectory(prefix="wardpose-external-") as home:
        told = Path(home) / "task.json"
        told.write_text(task.model_dump_json(), encoding="utf-8")
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | _OFFLINE | {"HOME": home}
        with (Path(home) / "stderr").open("w+b") as words:
            begin = _as_light_as_this(without_network(die_with_parent(), loopback=task.processes > 1))
            process = subprocess.Popen(
                [str(python), str(trainer), str(told)], cwd=home, env=environment, stdin=subprocess.DEVNULL,
                stdout=words, stderr=words, start_new_session=True, preexec_fn=begin,
            )  # fmt: skip
            try:
                _follow(process, out / METRICS, progress)
            except BaseException:
                _end(process)
                raise
            signal_group(process.pid, signal.SIGKILL)
            words.seek(0)
            said = [line for line in words.read().decode(errors="replace").splitlines() if line.strip()]
    if process.returncode:
        last = said[-1][:300] if said else f"exit code {process.returncode}, without a word"
        if process.returncode == -signal.SIGKILL:
            last = "it was killed, as the system does when memory runs out: give a smaller --batch or --size"
        raise WardposeError(
            f"the trainer of {task.architecture} failed: {last}", where=str(trainer),
            mend="mend that; what it had finished is kept, and the same command goes on from there",
        )  # fmt: skip
    for name in () if task.action == "probe" else (CHECKPOINT, ONNX):
        if not (out / name).is_file():
            raise WardposeError(
                f"the trainer of {task.architecture} ended without writing {name}", where=str(trainer),
                mend="see the contract in tuning/external/contract.py",
            )  # fmt: skip
    return _lines(out / METRICS)


def _as_light_as_this(then: Callable[[], None]) -> Callable[[], None]:
    """For a child in a session of its own: that session weighs as much as this process's does, so that the trainer of a
    job gives way as the job does; then `then`. The kernel's autogroups have a nice value of their own, and a new one
    begins at 0."""
    try:
        weight = _AUTOGROUP.read_text().split()[-1]
    except (OSError, IndexError):  # a kernel without them
        return then

    def begin() -> None:
        with contextlib.suppress(OSError):
            _AUTOGROUP.write_text(weight)
        then()

    return begin


def without_network(before: Callable[[], None], *, loopback: bool = False) -> Callable[[], None]:
    """For a child that is about to become another program: `before`, and a network namespace of its own, in which there
    is nothing. Where the kernel gives none to this user, and in the unit of jobs, which has one already, it stays as it
    is. loopback: the child's own loopback answers, by which its processes speak with each other."""
    libc = ctypes.CDLL(None)
    request = struct.pack("16sH14x", b"lo", _UP_AND_RUNNING)

    def begin() -> None:
        if libc.unshare(_NEW_USER | _NEW_NETWORK):
            libc.unshare(_NEW_NETWORK)  # root needs no namespace of users for it
        if loopback:  # refused where the namespace is not ours, whose loopback is up already
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                fcntl.ioctl(any_socket, _SET_FLAGS, request)
        before()

    return begin


def _follow(process: subprocess.Popen[bytes], metrics: Path, progress: Progress | None) -> None:
    """Tell of each new line until the process has ended."""
    while True:
        ended = process.poll() is not None
        if progress and (lines := _lines(metrics)):
            last = lines[-1]
            step, steps, loss = (_number(last.get(name)) for name in ("step", "steps", "loss"))
            progress(int(step), int(steps), f"loss {loss:.4g}{_note(last)}")
        elif progress:
            progress(0, 0, "the trainer is starting")
        if ended:
            return
        time.sleep(_LOOK_SECONDS)


def _note(line: dict[str, Any]) -> str:
    """What the trainer says beside its numbers, as the end of a line."""
    said = " ".join(str(line.get("note") or "").split())[:_NOTE_LENGTH]
    return f"  {said}" if said else ""


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines written so far; of a step that stands twice, after a resume, the later one."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    steps: dict[Any, dict[str, Any]] = {}
    for line in text.splitlines(keepends=True):
        if not line.endswith("\n"):
            continue
        try:
            row = parse_json(line)
        except (ValueError, json.JSONDecodeError):
            continue
        if isinstance(row, dict):
            steps[row.get("step")] = row
    return list(steps.values())


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to save and end; what does not end is killed, with all it started."""
    signal_group(process.pid, signal.SIGINT)
    try:
        process.wait(_MERCY_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    signal_group(process.pid, signal.SIGKILL)
    process.wait()
