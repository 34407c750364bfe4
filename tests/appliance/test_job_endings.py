"""A job that is over is over: whatever ended it, its state changes when its last process is gone, and not before."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from appliance.jobs import runner as job_runner
from appliance.jobs.processes import processes_of
from appliance.jobs.runner import JobRunner
from appliance.jobs.store import Job, JobStore
from appliance.site.folder import SiteFolder
from appliance.site.settings import set_value
from calibration.processes import is_running, pid_of, process_identity

KINDS = "tests.appliance.work_for_tests"
SCENARIO = 'like = "C"\nwidth = 160\nheight = 90\nviews_per_scene = 1\n'
DRAWN = random.Random(7)


class Watch:
    """Every process that was ever seen below a job's own, known by an identity that no other process has."""

    def __init__(self, store: JobStore, number: int) -> None:
        self._store, self._number = store, number
        self.seen: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            job = self._store.get(self._number)
            if job.process and is_running(job.process):
                with contextlib.suppress(psutil.Error):
                    own = psutil.Process(pid_of(job.process))
                    found = {process_identity(p.pid) for p in (own, *own.children(recursive=True))} - {""}
                    self.seen = self.seen | found  # a new set: the test reads the former one meanwhile

    def alive(self) -> list[str]:
        return [identity for identity in self.seen if is_running(identity)]

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def site(tmp_path: Path) -> SiteFolder:
    site = SiteFolder.open(tmp_path / "site")
    (tmp_path / "small.toml").write_text(SCENARIO)
    set_value(site, "synthesis", "workers", 2)
    return site


@pytest.fixture
def runner(site: SiteFolder) -> Iterator[JobRunner]:
    runner = JobRunner(site)
    yield runner
    runner.stop_all()


@pytest.fixture
def small(site: SiteFolder) -> Iterator[JobRunner]:
    runner = JobRunner(site, KINDS)
    yield runner
    runner.stop_all()


def make_images(runner: JobRunner, tmp_path: Path, seed: int) -> Job:
    wanted = {
        "scenario": str(tmp_path / "small.toml"),
        "count": 400,
        "seed": seed,
        "out": str(tmp_path / f"set-{seed}"),
    }
    return runner.store.submit("synth", wanted)


