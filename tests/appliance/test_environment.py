"""The set-up of a fresh machine: resumable, done once, honest about failure."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.environment import NEWEST_PYTHON, OLDEST_PYTHON, SetupFailed, Step, make_environment, plan
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


def test_an_interrupted_redo_takes_no_older_step_for_done(tmp_path: Path) -> None:
    a, b, c = (recorder(tmp_path, name) for name in "abc")
    make_environment(tmp_path, "v1", [a, b, c])
    with pytest.raises(SetupFailed):  # a new base, and the power fails before the rest lies on it
        make_environment(tmp_path, "v2", [recorder(tmp_path, "a", "pass"), recorder(tmp_path, "b", "exit(1)"), c])
    make_environment(tmp_path, "v2", [recorder(tmp_path, "a", "pass"), b, c])
    assert ran(tmp_path) == ["a", "b", "c", "a", "b", "b", "c"]


def test_what_was_installed_for_another_python_goes(tmp_path: Path) -> None:
    steps = [recorder(tmp_path, "a")]
    make_environment(tmp_path, "v1", steps)
    (tmp_path / ".venv" / "lib" / "python3.7" / "site-packages").mkdir(parents=True)
    make_environment(tmp_path, "v2", steps)
    assert ran(tmp_path) == ["a", "a"] and not (tmp_path / ".venv" / "lib").exists()


# The launcher


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose set-up says which Python it was given, and nothing else on the path but the shell's tools."""
    for name in ("wardpose", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "appliance").mkdir()
    (tmp_path / "appliance" / "environment.py").touch()
    (tmp_path / "tools").mkdir()
    for tool in ("sh", "cat", "cksum", "dirname", "readlink"):
        os.symlink(shutil.which(tool) or f"/bin/{tool}", tmp_path / "tools" / tool)
    return tmp_path


def interpreter(checkout: Path, name: str, version: tuple[int, int], *, venv: bool = True) -> Path:
    """A Python that answers as one of this version would, and says its name when it is given a file to run."""
    path = checkout / "tools" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"""#!/bin/sh
if [ "$1" != -c ]; then echo "made with {name}" >&2; exit 3; fi
exec {sys.executable} -c '
import sys
code, sys.version_info, sys._base_executable = sys.argv[1], {(*version, 1)}, "{path}"
if not {venv}:
    sys.modules["ensurepip"] = None
exec(code)' "$2"
"""
    )
    path.chmod(0o755)
    return path


def launched(checkout: Path) -> str:
    """What the launcher says."""
    outcome = subprocess.run(
        [checkout / "wardpose", "doctor"], env={"PATH": str(checkout / "tools")}, capture_output=True, text=True
    )
    assert outcome.returncode != 0
    (line,) = outcome.stderr.strip().splitlines()
    return line


def test_the_launcher_without_a_python_says_what_to_install(checkout: Path) -> None:
    assert "no Python 3.11, 3.12 or 3.13 was found; install one" in launched(checkout)
    interpreter(checkout, "python3", (3, 10))
    assert "no Python 3.11, 3.12 or 3.13 was found; install one" in launched(checkout)
    interpreter(checkout, "python3", (3, 14))
    assert "no Python 3.11, 3.12 or 3.13 was found; install one" in launched(checkout)


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({"python3": (3, 12)}, "python3"),
        ({"python3": (3, 13)}, "python3"),
        ({"python3": (3, 14), "python3.11": (3, 11)}, "python3.11"),
        ({"python3": (3, 11), "python3.12": (3, 12), "python3.13": (3, 13)}, "python3.13"),
    ],
)
def test_the_launcher_takes_the_newest_python_that_suits(
    checkout: Path, there: dict[str, tuple[int, int]], chosen: str
) -> None:
    for name, version in there.items():
        interpreter(checkout, name, version)
    assert launched(checkout) == f"made with {chosen}"


def test_the_launcher_passes_over_a_python_that_cannot_make_an_environment(checkout: Path) -> None:
    interpreter(checkout, "python3.12", (3, 12), venv=False)
    assert "python3.12 cannot make an environment" in (said := launched(checkout))
    assert "apt install python3.12-venv" in said
    interpreter(checkout, "python3.11", (3, 11))
    assert launched(checkout) == "made with python3.11"


def test_an_update_keeps_the_python_that_the_environment_has(checkout: Path) -> None:
    interpreter(checkout, "python3.13", (3, 13))
    interpreter(checkout, "../.venv/bin/python", (3, 12))
    assert launched(checkout) == "made with ../.venv/bin/python"


def test_an_environment_whose_python_was_replaced_is_made_again(checkout: Path) -> None:
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(interpreter(checkout, "python3.13", (3, 13)))
    (checkout / ".venv" / "lib" / "python3.11").mkdir(parents=True)
    content = b"".join(
        (checkout / name).read_bytes() for name in ("pyproject.toml", "constraints.txt", "appliance/environment.py")
    )
    fingerprint = subprocess.run(["cksum"], input=content, capture_output=True, check=True).stdout.decode().strip()
    (checkout / ".venv" / "wardpose-ready").write_text(fingerprint)
    assert launched(checkout) == "made with python3.13"


def test_launcher_set_up_and_package_name_the_same_pythons() -> None:
    wanted = [f"python3.{minor}" for minor in range(NEWEST_PYTHON[1], OLDEST_PYTHON[1] - 1, -1)]
    launcher = (REPOSITORY / "wardpose").read_text()
    assert f"{' '.join(wanted)} python3;" in launcher
    assert f"{OLDEST_PYTHON} <= sys.version_info < (3, {NEWEST_PYTHON[1] + 1})" in launcher
    package = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert package["requires-python"] == f">=3.{OLDEST_PYTHON[1]},<3.{NEWEST_PYTHON[1] + 1}"


def test_the_record_of_steps_is_json(tmp_path: Path) -> None:
    make_environment(tmp_path, "v1", [recorder(tmp_path, "a")])
    assert set(json.loads((tmp_path / ".venv" / "wardpose-steps.json").read_text())) == {"a"}
