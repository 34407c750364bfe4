"""The bedside page's bench drives a real browser and tells how far behind it paints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from appliance.box.doctor import chromium
from appliance.cli.main import main
from benchmarks.page_pictures import SIZE_PX, STATES, take
from tests.conftest import REPOSITORY


def test_it_tells_how_far_behind_its_frames_are_painted(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed (pip install playwright)")
    if chromium() is None:
        pytest.skip("Chromium is not installed (wardpose setup)")
    command = [sys.executable, "-m", "appliance", "bench", "page", "--seconds", "1", "--json", "--home", str(tmp_path)]
    told = json.loads(subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout)
    assert told["frames"] > 1 and told["painted_fps"] > 0
    behind, page = told["behind_ms"], told["page_ms"]
    assert 0 < behind["p50"] <= behind["p95"] <= behind["p99"] <= behind["most"]
    assert page["p50"] <= behind["p50"] and told["goal_ms"] == 150.0


def test_the_readmes_pictures_of_the_page_are_drawn_of_each_state(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed (pip install playwright)")
    if (program := chromium()) is None:
        pytest.skip("Chromium is not installed (wardpose setup)")
    written = take(program, tmp_path)
    assert [path.name for path in written] == [f"page-{state}.png" for state in STATES]
    assert len({path.read_bytes() for path in written}) == len(STATES)
    assert all(Image.open(path).size == SIZE_PX for path in written)


def test_a_live_picture_that_does_not_run_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if chromium() is None:
        pytest.skip("Chromium is not installed (wardpose setup)")
    assert main(["bench", "page", "--live", "--home", str(tmp_path / "site")]) == 2
    assert "no live picture runs on this site" in capsys.readouterr().err
