"""A pause of the site holds for every command that looks, leaves its rows, and is lifted only by a named act."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.cli.main import build_parser, main
from appliance.live import pauses
from appliance.live.calibration_watch import DriftMeter, process_spec
from appliance.live.plan import LivePlan, process_command
from appliance.site import audit, calibrations
from appliance.site.folder import REPOSITORY, SiteFolder
from appliance.site.settings import set_value
from calibration import plugins
from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.estimate import CalibrationEstimate
from calibration.viewpoint import Viewpoint
from runtime.capture.ring import RingReader
from runtime.pause import PauseSwitch
from tests.appliance.terminal import on_screen, page, terminal, until

WHY = "a fall in the night, for the ward's review"
# A camera that counts who opens it and who reads it, and pauses the site at the frame it is told to.
COUNTING = """
import os, time
from pathlib import Path
import numpy as np
from calibration.camera import CameraModel
from runtime.capture.source import CaptureSource
from runtime.frames import Frame
from runtime.pause import PauseSwitch

COUNT = Path(os.environ["COUNTED"])


class Counting(CaptureSource):
    name, live, origin, read_so_far = "counting", True, "camera", 0

    @classmethod
    def from_argument(cls, argument):
        source = cls()
        source.pause_at = int(argument or 0)
        return source

    def open(self):
        self.count("o")

    def read(self, timeout_s=1.0):
        self.read_so_far += 1
        self.count("r")
        if self.read_so_far == self.pause_at:
            PauseSwitch(Path(os.environ["PAUSES"])).set("the nurse", "washing")
        lens = CameraModel(64, 48, 60.0, 60.0, 31.5, 23.5)
        time.sleep(0.01)
        return Frame(np.zeros((48, 64, 3), np.uint8), time.monotonic(), self.read_so_far, self.name, lens)

    def close(self):
        pass

    def count(self, what):
        with COUNT.open("a") as stream:
            stream.write(what)
"""
# Every command that opens a source, and what it wants besides. `{out}` is a folder for what it writes.
LOOKING = {
    "camera probe": ["{source}", "--seconds", "0.2"],
    "camera record": ["--out", "{out}/x.mkv", "--seconds", "1", "--reason", WHY, "--expires", "1d"],
    "calibrate tags": [],
    "calibrate corners": ["1,2", "30,2", "30,40", "1,40"],
    "calibrate depth": [],
    "calibrate with": ["depth"],
    "calibrate manual": ["--azimuth", "60", "--elevation", "35", "--distance", "2.4"],
    "calibrate show": ["--look", "--samples", "20"],
    "plates capture": ["--seconds", "0.2"],
    "run": ["--headless", "--seconds", "1"],
    "bench live": ["--seconds", "1"],
}
# The others open none: they read files that are kept, or draw what they need.
NOT_LOOKING = {
    "bench families",
    "demo", "doctor", "setup", "status", "test", "audit", "kept", "camera list", "camera forget",
    "roles list", "roles assign", "roles remove", "calibrate intrinsics", "calibrate confirm",
    "plates list", "plates show", "plates remove", "backgrounds", "synth", "poses", "preview", "tune", "evaluate",
    "export", "promote", "rollback", "base", "models list", "models fetch", "models import", "models verify", "display",
    "stop", "pause", "resume", "bench synth", "bench calibrate", "bench infer", "bench ring", "bench evaluate",
    "bench drift", "bench carry-over", "bench faults", "bench chaos", "bench gate", "bench identity", "bench soak",
    "bench page",
    "completion", "station show", "station on", "station off", "station certificate",
    "skeletons record", "skeletons list", "skeletons export", "skeletons delete",
    "data check", "data turn", "engines", "jobs", "models build", "models remove", "study",
}  # fmt: skip


@pytest.fixture
def counted(site: SiteFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The site's camera is a source that counts; returns where: a letter for each opening (o) and each frame (r)."""
    packages = tmp_path / "packages"
    described = packages / "counting_source-1.0.dist-info"
    described.mkdir(parents=True)
    (packages / "counting_source.py").write_text(COUNTING)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: counting-source\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[wardpose.capture_sources]\ncounting = counting_source:Counting\n")
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}{os.pathsep}{packages}")
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    monkeypatch.setenv("PAUSES", str(site.pause_file))
    monkeypatch.delitem(sys.modules, "counting_source", raising=False)
    plugins._found.cache_clear()  # a process looks what is installed once
    set_value(site, "camera", "source", "counting")
    (tmp_path / "counted").touch()
    yield tmp_path / "counted"
    plugins._found.cache_clear()


