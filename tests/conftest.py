"""Fixtures every floor shares, and the reckoning of what was skipped and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Some package imports onnxruntime before our adapter does: its telemetry must be off by then.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

REPOSITORY = Path(__file__).resolve().parent.parent
# The same examples every time: what a change breaks shows with that change, and what it did not break does not.
settings.register_profile("the same", derandomize=True, deadline=None)
settings.load_profile("the same")
# Not the one that is inherited: `wardpose test` closes to others what it writes, as every command of it does.
_UMASK = 0o022
os.umask(_UMASK)
# Child processes of the tests import from `tests` too, which is no installed package.
os.environ["PYTHONPATH"] = str(REPOSITORY)


# The files that take minutes begin first, so that no process is left alone with one at the end.
_LONG = (
    "test_tui_guide", "test_demo", "test_tui", "test_kept", "test_tui_screens", "test_cut_off", "test_silence",
    "test_plugins", "test_one_door", "test_camera_passwords", "test_dataset", "test_page_in_browser",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, each file's tests in their order."""
    rank = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(_LONG)))


@pytest.fixture(autouse=True)
def _its_own_umask() -> Iterator[None]:
    """A command that a test or a fixture runs in this process closes what it writes to others for good; other tests'
    files are none of its business."""
    os.umask(_UMASK)
    yield
    os.umask(_UMASK)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings, photographs and weights; they are not part of the repository."""
    folder = Path(os.environ.get("WARDPOSE_SHARED", REPOSITORY.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(
            "real data absent: set WARDPOSE_SHARED to a folder that holds data/kinect, data/photos, data/weights"
        )
    return folder


@pytest.fixture(scope="session")
def random_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a yolo11n of one class with random weights."""
    from tuning.families.yolo_models import build_detector
    from tuning.store.card import ModelCard
    from tuning.store.save import save_model

    card = ModelCard(
        name="random", task="detect", architecture="yolo11n", layout="yolo", width=96, height=96, sha256="0" * 64
    )
    folder = tmp_path_factory.mktemp("models") / "random"
    save_model(folder, build_detector(card, None).state(), card)
    return folder


@pytest.fixture
def gpu() -> None:
    """Skip where no CUDA device answers."""
    if not Path("/proc/driver/nvidia/version").exists():
        pytest.skip("no NVIDIA GPU on this machine")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = Counter(
        str(report.longrepr[2])
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason.removeprefix('Skipped: ')}")
