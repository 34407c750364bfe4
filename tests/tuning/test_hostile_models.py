"""Model files of a few hundred bytes that hang their reader or fill its memory are refused in one line."""

from __future__ import annotations

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


def test_a_checkpoint_whose_reading_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(confinement.run_confined.__kwdefaults__, "cpu_seconds", 2)
    with pytest.raises(WardposeError, match="not done within 2 s of processor time"):
        import_confined(hostile_files.endless_checkpoint(tmp_path), tmp_path / "models", ImportWish("new"))
    assert not list((tmp_path / "models").iterdir())


def test_a_graph_that_grows_when_it_is_run_is_given_up(tmp_path: Path) -> None:
    model = hostile_files.growing_graph(tmp_path).read_bytes()
    with pytest.raises(WardposeError, match=r"memory|cannot run it"):
        run_once(model, "growing.onnx")
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # GiB, of the largest child so far
    assert most < 6


def test_an_import_whose_first_run_never_ends_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(confinement.run_confined.__kwdefaults__, "cpu_seconds", 2)
    with pytest.raises(WardposeError, match="not done within 2 s of processor time"):
        import_confined(hostile_files.endless_graph(tmp_path), tmp_path / "models", ImportWish("new"))
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