def step_until(runner: JobRunner, condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, [(job.id, job.state, job.note, job.error) for job in runner.store.all()]
        runner.step()
        time.sleep(0.02)


@pytest.mark.parametrize("moment", [0.0, 2.5, 4.0])
def test_making_images_is_cancelled_when_its_last_worker_is_gone(
    runner: JobRunner, tmp_path: Path, moment: float
) -> None:
    """The moment counts from the job's signature: loading, starting its workers, their first pictures."""
    job = make_images(runner, tmp_path, seed=int(10 * moment))
    with Watch(runner.store, job.id) as watch:
        step_until(runner, lambda: runner.store.get(job.id).process)
        following = make_images(runner, tmp_path, seed=99)
        time.sleep(moment + DRAWN.random())
        runner.store.cancel(job.id)
        while runner.store.get(job.id).state == "running":
            assert runner.store.get(following.id).state == "queued"
            runner.step()
            # The step that ends the job may start the next one: both saw no process of it.
            if runner.store.get(job.id).state != "running":
                assert watch.alive() == []
            time.sleep(0.02)
    assert runner.store.get(job.id).state == "cancelled"
    assert watch.seen and processes_of(runner.site, job.id) == []
    runner.store.cancel(following.id)
    step_until(runner, lambda: not runner.store.get(following.id).active)


def test_workers_die_with_a_job_that_is_killed_though_nobody_looks(runner: JobRunner, tmp_path: Path) -> None:
    job = make_images(runner, tmp_path, seed=1)
    with Watch(runner.store, job.id) as watch:
        step_until(runner, lambda: len(watch.alive()) >= 3)
        os.kill(pid_of(runner.store.get(job.id).process), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while watch.alive():
            assert time.monotonic() < deadline, [Path(f"/proc/{pid_of(i)}/cmdline").read_bytes() for i in watch.alive()]
            time.sleep(0.05)
        assert runner.store.get(job.id).state == "running"  # nobody has looked yet
        step_until(runner, lambda: runner.store.get(job.id).state == "interrupted")


def test_a_job_whose_service_was_killed_is_ended_by_the_next_one(site: SiteFolder, tmp_path: Path) -> None:
    job = make_images(JobRunner(site), tmp_path, seed=2)
    script = (
        "import sys, time\nfrom appliance.jobs.runner import JobRunner\nfrom appliance.site.folder import SiteFolder\n"
        "runner = JobRunner(SiteFolder.open(sys.argv[1]))\nwhile True:\n    runner.step()\n    time.sleep(0.05)\n"
    )
    first = subprocess.Popen([sys.executable, "-c", script, str(site.root)])
    second = JobRunner(site)
    with Watch(second.store, job.id) as watch:
        deadline = time.monotonic() + 120
        while len(watch.alive()) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        first.kill()
        first.wait()
        assert watch.alive()  # it outlives the service
        second.store.cancel(job.id)
        step_until(second, lambda: second.store.get(job.id).state != "running")
        assert watch.alive() == []
    assert second.store.get(job.id).state == "cancelled"


def test_a_helper_that_left_the_session_and_its_parent_is_found(small: JobRunner, tmp_path: Path) -> None:
    job = small.store.submit("stray", {"file": str(tmp_path / "pid")})
    step_until(small, lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    stray = process_identity(int((tmp_path / "pid").read_text()))
    assert is_running(stray)
    while small.store.get(job.id).state == "running":
        small.step()
    assert small.store.get(job.id).state == "done" and not is_running(stray)


def test_a_job_that_does_not_listen_is_killed_with_its_helpers(
    small: JobRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_runner, "MERCY_SECONDS", 0.5)
    job = small.store.submit("stubborn", {"file": str(tmp_path / "pid")})
    step_until(small, lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    helper = process_identity(int((tmp_path / "pid").read_text()))
    small.store.cancel(job.id)
    step_until(small, lambda: small.store.get(job.id).state != "running")
    assert small.store.get(job.id).state == "cancelled" and not is_running(helper)


@pytest.mark.parametrize("mistaken_as", ["error", "nothing"])
@pytest.mark.parametrize("cancelled", [True, False])
def test_a_library_that_mistakes_the_interrupt_changes_nothing(
    small: JobRunner, mistaken_as: str, cancelled: bool
) -> None:
    job = small.store.submit("mistaken", {"as": mistaken_as})
    step_until(small, lambda: small.store.get(job.id).note == "waiting")
    if cancelled:
        small.store.cancel(job.id)
    else:
        os.kill(pid_of(small.store.get(job.id).process), signal.SIGINT)
    step_until(small, lambda: small.store.get(job.id).state != "running")
    assert small.store.get(job.id).state == ("cancelled" if cancelled else "interrupted")


def test_a_job_that_has_said_its_last_word_and_does_not_end_is_ended(
    small: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_runner, "ENDING_SECONDS", 0.5)
    job = small.store.submit("lingering")
    step_until(small, lambda: small.store.get(job.id).outcome)
    own = small.store.get(job.id).process
    assert is_running(own) and small.store.get(job.id).state == "running"
    step_until(small, lambda: small.store.get(job.id).state != "running")
    assert small.store.get(job.id).state == "done" and not is_running(own)


def test_ending_the_service_waits_for_every_process_of_its_jobs(small: JobRunner, tmp_path: Path) -> None:
    job = small.store.submit("stubborn", {"file": str(tmp_path / "pid"), "listens": True})
    step_until(small, lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    helper = process_identity(int((tmp_path / "pid").read_text()))
    small.stop_all()
    assert small.store.get(job.id).state == "interrupted" and not is_running(helper)
