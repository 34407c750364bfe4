"""Jobs by the keys of Retarget and of a job's own page: paused, let go on, stopped, begun again; or why not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from appliance.jobs.store import JobStore
from appliance.site.folder import SiteFolder
from tests.appliance.terminal import on_screen, page, shows, terminal, until
from tests.conftest import REPOSITORY


@pytest.fixture
def idle(served: SiteFolder) -> Iterator[SiteFolder]:
    """A site whose service leaves its jobs to a unit that is not there: they wait as long as a test wants."""
    command = [sys.executable, "-m", "appliance.service", "--home", str(served.root), "--without-jobs"]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    yield served
    process.terminate()
    process.wait(60)


async def test_a_job_is_paused_let_go_on_stopped_and_begun_again_by_its_keys(idle: SiteFolder) -> None:
    store = JobStore(idle)
    job = store.submit("synth", {"scenario": "C", "count": 3}).id
    async with terminal(idle) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: shows(pilot, "retarget") and "waits for its turn" in on_screen(pilot))
        await pilot.press("z")
        await until(pilot, lambda: store.get(job).paused and "paused: it keeps" in on_screen(pilot))
        await until(pilot, lambda: not page(pilot).busy)
        await pilot.press("z")
        await until(pilot, lambda: "it is paused; r lets it go on" in page(pilot).notice.text)
        await pilot.press("r")
        await until(pilot, lambda: not store.get(job).paused and not page(pilot).busy)
        await pilot.press("x", "y")
        await until(pilot, lambda: store.get(job).state == "cancelled" and not page(pilot).busy)
        await until(pilot, lambda: "r resumes it where it stopped" in on_screen(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: "r resumes it · Esc" in on_screen(pilot))
        await pilot.press("r")
        await until(pilot, lambda: store.get(job).state == "queued")


async def test_what_is_over_in_moments_says_that_it_can_be_stopped_but_not_paused(idle: SiteFolder) -> None:
    store = JobStore(idle)
    job = store.submit("import", {"file": "/nowhere/a.onnx", "name": "a"}).id
    async with terminal(idle) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: shows(pilot, "retarget") and "waits for its turn" in on_screen(pilot))
        await pilot.press("z")
        await until(pilot, lambda: "it is over in moments; x stops it" in page(pilot).notice.text)
        await pilot.press("x")
        await until(pilot, lambda: "Nothing of it is kept" in " ".join(on_screen(pilot).split()))
        await pilot.press("y")
        await until(pilot, lambda: store.get(job).state == "cancelled" and not page(pilot).busy)
        await until(pilot, lambda: "r starts it again" in on_screen(pilot))
