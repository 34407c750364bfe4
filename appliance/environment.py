"""Makes the checkout's Python environment: `.venv`, no root, no compiler, no system package.

Runs before anything is installed, so it imports the standard library alone. Each step leaves a mark when it is
finished: an interrupted set-up goes on where it stopped, a finished one does nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

# The oldest and the newest Python that the pinned packages are there for; the launcher and pyproject.toml say the same.
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)


class SetupFailed(Exception):
    """A step that did not finish; the message is one line for a person."""


class LeftOut(Exception):
    """An optional step that did not finish; the message is its last line."""


@dataclass(frozen=True)
class Step:
    """One command of the set-up; `inputs` decide whether it must be done again."""

    name: str
    title: str
    commands: tuple[tuple[str, ...], ...]
    inputs: str = ""
    optional: bool = False  # wardpose does without it; nothing that follows needs it

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr((self.commands, self.inputs)).encode()).hexdigest()


def has_nvidia_driver() -> bool:
    """Whether the kernel's NVIDIA driver is loaded; decides between the CPU and the CUDA packages."""
    return Path("/proc/driver/nvidia/version").exists()


def python_name() -> str:
    """Such as python3.13: the running interpreter, as its folder of packages is called."""
    return f"python{sys.version_info[0]}.{sys.version_info[1]}"


def plan(root: Path) -> list[Step]:
    """The steps in order, read from pyproject.toml and constraints.txt."""
    with open(root / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)
    constraints = root / "constraints.txt"
    pinned = constraints.read_text()
    extras = project["project"]["optional-dependencies"]
    gpu = has_nvidia_driver()
    chosen = list(project["project"]["dependencies"])
    for extra in ("pose", "train", "preview", "pyrender", "test"):
        chosen += extras[extra]
    if not gpu:
        chosen += extras["cpu"]
    torch = [name for name in chosen if name.startswith("torch==")]
    others = sorted({name for name in chosen if not name.startswith("torch==")})

    python = str(root / ".venv" / "bin" / "python")
    pip = (python, "-m", "pip", "--disable-pip-version-check", "--no-input")
    install = (*pip, "install", "--progress-bar", "off", "--constraint", str(constraints))
    wheels = (*install, "--only-binary", ":all:")
    local = (*pip, "install", "--no-deps", "--no-build-isolation")
    bare = project["tool"]["wardpose"]["without-dependencies"]

    steps = [
        Step(
            "venv",
            f"environment for {python_name()} in .venv",
            ((sys.executable, "-m", "venv", str(root / ".venv")),),
            python_name(),
        ),
        Step("torch", "PyTorch (the largest download)", ((*wheels, *torch),), pinned),
        Step("packages", f"{len(others)} packages and what they need", ((*wheels, *others),), pinned),
        Step("trainers", "training frameworks", ((*wheels, "--no-deps", *bare),), pinned),
    ]
    if gpu:  # tensorrt is a source package that fetches NVIDIA's libraries while it builds
        steps.append(Step("gpu", "CUDA inference packages", ((*install, *extras["gpu"]),), pinned))
    else:
        steps.append(
            Step(
                "torchvision",
                "stand-in for torchvision on a CPU",
                ((*local, str(root / "appliance" / "cpu_torchvision")),),
            )
        )
    steps += [
        Step(
            "wardpose", "wardpose itself", ((*local, "--editable", str(root)),), (root / "pyproject.toml").read_text()
        ),
        Step(
            "warm",
            "body model and renderer, prepared once (about two minutes)",
            ((python, "-m", "synth.warm_up"),),
            pinned,
        ),
        Step(
            "models",
            "models trained on photographs (144 MB to download)",
            ((python, "-m", "appliance.models.fetch"),),
            (root / "tuning" / "pretrained.py").read_text(),
            optional=True,
        ),
    ]
    return steps


class Reporter:
    """One line a step: on a terminal it is rewritten with the command's latest words, elsewhere it is plain."""

    def __init__(self, total: int) -> None:
        self.total, self.terminal = total, sys.stderr.isatty()

    def show(self, number: int, title: str, seconds: float, note: str) -> None:
        if not self.terminal:
            return
        width = shutil.get_terminal_size().columns - 1
        filled = 20 * (number - 1) // self.total
        line = f"[{'#' * filled}{'.' * (20 - filled)}] {number}/{self.total} {title} ({seconds:.0f} s) {note}"
        sys.stderr.write("\r\033[K" + line[:width])
        sys.stderr.flush()

    def finish(self, number: int, title: str, outcome: str) -> None:
        start = "\r\033[K" if self.terminal else ""
        sys.stderr.write(f"{start}  {number}/{self.total} {title}: {outcome}\n")
        sys.stderr.flush()


