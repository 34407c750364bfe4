"""Rules of the house that no type checker sees."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FLOORS = ("calibration", "runtime", "synth", "tuning", "appliance", "benchmarks")
# A heavy or optional package and the floors that have an adapter for it.
HEAVY = (
    "anny",
    "av",
    "cryptography",
    "matplotlib",
    "mmengine",
    "mmpose",
    "moderngl",
    "mujoco",
    "onnxruntime",
    "openvino",
    "polib",
    "pyk4a",
    "pyrender",
    "pyseccomp",
    "reportlab",
    "sklearn",
    "smplx",
    "starlette",
    "tensorboardX",
    "tensorrt",
    "transformers",
    "ultralytics",
    "usb",
    "uvicorn",
)


@cache
def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", HEAVY)
def test_a_heavy_package_has_one_adapter_a_floor(package: str) -> None:
    for floor in FLOORS:
        # What runs in an environment of its own imports nothing of ours, and is imported by nothing.
        files = [path for path in (REPOSITORY / floor).rglob("*.py") if not path.match("tuning/external/*_trainer.py")]
        users = [path for path in files if package in imports(path)]
        assert len(users) <= 1, f"{package} is imported by {', '.join(str(p.relative_to(REPOSITORY)) for p in users)}"


@pytest.mark.parametrize("module", ["appliance.__main__", "appliance.cli", "runtime", "synth", "tuning", "calibration"])
def test_the_front_doors_import_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(loaded) & {"torch", "numba", "scipy", *HEAVY}


def test_the_repository_names_no_machine() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True).stdout
    suspects = []
    for name in filter(None, tracked.split("\0")):
        path = REPOSITORY / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".service", ".html", ".json", ".rules"} and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            if any(f"/{folder}/" in text for folder in ("wo" + "rk", "ro" + "ot")):
                suspects.append(name)
    assert not suspects


# Who may make a capture source, and where else its entry points are read.
MAKERS = {
    "make_source": {"runtime/capture/source.py", "runtime/capture/process.py"},
    "open_source": {"runtime/capture/source.py", "appliance/bedside/camera_access.py"},
}


def names_used(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and node.value == "capture_sources":
            names.add("capture_sources")
    return names


def test_cameras_are_opened_in_one_place_where_a_pause_holds() -> None:
    """Who wants a picture asks `appliance.bedside.camera_access`; the capture process obeys the pause by itself."""
    allowed = MAKERS | {"capture_sources": {"runtime/capture/source.py", "appliance/box/cameras.py"}}
    for floor in FLOORS:
        for path in (REPOSITORY / floor).rglob("*.py"):
            where = str(path.relative_to(REPOSITORY))
            for name in names_used(path) & set(allowed):
                assert where in allowed[name], f"{where} uses {name}: ask appliance.bedside.camera_access for a picture"


READERS = ("calibration", "synth", "runtime/capture", "runtime/display", "tuning/store", "tuning/families")


def test_foreign_json_is_parsed_in_one_place() -> None:
    """Where its bound of nested brackets stands: in whatever reads the files and messages of others."""
    modules = [path for room in READERS for path in (REPOSITORY / room).rglob("*.py")]
    modules += [*(REPOSITORY / "runtime").glob("*.py"), *(REPOSITORY / "appliance").glob("*.py")]
    parsing = [path.relative_to(REPOSITORY).as_posix() for path in modules if "json.loads(" in path.read_text()]
    assert sorted(parsing) == ["appliance/environment.py", "calibration/json_text.py"]  # the former imports nothing
