"""Model files of a few hundred bytes that hang their reader or fill its memory are refused in one line."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import hostile_files
from calibration import confinement
from calibration.errors import WardposeError
from runtime.engines.trial import run_once
from tests.conftest import REPOSITORY
from tuning.families.family import ImportWish
from tuning.import_process import import_confined
from tuning.store.checkpoint import read_checkpoint
from tuning.store.foreign import read_foreign


def test_a_checkpoint_that_asks_for_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path, said in hostile_files.checkpoints(tmp_path).items():
        with pytest.raises(WardposeError, match=said):
            read_checkpoint(path)
        assert path.stat().st_size < 5 << 20
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024  # MiB
    assert grown < 600


def test_weights_in_other_files_are_found_however_deep_they_are_hidden(tmp_path: Path) -> None:
    for path, said in hostile_files.graphs(tmp_path).items():
        with pytest.raises(WardposeError, match=said):
            read_foreign(path)


def test_a_graph_that_grows_when_it_is_run_is_given_up(tmp_path: Path) -> None:
    model = hostile_files.growing_graph(tmp_path).read_bytes()
    with pytest.raises(WardposeError, match=r"memory|cannot run it"):
        run_once(model, "growing.onnx")
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # GiB, of the largest child so far
    assert most < 6


@pytest.mark.parametrize("kind", ["graph", "checkpoint"])
def test_what_never_ends_does_not_use_up_the_budget_of_all_that_an_import_does(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget of the whole is for a box that takes long to load libraries; a step has one by this box's own pace."""
    path = {"graph": hostile_files.endless_graph, "checkpoint": hostile_files.endless_checkpoint}[kind](tmp_path)
    step = {"graph": "its first run", "checkpoint": "reading it"}[kind]
    quick = "from calibration import confinement as c; c.STEP_SECONDS = c.STEP_TIMES = 0.5\n"
    (tmp_path / "sitecustomize.py").write_text(quick)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pytest.raises(WardposeError, match=rf"{step} was not done within \d+ s of processor time"):
        import_confined(path, tmp_path / "models", ImportWish("new"))
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert spent.ru_utime + spent.ru_stime - before.ru_utime - before.ru_stime < confinement.LEAST_CPU_SECONDS
    assert not list((tmp_path / "models").iterdir())


_TRIES = """
import os, socket, subprocess, sys, threading
from calibration.confinement import confined
def main():
    for name, deed in (
        ("network", lambda: socket.socket(socket.AF_INET)), ("local socket", lambda: socket.socket(socket.AF_UNIX)),
        ("program", lambda: subprocess.run(["/bin/true"])), ("fork", os.fork),
        ("other process", lambda: os.kill(os.getppid(), 0)),
    ):
        try:
            deed()
            print("did", name)
        except OSError as error:
            print("refused", name)
    thread = threading.Thread(target=print, args=("a thread runs",))
    thread.start()
    thread.join()
sys.exit(confined(main))
"""


def test_what_reads_a_foreign_file_can_start_nothing_and_reach_nobody() -> None:
    if confinement_is_missing():
        pytest.skip("this box has no libseccomp: the limits alone hold")
    done = subprocess.run([sys.executable, "-c", _TRIES], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert "did" not in done.stdout and done.stdout.count("refused") == 5 and "a thread runs" in done.stdout


def confinement_is_missing() -> bool:
    command = "import sys; from calibration.confinement import forbid; sys.exit(0 if forbid() else 1)"
    return subprocess.run([sys.executable, "-c", command], cwd=REPOSITORY, check=False).returncode != 0