def run_step(step: Step, number: int, root: Path, log: Path, reporter: Reporter) -> float:
    """Runs the step's commands, everything they say going to `log`; returns the seconds it took.

    Raises LeftOut, with the command's last words, where an optional step fails.
    """
    started = time.monotonic()
    environment = os.environ | {"PYTHONNOUSERSITE": "1", "PIP_REQUIRE_VIRTUALENV": "0"}
    environment.pop("PYTHONPATH", None)
    for command in step.commands:
        with open(log, "a", encoding="utf-8") as record:
            record.write(f"\n$ {' '.join(command)}\n")
            process = subprocess.Popen(
                command,
                cwd=root,
                env=environment,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            last = [""]

            def follow(
                process: subprocess.Popen[str] = process, record: TextIO = record, last: list[str] = last
            ) -> None:
                assert process.stdout is not None
                for line in process.stdout:
                    record.write(line)
                    record.flush()
                    if line.strip():
                        last[0] = line.strip()

            reader = threading.Thread(target=follow, daemon=True)
            reader.start()
            try:
                while process.poll() is None:
                    reporter.show(number, step.title, time.monotonic() - started, last[0])
                    time.sleep(0.2)
            except KeyboardInterrupt:
                process.terminate()
                process.wait()
                raise
            reader.join()
        if process.returncode != 0 and step.optional:
            raise LeftOut(last[0] or f"exit code {process.returncode}")
        if process.returncode != 0:
            raise SetupFailed(
                f"set-up step {number} ({step.title}) failed: {last[0] or f'exit code {process.returncode}'}; "
                f"the whole output is in {log}; mend the cause and run the same command again, it goes on from here"
            )
    return time.monotonic() - started


def make_environment(root: Path, fingerprint: str, steps: Sequence[Step]) -> None:
    """Does every step that is not yet done, then writes the mark by which the launcher knows."""
    environment = root / ".venv"
    environment.mkdir(exist_ok=True)
    ready, marks, log = environment / "wardpose-ready", environment / "wardpose-steps.json", environment / "setup.log"
    with open(environment / "wardpose-lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("wardpose: another set-up is under way in this checkout; waiting for it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if ready.exists() and ready.read_text() == fingerprint:
            return
        clear_of_another_python(environment)
        try:
            done: dict[str, str] = json.loads(marks.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            done = {}
        free = shutil.disk_usage(root).free
        if not done and free < 6 << 30:
            raise SetupFailed(
                f"{root}: {free / 2**30:.1f} GiB are free, the environment needs about 6; "
                "make room and run the same command again"
            )
        print(
            f"wardpose: making its environment in {environment} (once; about 4 GB on disk; every word in {log})",
            file=sys.stderr,
        )
        reporter = Reporter(len(steps))
        again = False  # once a step is redone, so is all that follows it
        for number, step in enumerate(steps, 1):
            if not again and done.get(step.name) == step.fingerprint:
                reporter.finish(number, step.title, "already done")
                continue
            if not again:
                # Forgotten at once: were they kept, an interrupted set-up would take them for done on top of this one.
                again, done = True, {before.name: before.fingerprint for before in steps[: number - 1]}
                write(marks, json.dumps(done))
            try:
                seconds = run_step(step, number, root, log, reporter)
            except LeftOut as reason:
                reporter.finish(number, step.title, f"left out: {reason}")
                continue
            done[step.name] = step.fingerprint
            write(marks, json.dumps(done))
            reporter.finish(number, step.title, f"{seconds:.0f} s")
        write(ready, fingerprint)


def clear_of_another_python(environment: Path) -> None:
    """Remove what was installed for another Python: its links and packages would lie beside this one's, unseen."""
    if not (environment / "lib").is_dir() or (environment / "lib" / python_name()).is_dir():
        return
    for path in environment.iterdir():
        if path.name in {"wardpose-lock", "setup.log"}:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def write(path: Path, text: str) -> None:
    """Replaces a small file in one step."""
    temporary = path.with_suffix(".part")
    temporary.write_text(text)
    os.replace(temporary, path)


def main(arguments: Sequence[str]) -> int:
    root, fingerprint = Path(arguments[0]), arguments[1]
    try:
        make_environment(root, fingerprint, plan(root))
    except SetupFailed as failure:
        print(f"wardpose: {failure}", file=sys.stderr)
        return 1
    except OSError as failure:
        print(
            f"wardpose: {failure.filename or root}: {failure.strerror}; "
            "make the checkout writable or free some room, then run the same command again",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\nwardpose: set-up stopped; run the same command again, it goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
