"""Jobs survive what happens to a box: kill -9 of either side, cancelling, errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.jobs.runner import JobRunner
from appliance.jobs.store import JobStore
from appliance.site.database import now
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from calibration.processes import is_running, pid_of, process_identity

KINDS = "tests.appliance.work_for_tests"


@pytest.fixture
def runner(site: SiteFolder) -> Iterator[JobRunner]:
    runner = JobRunner(site, KINDS)
    yield runner
    runner.stop_all()


def step_until(runner: JobRunner, condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, [(job.id, job.state, job.error) for job in runner.store.all()]
        runner.step()
        time.sleep(0.05)


def test_a_job_is_done_and_keeps_its_figures(site: SiteFolder, runner: JobRunner, tmp_path: Path) -> None:
    job = runner.store.submit("count", {"folder": str(tmp_path / "out"), "count": 5})
    step_until(runner, lambda: not runner.store.get(job.id).active)
    job = runner.store.get(job.id)
    assert (job.state, job.done, job.total, job.fraction) == ("done", 5, 5, 1.0)
    assert job.result == {"made": 5}


def test_a_job_whose_runner_died_before_its_process_began_is_begun_again(
    site: SiteFolder, runner: JobRunner, tmp_path: Path
) -> None:
    job = runner.store.submit("count", {"folder": str(tmp_path / "out"), "count": 2})
    with site.database.transaction(immediate=True) as db:  # what the runner wrote last
        db.execute(
            "UPDATE jobs SET state = 'running', started_at = ?, attempts = attempts + 1 WHERE id = ?", (now(), job.id)
        )
    step_until(runner, lambda: not runner.store.get(job.id).active)
    job = runner.store.get(job.id)
    assert (job.state, job.attempts, job.result) == ("done", 2, {"made": 2})


def test_a_mendable_error_is_kept_as_one_line(runner: JobRunner) -> None:
    job = runner.store.submit("refuse")
    step_until(runner, lambda: not runner.store.get(job.id).active)
    assert runner.store.get(job.id).error == "the ward: no bed; put one there"
    assert runner.store.get(job.id).state == "failed"


def test_a_defect_is_told_and_its_traceback_logged(runner: JobRunner) -> None:
    job = runner.store.submit("break")
    step_until(runner, lambda: not runner.store.get(job.id).active)
    assert runner.store.get(job.id).error.startswith("a defect in wardpose: ZeroDivisionError: one by none; ")
    assert any("break_down" in line for line in runner.store.log_tail(job.id))


def test_an_unknown_kind_is_refused_by_name(runner: JobRunner) -> None:
    with pytest.raises(WardposeError, match=r"no job is called 'sing'.*count"):
        runner.store.submit("sing")


def test_heavy_jobs_take_turns_and_a_light_one_runs_beside(runner: JobRunner, tmp_path: Path) -> None:
    slow = {"count": 1000, "seconds_each": 0.05}
    first = runner.store.submit("count", slow | {"folder": str(tmp_path / "a")})
    second = runner.store.submit("count", slow | {"folder": str(tmp_path / "b")})
    light = runner.store.submit("count-light", slow | {"folder": str(tmp_path / "c")})
    step_until(runner, lambda: all(runner.store.get(n).done > 0 for n in (first.id, light.id)))
    assert runner.store.get(second.id).state == "queued"


def test_cancelling_stops_a_running_job_and_forgets_a_queued_one(runner: JobRunner, tmp_path: Path) -> None:
    slow = {"count": 1000, "seconds_each": 0.05}
    first = runner.store.submit("count", slow | {"folder": str(tmp_path / "a")})
    second = runner.store.submit("count", slow | {"folder": str(tmp_path / "b")})
    step_until(runner, lambda: runner.store.get(first.id).done > 0)
    assert runner.store.cancel(second.id).state == "cancelled"
    runner.store.cancel(first.id)
    step_until(runner, lambda: runner.store.get(first.id).state == "cancelled")
    assert not (tmp_path / "b").exists()


def test_a_killed_job_is_noticed_and_carries_on_when_resumed(runner: JobRunner, tmp_path: Path) -> None:
    job = runner.store.submit("count", {"folder": str(tmp_path / "a"), "count": 40, "seconds_each": 0.05})
    step_until(runner, lambda: runner.store.get(job.id).done > 3)
    os.kill(pid_of(runner.store.get(job.id).process), signal.SIGKILL)
    step_until(runner, lambda: runner.store.get(job.id).state == "interrupted")
    kept = len(list((tmp_path / "a").iterdir()))
    runner.store.resume(job.id)
    step_until(runner, lambda: runner.store.get(job.id).state == "done")
    result = runner.store.get(job.id).result
    assert result is not None and result["made"] == 40 - kept
    assert runner.store.get(job.id).attempts == 2


def test_a_job_outlives_a_killed_runner_and_the_next_one_takes_it_over(site: SiteFolder, tmp_path: Path) -> None:
    job = JobStore(site, KINDS).submit("count", {"folder": str(tmp_path / "a"), "count": 60, "seconds_each": 0.05})
    script = (
        "import sys, time\nfrom appliance.jobs.runner import JobRunner\nfrom appliance.site.folder import SiteFolder\n"
        "runner = JobRunner(SiteFolder.open(sys.argv[1]), sys.argv[2])\n"
        "while True:\n    runner.step()\n    time.sleep(0.05)\n"
    )
    first = subprocess.Popen([sys.executable, "-c", script, str(site.root), KINDS])
    store = JobStore(site, KINDS)
    deadline = time.monotonic() + 30
    while store.get(job.id).done < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.kill()
    first.wait()
    assert is_running(store.get(job.id).process)
    second = JobRunner(site, KINDS)
    step_until(second, lambda: not store.get(job.id).active)
    assert (store.get(job.id).state, store.get(job.id).attempts) == ("done", 1)


def test_a_row_left_by_a_power_cut_is_interrupted_at_the_next_start(site: SiteFolder) -> None:
    store = JobStore(site, KINDS)
    job = store.submit("count", {"folder": "x", "count": 1})
    other_boot = process_identity(os.getpid()).replace("-", "0", 1)
    with site.database.transaction() as db:
        db.execute(
            "UPDATE jobs SET state = 'running', started_at = created_at, process = ? WHERE id = ?", (other_boot, job.id)
        )
    JobRunner(site, KINDS).step()
    assert store.get(job.id).state == "interrupted"
    with pytest.raises(WardposeError, match="no job 99"):
        store.get(99)


def test_only_a_stopped_job_can_be_resumed(site: SiteFolder) -> None:
    store = JobStore(site, KINDS)
    job = store.submit("count", {"folder": "x", "count": 1})
    with pytest.raises(WardposeError, match="is queued"):
        store.resume(job.id)
