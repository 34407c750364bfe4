"""A paused job waits with what it has, takes no processor, and loses nothing, whatever ends meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance.cli.main import main
from appliance.jobs import kinds
from appliance.jobs.kinds import JOB_KINDS
from appliance.jobs.processes import processes_of
from appliance.jobs.store import Job, JobKind, JobStore, load_kinds
from appliance.site import audit
from appliance.site.folder import SiteFolder
from appliance.tui.job_words import outcome, state_of
from appliance.tui.way import the_way
from calibration.errors import WardposeError
from calibration.processes import pid_of
from tests.appliance.test_job_runner import KINDS, wait_for
from tests.conftest import REPOSITORY
from tests.tuning.drawn import draw_people


@contextmanager
def runner(site: SiteFolder) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "appliance.job_runner", "--home", str(site.root), "--kinds", KINDS]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def begun(store: JobStore, folder: Path, kind: str = "count") -> Job:
    job = store.submit(kind, {"folder": str(folder), "count": 60, "seconds_each": 0.05})
    wait_for(lambda: store.get(job.id).done > 0)
    return job


def paused(store: JobStore, job: Job) -> Job:
    assert state_of(store.pause(job.id)) in ("pausing", "paused")
    wait_for(lambda: store.get(job.id).held)
    return store.get(job.id)


def test_a_paused_job_waits_where_it_is_and_goes_on_from_there(site: SiteFolder, tmp_path: Path) -> None:
    store = JobStore(site, KINDS)
    with runner(site):
        job = paused(store, begun(store, tmp_path / "a", "helped"))
        assert job.paused and job.state == "running" and outcome(job)[0].startswith("paused")
        helpers = [pid for pid in processes_of(site, job.id) if pid != pid_of(job.process)]
        assert helpers and all(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in helpers)
        assert store.resume(job.id).state == "running"
        wait_for(lambda: store.get(job.id).state == "done")
    assert store.get(job.id).result == {"made": 60} and store.get(job.id).attempts == 1
    assert [row.what for row in audit.rows(site)][:2] == ["job.resume", "job.pause"]


@pytest.mark.parametrize("ends", ["the runner", "the process"])
def test_whatever_ends_a_paused_job_it_waits_in_the_queue_and_carries_on(
    site: SiteFolder, tmp_path: Path, ends: str
) -> None:
    store = JobStore(site, KINDS)
    with runner(site) as first:
        job = paused(store, begun(store, tmp_path / "a"))
        if ends == "the process":
            os.kill(pid_of(job.process), signal.SIGKILL)
            wait_for(lambda: store.get(job.id).state == "queued")
        else:
            first.terminate()
            assert first.wait(60) == 0
    before = store.get(job.id)
    assert (before.state, before.paused, before.error) == ("queued", True, "")
    with runner(site):
        other = store.submit("count", {"folder": str(tmp_path / "b"), "count": 1})
        wait_for(lambda: store.get(other.id).state == "done")  # it keeps nobody from their turn
        assert store.get(job.id).paused
        store.resume(job.id)
        wait_for(lambda: store.get(job.id).state == "done")
    ended = store.get(job.id)
    assert ended.attempts == 2 and ended.result is not None and 0 < ended.result["made"] < 60
    assert ended.result["resumed"]  # whoever does the work is told to go on with what is there
    assert len(list((tmp_path / "a").iterdir())) == 60


def test_a_paused_job_can_be_stopped(site: SiteFolder, tmp_path: Path) -> None:
    store = JobStore(site, KINDS)
    with runner(site):
        job = paused(store, begun(store, tmp_path / "a", "helped"))
        store.cancel(job.id)
        wait_for(lambda: store.get(job.id).state == "cancelled")
        assert not processes_of(site, job.id)
    stopped = store.get(job.id)
    assert not stopped.pause_requested and not stopped.held


def test_a_queued_job_is_paused_where_it_is_and_what_is_over_in_moments_is_not(site: SiteFolder) -> None:
    store = JobStore(site, KINDS)
    job = store.submit("count", {"folder": "x", "count": 1})
    assert store.pause(job.id).paused and store.pause(job.id).state == "queued"  # asked twice, it is paused once
    assert [row.what for row in audit.rows(site)].count("job.pause") == 1
    assert not store.resume(job.id).paused
    assert store.cancel(store.pause(job.id).id).state == "cancelled"
    for number, mistake in (
        (job.id, "it is cancelled"),
        (store.submit("count-light", {"folder": "x", "count": 1}).id, "can't be paused: it is over in moments"),
    ):
        with pytest.raises(WardposeError, match=mistake):
            store.pause(number)


def test_what_uses_what_a_paused_job_makes_waits_for_it(site: SiteFolder, tmp_path: Path) -> None:
    store = JobStore(site, KINDS)

    def asked(**uses: Any) -> int:
        return store.submit("count", {"folder": str(tmp_path / "made"), "count": 1} | uses).id

    first = store.pause(asked(name="model")).id
    by_number, by_name, neither = asked(data_of=first), asked(model="model"), asked()
    with runner(site):
        wait_for(lambda: store.get(neither).state == "done")
        assert [store.get(number).state for number in (first, by_number, by_name)] == ["queued"] * 3
        store.resume(first)
        wait_for(lambda: all(store.get(number).state == "done" for number in (first, by_number, by_name)))


@pytest.mark.parametrize("kind", JOB_KINDS, ids=lambda kind: kind.name)
def test_each_kind_of_job_can_be_paused_resumed_and_stopped_or_says_why_not(site: SiteFolder, kind: JobKind) -> None:
    store = JobStore(site)
    job = store.submit(kind.name)
    if kind.heavy:
        assert store.pause(job.id).paused and store.resume(job.id).state == "queued"
    else:
        with pytest.raises(WardposeError, match="it is over in moments"):
            store.pause(job.id)
    assert store.cancel(job.id).state == "cancelled"
    again = store.resume(job.id)
    assert again.state == "queued" and bool(again.why_not_paused) is not kind.heavy


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_people(tmp_path_factory.mktemp("drawn") / "data", 24)


@pytest.mark.parametrize("kind", [kind.name for kind in JOB_KINDS if kind.heavy])
def test_the_work_of_each_long_kind_can_be_held_and_stopped_at_its_first_word(
    fetched: Path, site: SiteFolder, people: Path, kind: str
) -> None:
    """A job is paused and stopped where it tells how far it is: there it holds no lock that others want."""
    annotations = str(people / "annotations.json")
    site.settings_file.write_text("[synthesis]\nworkers = 1\n")
    if kind == "promote":
        kinds.build(site, {"architecture": "yolo11n", "name": "candidate", "width": 64, "height": 64}, lambda *_: None)
    parameters: dict[str, Any] = {
        "synth": {"scenario": "C", "count": 1},
        "tune": {"model": "nanodet", "data": str(people), "name": "tuned"},
        "export": {"model": "person-detector"},
        "evaluate": {"model": "nanodet", "data": annotations},
        "promote": {"model": "candidate", "data": annotations, "reason": "a test"},
        "base": {"task": "detector", "data": str(people), "size": 64, "threads": 1, "epochs": 1},
    }[kind]
    job = JobStore(site).submit(kind, parameters)

    def stop(done: int, total: int, note: str) -> None:
        assert JobStore(site).cancel(job.id).state == "cancelled"  # a deed with rows of its own, done meanwhile
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_kinds()[kind].run(site, job.parameters, stop)


def test_the_way_and_the_status_say_that_a_job_is_paused(site: SiteFolder, capsys: pytest.CaptureFixture[str]) -> None:
    job = JobStore(site).submit("synth", {"scenario": "C", "count": 3})
    JobStore(site).pause(job.id)
    stage = next(stage for stage in the_way(site, {}) if stage.name == "images")
    assert (stage.state, stage.page) == ("paused", "retarget") and "lets it go on" in stage.next
    assert main(["status", "--home", str(site.root)]) == 0
    assert "#1 Making training images: paused (0 %)" in capsys.readouterr().out
