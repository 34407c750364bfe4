"""A disk that takes no byte blinds nobody: the box opens, says what is wrong with the disk, pauses and goes on."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from onnx import numpy_helper

from appliance.cli.main import main
from appliance.housekeeping import tidy
from appliance.jobs import kinds
from appliance.jobs.runner import JobRunner
from appliance.jobs.store import JobStore
from appliance.live import pauses
from appliance.live.ownership import LiveLock, owner
from appliance.models.store import ModelStore
from appliance.site import audit, ballast, calibrations, intents
from appliance.site.folder import SiteFolder
from calibration.disk import DiskError, behind, look
from calibration.errors import WardposeError
from synth.simulated_camera import SimulatedCamera
from tests.appliance.disks import Disk, mounted
from tests.tuning.drawn import draw_people
from tuning.train import torch_loop

CAUSES: dict[str, Callable[[Disk], None]] = {
    "no byte": lambda disk: disk.fill(),
    "300 KiB": lambda disk: disk.fill(leave=300 << 10),
    "no inodes": lambda disk: disk.take_inodes(),
    "read-only": lambda disk: disk.read_only(),
}
SAID = {"no byte": "the disk is full", "no inodes": "no inodes left", "read-only": "the disk is read-only"}
READING = (
    ["status"], ["doctor"], ["audit"], ["kept"], ["camera", "list"], ["models", "list"], ["plates", "list"],
)  # fmt: skip


@pytest.fixture(scope="module", params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    with mounted(request.param, tmp_path_factory.mktemp("disk") / "disk") as made:
        yield made


@pytest.fixture(params=list(CAUSES))
def cause(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(disk: Disk, tmp_path: Path) -> Iterator[SiteFolder]:
    """A site on that disk that has been in use, and is gone with the test."""
    site = SiteFolder.open(disk.folder / tmp_path.name)
    audit.record(site, "test.deed", "the bed")
    yield site
    disk.writable()
    if (disk.folder / "fillers").exists():
        disk.give_back()
    pauses.switch(site).in_memory.unlink(missing_ok=True)
    shutil.rmtree(site.root)


def command(site: SiteFolder, *words: str) -> int:
    return main([*words, "--home", str(site.root)])


def test_every_command_that_reads_opens_the_box(
    site: SiteFolder, disk: Disk, cause: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = SimulatedCamera.from_argument("empty").true_calibration()
    calibrations.keep(site, replace(truth, covariance=np.eye(6) * 1e-6))
    CAUSES[cause](disk)
    for words in (*READING, ["calibrate", "show", "--out", str(tmp_path / "page.png")]):
        code = command(site, *words)
        told = capsys.readouterr()
        assert code in (0, 1), f"{words}: {told.err}"
        assert "backup" not in told.out + told.err
        if words == ["audit"]:
            assert "test.deed" in told.out and "the chain of all 2 rows is whole" in told.out


def test_doctor_and_status_name_the_cause(
    site: SiteFolder, disk: Disk, cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    CAUSES[cause](disk)
    if cause == "300 KiB":
        assert look(site.root) is None
        return
    for words in ("doctor", "status"):
        command(site, words)
        assert SAID[cause] in capsys.readouterr().out
    with pytest.raises(DiskError, match=SAID[cause]) as told:
        audit.record(site, "test.deed")
    assert "backup" not in str(told.value)


@pytest.mark.parametrize("ready", [True, False], ids=["prepared", "unprepared"])
def test_a_pause_holds_and_is_lifted_and_has_its_rows_when_there_is_room(
    site: SiteFolder, disk: Disk, cause: str, ready: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if ready:
        pauses.switch(site).prepare()
    CAUSES[cause](disk)
    assert command(site, "pause", "--reason", "visit") == 0
    held = pauses.switch(site).state()
    assert held is not None and held.reason == "visit"
    if cause != "300 KiB":
        assert "is written when it can be" in capsys.readouterr().out
    if cause == "read-only":
        assert pauses.switch(site).forgets
    assert command(site, "resume") == 0
    assert not pauses.switch(site).active
    disk.writable()
    disk.give_back() if (disk.folder / "fillers").exists() else None
    assert command(site, "camera", "list") == 0
    assert [row.what for row in audit.rows(site)][:2] == ["live.resume", "live.pause"]


def test_a_pause_from_before_the_disk_turned_read_only_stays(site: SiteFolder, disk: Disk) -> None:
    pauses.pause(site)
    disk.read_only()
    with pytest.raises(WardposeError, match="the disk is read-only"):
        pauses.resume(site)
    assert pauses.switch(site).active


def test_a_prepared_pause_outlives_the_box_on_a_full_disk(site: SiteFolder, disk: Disk) -> None:
    for _ in range(3):  # what was paused lays ready the next
        pauses.switch(site).prepare()
        disk.fill()
        disk.take_inodes()
        pauses.switch(site).set("anna", "visit")
        assert not pauses.switch(site).forgets
        assert pauses.switch(site).lift("anna") is not None
        disk.give_back()


@pytest.mark.parametrize("full", ["no byte", "no inodes"])
def test_the_ballast_lets_a_deed_have_its_row(site: SiteFolder, disk: Disk, full: str) -> None:
    tidy(site)
    assert ballast.held(site.root) >= 8 << 20
    CAUSES[full](disk)
    for number in range(20):
        audit.record(site, "test.deed", f"{number}")
    assert audit.verify(site).whole and len(audit.rows(site)) == 21
    assert ballast.held(site.root) >= 4 << 20


def test_doctor_frees_the_ballast_and_lays_it_down_again(
    site: SiteFolder, disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    command(site, "doctor", "--mend")
    assert "8.0 MiB of ballast laid down" in capsys.readouterr().out
    disk.fill()
    command(site, "doctor", "--mend")
    said = capsys.readouterr().out
    assert "8.0 MiB of ballast freed" in said and ballast.held(site.root) == 0
    disk.give_back()
    command(site, "doctor", "--mend")
    assert ballast.held(site.root) >= 8 << 20


def test_the_live_path_can_begin(site: SiteFolder, disk: Disk, cause: str) -> None:
    CAUSES[cause](disk)
    if cause == "no inodes":
        pytest.skip("without ballast no file can be made: told by the test below")
    lock = LiveLock.take(site, "service", {})
    assert owner(site) is not None
    lock.release()


def test_the_live_path_begins_without_inodes_on_the_ballast(site: SiteFolder, disk: Disk) -> None:
    tidy(site)
    disk.take_inodes()
    LiveLock.take(site, "service", {}).release()


def test_jobs_are_read_where_nothing_can_be_written(site: SiteFolder, disk: Disk, cause: str) -> None:
    JobStore(site, "tests.appliance.work_for_tests").submit("count", {"folder": "x", "count": 1})
    CAUSES[cause](disk)
    assert [job.kind for job in JobStore(SiteFolder.open(site.root)).all()] == ["count"]


def run_until(site: SiteFolder, over: Callable[[JobStore], bool], runner: JobRunner) -> None:
    until = time.monotonic() + 60
    while not over(runner.store):
        assert time.monotonic() < until, runner.store.all()
        with contextlib.suppress(DiskError):
            runner.step()
        time.sleep(0.05)


@pytest.mark.parametrize("ballast_there", [True, False], ids=["ballast", "no-ballast"])
def test_a_job_whose_disk_fills_keeps_its_work_and_says_so(site: SiteFolder, disk: Disk, ballast_there: bool) -> None:
    if ballast_there:
        tidy(site)
    runner = JobRunner(site, "tests.appliance.work_for_tests")
    number = runner.store.submit("pictures", {"count": 140}).id
    run_until(site, lambda store: not store.get(number).active, runner)
    job = runner.store.get(number)
    assert job.state == "failed" and "disk" in job.error and "is kept: resume it" in job.error
    assert "\n" not in job.error and "defect" not in job.error and "backup" not in job.error
    if ballast_there:
        assert "the disk is full" in job.error
    kept = len(list((site.datasets / "pictures").glob("0*")))
    assert kept > 50 and not list((site.datasets / "pictures").glob(".*"))
    ballast.release(site.root)
    for path in sorted((site.datasets / "pictures").glob("0*"))[100:]:
        path.unlink()
    with site.database.transaction(immediate=True) as db:
        db.execute("UPDATE jobs SET parameters = ?", ('{"count": 60}',))
    run_until(site, lambda store: store.get(number).state == "failed" and not store.unwritten, runner)
    runner.store.resume(number)
    run_until(site, lambda store: not store.get(number).active, runner)
    assert runner.store.get(number).result == {"made": 0}


def test_a_job_whose_disk_turns_read_only_keeps_its_work_and_says_so(
    site: SiteFolder, disk: Disk, tmp_path: Path
) -> None:
    site.logs.rmdir()  # elsewhere: a person's remount is refused while a file is open for writing, a fault's is not
    (tmp_path / "logs").mkdir()
    site.logs.symlink_to(tmp_path / "logs")
    runner = JobRunner(site, "tests.appliance.work_for_tests")
    number = runner.store.submit("pictures", {"count": 50, "seconds_each": 0.05}).id
    run_until(site, lambda store: store.get(number).done > 5, runner)
    disk.read_only()
    run_until(site, lambda store: not store.get(number).active, runner)
    told = runner.store.get(number)
    assert told.state == "failed" and "what the job had finished is kept" in told.error
    disk.writable()
    run_until(site, lambda store: not store.unwritten, runner)
    assert JobStore(site).get(number).error == told.error
    runner.store.resume(number)
    run_until(site, lambda store: not store.get(number).active, runner)
    result = runner.store.get(number).result
    assert result is not None and 0 < result["made"] < 50


def weights_of(file: Path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(str(file)).graph.initializer}


def test_a_tuning_whose_disk_fills_ships_nothing_loses_nothing_and_goes_on_to_the_same_weights(
    site: SiteFolder, disk: Disk, fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    tidy(site)
    asked = {"model": "nanodet", "data": str(draw_people(tmp_path / "data", 4)), "epochs": 2, "batch": 2}
    kinds.tune(site, asked | {"name": "whole"}, lambda done, total, note: None)
    store, told = ModelStore(site), list[str]()
    before = [model.name for model in store.all()], store.live("detect")

    def fills(done: int, total: int, note: str) -> None:
        if note.startswith("epoch 2"):
            disk.fill()

    with pytest.raises(Exception) as failed:
        kinds.tune(site, asked | {"name": "tuned"}, fills)
    error = behind(failed.value)
    assert error is not None and "the disk is full" in str(error) and "\n" not in str(error)
    assert ([model.name for model in store.all()], store.live("detect")) == before
    assert (fetched / "nanodet" / "model.onnx").is_file() and audit.verify(site).whole
    assert not [file for file in psutil.Process().open_files() if "w" in file.mode and "training" in file.path]

    disk.give_back()
    kinds.tune(site, asked | {"name": "tuned"}, lambda done, total, note: told.append(note))
    assert next(note for note in told if note.startswith("epoch")).startswith("epoch 2"), "the first is not done again"
    whole, tuned = (weights_of(store.folder(name) / "model.onnx") for name in ("whole", "tuned"))
    assert all(np.array_equal(whole[name], tuned[name]) for name in whole)


@pytest.mark.parametrize("full", ["no byte", "no inodes"])
def test_deleting_needs_no_room(site: SiteFolder, disk: Disk, full: str) -> None:
    folder = site.plates / "monday"
    folder.mkdir()
    for name in range(8):
        (folder / f"{name}.npy").write_bytes(bytes(100_000))
    CAUSES[full](disk)
    with pytest.raises(DiskError):
        audit.record(site, "test.deed")
    intents.delete(site, "plate.remove", "monday", "", [folder])
    assert not folder.exists() and audit.rows(site)[0].what == "plate.remove"


def test_what_began_on_a_read_only_disk_has_its_row_later(site: SiteFolder, disk: Disk) -> None:
    disk.read_only()
    pauses.record(site, "start", "simulated:", "the night")
    assert pauses.switch(site).owes
    disk.writable()
    pauses.catch_up(site.root)
    (newest, *_) = audit.rows(site)
    assert newest.what == "live.start" and "simulated:, the night" in newest.reason