@pytest.fixture
def calibrated(site: SiteFolder) -> SiteFolder:
    camera = CameraModel(64, 48, 60.0, 60.0, 31.5, 23.5)
    estimate = CalibrationEstimate(
        camera, Bed(), Viewpoint(90.0, 40.0, 2.3).camera_from_bed, np.eye(6) * 1e-6, 0.3, "tags"
    )
    calibrations.confirm(site, calibrations.keep(site, estimate).id)
    return site


def leaves(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command with its own parser."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield " ".join(path), parser
    for group in groups:
        for name, below in group.choices.items():
            yield from leaves(below, (*path, name))


def give(command: str, site: SiteFolder, folder: Path, source: str = "counting") -> int:
    more = [word.format(out=folder, source=source) for word in LOOKING[command]]
    return main([*command.split(), *more, "--home", str(site.root)])


def test_every_command_is_known_to_look_or_not_to_look() -> None:
    known = dict(leaves(build_parser()))
    assert set(known) == set(LOOKING) | NOT_LOOKING
    naming_a_source = {name for name, parser in known.items() if any(a.dest == "source" for a in parser._actions)}
    assert naming_a_source - {"models fetch", "camera forget"} <= set(LOOKING)  # a package of models, a name only


@pytest.mark.parametrize("command", LOOKING)
def test_no_command_opens_or_reads_a_camera_while_the_site_is_paused(
    command: str, calibrated: SiteFolder, counted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pauses.switch(calibrated).set("the nurse", "washing")
    assert give(command, calibrated, tmp_path) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("wardpose:")]
    assert "paused by the nurse since" in line and "`wardpose resume` lifts it" in line
    assert counted.read_text() == ""


@pytest.mark.parametrize("command", sorted(set(LOOKING) - {"run", "bench live"}))
def test_a_pause_in_the_middle_ends_the_look_at_that_very_frame(
    command: str, calibrated: SiteFolder, counted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_value(calibrated, "camera", "source", "counting:1")
    assert give(command, calibrated, tmp_path, "counting:1") == 2
    assert "paused by the nurse since" in capsys.readouterr().err
    assert counted.read_text().count("r") == 1  # which shows besides that the command would have looked
    assert not (tmp_path / "x.mkv").exists()
    assert len(calibrations.rows(calibrated)) == 2


def test_the_live_path_waits_with_its_camera_closed_and_goes_on_when_resumed(
    calibrated: SiteFolder, counted: Path, tmp_path: Path
) -> None:
    pauses.pause(calibrated, "visit")
    command = process_command(calibrated, "capture", LivePlan("counting", "", None))
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    reader = RingReader(command[command.index("--ring") + 1])
    try:
        wait_until(lambda: reader.status().state == "paused")
        assert counted.read_text() == ""
        pauses.resume(calibrated)
        wait_until(lambda: reader.status().state == "streaming")
        assert counted.read_text().startswith("or")
        pauses.pause(calibrated)
        wait_until(lambda: "the camera is closed" in reader.status().message)
        before = counted.read_text()
        process.terminate()
        process.wait(20)
        assert counted.read_text() == before
    finally:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["capture", "live", "display"])
def test_every_process_of_the_live_path_is_told_where_the_pause_stands(
    fetched: Path, site: SiteFolder, name: str
) -> None:
    command = process_command(site, name, LivePlan("simulated", "person-detector", None))
    assert command[command.index("--pause-file") + 1] == str(site.pause_file)


def test_the_watch_looks_at_nothing_while_the_site_is_paused(calibrated: SiteFolder, counted: Path) -> None:
    pauses.pause(calibrated, "visit")
    spec = process_spec(calibrated, "counting")
    assert spec is not None
    meter = DriftMeter(calibrated)
    meter.start()
    process = subprocess.Popen(spec.command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: meter.figures()["state"] == "paused")
        assert "so nothing is looked at" in meter.figures()["text"]
    finally:
        process.terminate()
        process.wait(20)
        meter.stop()


def answer_of(site: SiteFolder, *words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "appliance", *words, "--json", "--home", str(site.root)]
    answer: dict[str, Any] = json.loads(subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout)
    return answer


def test_pause_and_resume_by_command_work_with_nothing_running(site: SiteFolder) -> None:
    told = answer_of(site, "pause", "--reason", "the family is here")
    assert told["paused"] and told["by"] == audit.current_user() and told["reason"] == "the family is here"
    status = answer_of(site, "status")
    assert status["pause"]["words"] == told["words"] and status["live"]["state"] == "paused"
    assert answer_of(site, "resume")["was"]["by"] == told["by"]
    assert not pauses.switch(site).active
    rows = [(row.what, row.who) for row in reversed(audit.rows(site))]
    assert rows == [("live.pause", told["by"]), ("live.resume", told["by"])]


def test_what_the_page_did_while_nothing_else_ran_is_in_the_trail_with_the_next_command(site: SiteFolder) -> None:
    PauseSwitch(site.pause_file).set("somebody at the bedside page")
    PauseSwitch(site.pause_file).lift("somebody at the bedside page")
    assert audit.rows(site) == []
    for _ in range(2):
        assert main(["camera", "list", "--home", str(site.root)]) == 0
        assert [row.what for row in audit.rows(site)] == ["live.resume", "live.pause"]
    assert {row.who for row in audit.rows(site)} == {"somebody at the bedside page"}


def test_a_damaged_database_keeps_nobody_from_pausing(site: SiteFolder, capsys: pytest.CaptureFixture[str]) -> None:
    for path in site.root.glob("site.db*"):
        path.unlink()
    (site.root / "site.db").write_bytes(b"no database at all" * 100)
    assert main(["pause", "--home", str(site.root)]) == 0
    assert "PAUSED by" in capsys.readouterr().out and pauses.switch(site).active
    (site.root / "site.db").unlink()
    pauses.catch_up(site.root)
    assert [row.what for row in audit.rows(SiteFolder.open(site.root))] == ["live.pause"]


def test_catching_up_makes_no_site_where_none_is(tmp_path: Path) -> None:
    pauses.catch_up(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("depth", ["", "as/deep/as/no/socket/can/lie" * 3])
def test_a_pause_of_an_earlier_version_still_holds(tmp_path: Path, depth: str) -> None:
    site = SiteFolder.open(tmp_path / depth / "site")
    (site.sockets / "runtime.sock.paused").touch()
    pauses.catch_up(site.root)
    assert pauses.switch(site).active
    assert not (site.sockets / "runtime.sock.paused").exists()


async def test_the_terminal_ui_shows_no_picture_while_paused(counted: Path, served: SiteFolder) -> None:
    pauses.switch(served).set("the nurse", "washing")
    async with terminal(served) as pilot:
        await until(pilot, lambda: "PAUSED by the nurse since" in on_screen(pilot))
        await pilot.press("2")
        await until(pilot, lambda: page(pilot).TAB == "camera" and page(pilot).status)
        page(pilot)._look(WHY)  # type: ignore[attr-defined]
        await until(pilot, lambda: "paused by the nurse" in on_screen(pilot))
        assert "▀" not in on_screen(pilot)
    assert counted.read_text() == ""


async def test_a_picture_on_the_screen_goes_when_the_site_is_paused(counted: Path, served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: page(pilot).TAB == "camera" and page(pilot).status)
        page(pilot)._look(WHY)  # type: ignore[attr-defined]
        await until(pilot, lambda: "▀" in on_screen(pilot))
        pauses.pause(served)
        await until(pilot, lambda: "▀" not in on_screen(pilot))
