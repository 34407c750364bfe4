"""Running an external trainer: in its own environment, without a network, followed by its own lines of progress."""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
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
# What a trainer may see of this process's environment; the rest, proxies and tokens among it, stays here.
_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "WARDPOSE_JOB", "OMP_NUM_THREADS")
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1"}


def run_external(
    python: Path, trainer: Path, task: ExternalTask, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Have `trainer` do `task`; returns the lines of its `metrics.jsonl`.

    python: the interpreter of its environment. Blocks until it has ended; an exception from `progress` has it save and
    end, and is raised again. WardposeError with its own last words where it fails, or where it wrote no model.
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
            begin = without_network(die_with_parent())
            process = subprocess.Popen(
                [str(python), str(trainer), str(told)], cwd=home, env=environment, stdin=subprocess.DEVNULL,
                stdout=words, stderr=words, start_new_session=True, preexec_fn=begin,
            )  # fmt: skip
            try:
                _follow(process, out / METRICS, progress)
            except BaseException:
                _end(process)
                raise
            words.seek(0)
            said = [line for line in words.read().decode(errors="replace").splitlines() if line.strip()]
    if process.returncode:
        last = said[-1][:300] if said else f"exit code {process.returncode}, without a word"
        raise WardposeError(
            f"the trainer of {task.architecture} failed: {last}", where=str(trainer),
            mend="mend that; what it had finished is kept, and the same command goes on from there",
        )  # fmt: skip
    for name in (CHECKPOINT, ONNX):
        if not (out / name).is_file():
            raise WardposeError(
                f"the trainer of {task.architecture} ended without writing {name}", where=str(trainer),
                mend="see the contract in tuning/external/contract.py",
            )  # fmt: skip
    return _lines(out / METRICS)


def without_network(before: Callable[[], None]) -> Callable[[], None]:
    """For a child that is about to become another program: `before`, and a network namespace of its own, in which there
    is nothing. Where the kernel gives none to this user, and in the unit of jobs, which has one already, it stays as it
    is."""
    libc = ctypes.CDLL(None)

    def begin() -> None:
        if libc.unshare(_NEW_USER | _NEW_NETWORK):
            libc.unshare(_NEW_NETWORK)  # root needs no namespace of users for it
        before()

    return begin


def _follow(process: subprocess.Popen[bytes], metrics: Path, progress: Progress | None) -> None:
    """Tell of each new line until the process has ended."""
    while True:
        ended = process.poll() is not None
        if progress and (lines := _lines(metrics)):
            last = lines[-1]
            step, steps, loss = (_number(last.get(name)) for name in ("step", "steps", "loss"))
            progress(int(step), int(steps), f"loss {loss:.4g}")
        elif progress:
            progress(0, 0, "the trainer is starting")
        if ended:
            return
        time.sleep(_LOOK_SECONDS)


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
