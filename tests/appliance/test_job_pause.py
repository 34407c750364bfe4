"""A paused job waits with what it has, takes no processor, and loses nothing, whatever ends meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from appliance.jobs.processes import processes_of
from appliance.jobs.store import Job, JobStore
from appliance.site import audit
from appliance.site.folder import SiteFolder
from appliance.tui.job_words import outcome, state_of
from calibration.errors import WardposeError
from calibration.processes import pid_of
from tests.appliance.test_job_runner import KINDS, wait_for
from tests.conftest import REPOSITORY


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
        (job.id, "is cancelled"),
        (store.submit("count-light", {"folder": "x", "count": 1}).id, "can't be paused"),
    ):
        with pytest.raises(WardposeError, match=mistake):
            store.pause(number)
