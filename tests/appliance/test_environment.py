"""The set-up of a fresh machine: resumable, done once, honest about failure."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.environment import SetupFailed, Step, make_environment, plan
from tests.conftest import REPOSITORY


def recorder(root: Path, name: str, code: str = "") -> Step:
    """A step that notes that it ran, then runs `code`."""
    script = f"open({str(root / 'ran')!r}, 'a').write('{name}\\n'); {code}"
    return Step(name, f"step {name}", ((sys.executable, "-c", script),))


def ran(root: Path) -> list[str]:
    return (root / "ran").read_text().split() if (root / "ran").exists() else []


def test_a_finished_set_up_is_not_done_again(tmp_path: Path) -> None:
    steps = [recorder(tmp_path, "a"), recorder(tmp_path, "b")]
    make_environment(tmp_path, "v1", steps)
    make_environment(tmp_path, "v1", steps)
    assert ran(tmp_path) == ["a", "b"]


def test_a_failed_step_says_so_and_the_next_run_goes_on_from_there(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    fails_at_first = f"import sys, os; sys.exit('no room left' if not os.path.exists({str(gate)!r}) else 0)"
    steps = [recorder(tmp_path, "a"), recorder(tmp_path, "b", fails_at_first), recorder(tmp_path, "c")]
    with pytest.raises(SetupFailed, match=r"set-up step 2 .*no room left.*goes on from here"):
        make_environment(tmp_path, "v1", steps)
    gate.touch()
    make_environment(tmp_path, "v1", steps)
    assert ran(tmp_path) == ["a", "b", "b", "c"]


def test_a_changed_step_is_redone_with_all_that_follow_it(tmp_path: Path) -> None:
    make_environment(tmp_path, "v1", [recorder(tmp_path, n) for n in "abc"])
    make_environment(
        tmp_path, "v2", [recorder(tmp_path, "a"), recorder(tmp_path, "b", "pass"), recorder(tmp_path, "c")]
    )
    assert ran(tmp_path) == ["a", "b", "c", "b", "c"]


def test_a_torn_record_of_finished_steps_starts_over_instead_of_failing(tmp_path: Path) -> None:
    make_environment(tmp_path, "v1", [recorder(tmp_path, "a")])
    (tmp_path / ".venv" / "wardpose-steps.json").write_text('{"a": ')
    make_environment(tmp_path, "v2", [recorder(tmp_path, "a")])
    assert ran(tmp_path) == ["a", "a"]


def test_an_optional_step_that_fails_is_left_out_and_tried_by_the_next_set_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, last = recorder(tmp_path, "a"), recorder(tmp_path, "last", "import sys; print('no registry'); sys.exit(1)")
    steps = [a, replace(last, optional=True)]
    make_environment(tmp_path, "v1", steps)
    assert "left out: no registry" in capsys.readouterr().err
    make_environment(tmp_path, "v1", steps)  # nothing has changed: it is not tried for ever
    make_environment(tmp_path, "v2", steps)
    assert ran(tmp_path) == ["a", "last", "last"]


def test_the_set_up_does_without_the_pretrained_models_alone() -> None:
    assert [step.name for step in plan(REPOSITORY) if step.optional] == ["models"]


def test_every_package_of_the_plan_is_pinned() -> None:
    pinned = {
        line.split("==")[0].lower()
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    for step in plan(REPOSITORY):
        if step.name not in {"packages", "torch", "trainers"}:
            continue
        (command,) = step.commands
        names = command[command.index(":all:") + 1 :]
        loose = [n for n in names if not n.startswith("-") and "==" not in n and n.split("<")[0].lower() not in pinned]
        assert not loose, f"not pinned: {loose}"


def test_nothing_is_compiled_on_a_machine_without_a_gpu() -> None:
    for step in plan(REPOSITORY):
        for command in step.commands:
            if "install" in command and step.name not in {"torchvision", "wardpose", "gpu"}:
                assert ":all:" in command, f"{step.name} could need a compiler"


def test_the_launcher_without_python_3_11_says_what_to_install(tmp_path: Path) -> None:
    import shutil
    import subprocess

    for name in ("wardpose", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "appliance").mkdir()
    shutil.copy(REPOSITORY / "appliance" / "environment.py", tmp_path / "appliance")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "cat", "cksum", "dirname", "readlink"):
        os.symlink(shutil.which(tool) or f"/bin/{tool}", tools / tool)
    outcome = subprocess.run(
        [tmp_path / "wardpose", "doctor"], env={"PATH": str(tools)}, capture_output=True, text=True
    )
    assert outcome.returncode != 0
    assert "Python 3.11" in outcome.stderr and len(outcome.stderr.strip().splitlines()) == 1


def test_the_record_of_steps_is_json(tmp_path: Path) -> None:
    make_environment(tmp_path, "v1", [recorder(tmp_path, "a")])
    assert set(json.loads((tmp_path / ".venv" / "wardpose-steps.json").read_text())) == {"a"}
