"""Jobs run in a program of their own, as systemd has it, and the service beside it leaves them to that."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from appliance.client import ServiceClient
from appliance.jobs.runner import Turn
from appliance.jobs.store import JobStore
from appliance.site.folder import SiteFolder
from calibration.processes import is_running, pid_of, process_identity
from tests.conftest import REPOSITORY

KINDS = "tests.appliance.work_for_tests"


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def jobs_unit(site: SiteFolder) -> Iterator[subprocess.Popen[bytes]]:
    """What the unit `wardpose-jobs` starts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "appliance.job_runner", "--home", str(site.root), "--kinds", KINDS], cwd=REPOSITORY
    )
    yield process
    process.terminate()
    process.wait(60)


def test_it_runs_jobs_beside_a_service_and_its_end_interrupts_them(
    site: SiteFolder, jobs_unit: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    store = JobStore(site, KINDS)
    job = store.submit("count", {"folder": str(tmp_path / "a"), "count": 2000, "seconds_each": 0.05})
    wait_for(lambda: store.get(job.id).done > 0)
    with ServiceClient.connect(site) as client:
        service = process_identity(client.status()["pid"])
        told = client.status()["jobs"][0]
        assert (told["id"], told["state"]) == (job.id, "running")
        assert psutil.Process(pid_of(store.get(job.id).process)).ppid() == jobs_unit.pid
        client.stop_service()
        wait_for(lambda: not is_running(service))
    assert store.get(job.id).state == "running"  # it was not the service's to interrupt
    jobs_unit.terminate()
    assert jobs_unit.wait(60) == 0
    assert store.get(job.id).state == "interrupted"
    assert not is_running(store.get(job.id).process)


def test_one_program_at_a_time_has_the_right_to_run_jobs(site: SiteFolder) -> None:
    first, second = Turn(site), Turn(site)
    assert first.take() and first.take() and not second.take()
    first.release()
    assert second.take() and not first.take()
    second.release()


def test_a_program_that_is_killed_leaves_the_right_to_the_next(site: SiteFolder) -> None:
    script = (
        "import os, sys\nfrom appliance.jobs.runner import Turn\nfrom appliance.site.folder import SiteFolder\n"
        "assert Turn(SiteFolder.open(sys.argv[1])).take()\nos.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(site.root)], cwd=REPOSITORY, check=False)
    assert ended.returncode == -9
    turn = Turn(site)
    assert turn.take()
    turn.release()
