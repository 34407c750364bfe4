"""A process that crashes with frames in its memory leaves no file of it; what it frees goes back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from calibration.memory import keep_out_of_dumps
from tests.conftest import REPOSITORY

CRASH = """
import os, resource, sys
sys.path.insert(0, {repository!r})
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
{call}
if os.fork() == 0:
    os.abort()
os.wait()
os.abort()
"""
CALL = "from calibration.memory import keep_out_of_dumps; keep_out_of_dumps()"
SETTING_UP = {"environment.py", "fetch.py"}  # run before there is anything to see
PATTERN = Path("/proc/sys/kernel/core_pattern")


def crash(folder: Path, call: str) -> list[str]:
    subprocess.run(
        [sys.executable, "-c", CRASH.format(repository=str(REPOSITORY), call=call)],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    return [path.name for path in folder.iterdir()]


def test_neither_a_crash_nor_one_of_a_child_leaves_a_core_file(tmp_path: Path) -> None:
    if not re.fullmatch(r"[\w.%-]+", PATTERN.read_text().strip()):
        pytest.skip("this system writes core files elsewhere")
    without = tmp_path / "without"
    without.mkdir()
    if not crash(without, ""):
        pytest.skip("this system writes no core files anyway")
    kept = tmp_path / "with"
    kept.mkdir()
    assert crash(kept, CALL) == []


def programs() -> list[Path]:
    """Every module of the floors that hold frames which is run as a program."""
    found = [path for floor in ("runtime", "appliance") for path in (REPOSITORY / floor).rglob("*.py")]
    return sorted(
        path for path in found if '__name__ == "__main__"' in path.read_text() and path.name not in SETTING_UP
    )


@pytest.mark.parametrize("program", programs(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_every_program_keeps_its_memory_out_of_dumps(program: Path) -> None:
    text = program.read_text()
    delegated = re.search(r"from (appliance\.cli\.main) import main", text)
    if delegated:
        text = (REPOSITORY / (delegated[1].replace(".", "/") + ".py")).read_text()
    if program.name == "kinect_worker.py":  # runs in the Kinect's own environment, and inherits the limit
        text = (REPOSITORY / "runtime" / "capture" / "process.py").read_text()
    assert re.search(r"^ +(keep_out_of_dumps\(\)|program\.prepare\(\)|sys\.exit\(confined\()", text, re.MULTILINE)


def test_it_may_be_called_again_and_where_core_files_are_forbidden() -> None:
    code = (
        f"import sys, resource; sys.path.insert(0, {str(REPOSITORY)!r}); "
        f"from calibration.memory import {keep_out_of_dumps.__name__} as call; call(); call(); "
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); call(); print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "(0, 0)\n"


READS_MODELS = """
import sys
sys.path.insert(0, {repository!r})
import psutil
from calibration.memory import {name}
{name}()
process, small = psutil.Process(), []
before = process.memory_full_info().uss
for _ in range(4):
    large = bytes(bytearray(b"x" * (20 << 20)))
    small.append(bytes(2000))  # lies above it, where both are of the heap
    del large
print((process.memory_full_info().uss - before) >> 20)
"""


def kept_mib(name: str) -> int:
    code = READS_MODELS.format(repository=str(REPOSITORY), name=name)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_what_a_service_reads_and_frees_goes_back_to_the_system() -> None:
    assert kept_mib("give_back_freed_memory") <= 2


def test_what_a_training_frees_is_kept_for_its_next_step() -> None:
    assert kept_mib("keep_freed_memory") >= 15
