"""Fixtures every floor shares, and the reckoning of what was skipped and why."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

# Some package imports onnxruntime before our adapter does: its telemetry must be off by then.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

REPOSITORY = Path(__file__).resolve().parent.parent
# Child processes of the tests import from `tests` too, which is no installed package.
os.environ["PYTHONPATH"] = str(REPOSITORY)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings, photographs and weights; they are not part of the repository."""
    folder = Path(os.environ.get("WARDPOSE_SHARED", REPOSITORY.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(
            "real data absent: set WARDPOSE_SHARED to a folder that holds data/kinect, data/photos, data/weights"
        )
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
