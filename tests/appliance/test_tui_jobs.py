"""Jobs by the keys of Retarget and of a job's own page: paused, let go on, stopped, begun again; or why not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from textual.widgets import DataTable, Input

from appliance.client import ServiceClient
from appliance.jobs.store import JobStore
from appliance.site import audit, calibrations
from appliance.site.folder import SiteFolder
from appliance.tui.widgets import selected
from calibration.errors import WardposeError
from tests.appliance.terminal import on_screen, page, shows, terminal, until
from tests.appliance.test_job_runner import wait_for
from tests.appliance.test_tui import estimate
from tests.conftest import REPOSITORY


@pytest.fixture
def idle(served: SiteFolder) -> Iterator[SiteFolder]:
    """A site whose service leaves its jobs to a unit that is not there: they wait as long as a test wants."""
    command = [sys.executable, "-m", "appliance.service", "--home", str(served.root), "--without-jobs"]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    wait_for(lambda: answers(served))  # else the terminal UI would start one that runs jobs
    yield served
    process.terminate()
    process.wait(60)


def answers(site: SiteFolder) -> bool:
    try:
        with ServiceClient.connect(site, start=False):
            return True
    except WardposeError:
        return False


async def test_a_job_is_paused_let_go_on_stopped_and_begun_again_by_its_keys(idle: SiteFolder) -> None:
    store = JobStore(idle)
    job = store.submit("synth", {"scenario": "C", "count": 3}).id
    async with terminal(idle, size=(100, 40)) as pilot:
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
        store.steps_file(job).write_text("".join(f"{2 * at}.0\t{at}\t9\tloss {1 / at:.2f}\n" for at in range(1, 8)))
        await pilot.press("enter")
        await until(pilot, lambda: "r resumes it · Esc" in on_screen(pilot) and "loss 0.14" in on_screen(pilot))
        await pilot.press("r")
        await until(pilot, lambda: store.get(job).state == "queued")


async def test_what_is_over_in_moments_says_that_it_can_be_stopped_but_not_paused(idle: SiteFolder) -> None:
    store = JobStore(idle)
    job = store.submit("import", {"file": "/nowhere/a.onnx", "name": "a"}).id
    async with terminal(idle, size=(100, 40)) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: shows(pilot, "retarget") and "waits for its turn" in on_screen(pilot))
        await pilot.press("z")
        await until(pilot, lambda: "it is over in moments; x stops it" in page(pilot).notice.text)
        await pilot.press("x")
        await until(pilot, lambda: "r begins it from the start" in " ".join(on_screen(pilot).split()))
        await pilot.press("y")
        await until(pilot, lambda: store.get(job).state == "cancelled" and not page(pilot).busy)
        await until(pilot, lambda: "r starts it again" in on_screen(pilot))


async def test_what_was_just_asked_for_is_selected_and_images_are_deleted_after_a_question(idle: SiteFolder) -> None:
    calibrations.confirm(idle, calibrations.keep(idle, estimate()).id)
    store = JobStore(idle)
    store.submit("synth", {"scenario": "C", "count": 1})
    made = idle.datasets / "images-1"
    made.mkdir()
    with idle.database.transaction(immediate=True) as db:
        db.execute(
            "INSERT INTO datasets (made_at, folder, scenario, images, seed) VALUES (?, ?, 'C', 3, 1)",
            ("2026-01-01T00:00:00.000Z", idle.relative(made)),
        )
    async with terminal(idle, size=(100, 40)) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: shows(pilot, "retarget") and "3 in images-1" in on_screen(pilot))
        table = page(pilot).query_one("#jobs", DataTable)
        assert page(pilot).focused is table  # the arrows move it, and no Tab is wanted first
        page(pilot).query_one("#count", Input).value = "2"
        await pilot.press("m")
        await until(pilot, lambda: selected(table) == "2")
        await pilot.press("z")
        await until(pilot, lambda: store.get(2).paused and not page(pilot).busy)
        await pilot.press("down")
        await until(pilot, lambda: selected(table) == "1")
        await pilot.press("d")
        await until(pilot, lambda: "Delete which images?" in on_screen(pilot))
        await pilot.press("1")
        await until(pilot, lambda: "Delete the images images-1?" in on_screen(pilot))
        await pilot.press("y")
        await until(pilot, lambda: not made.exists())
        assert "dataset.remove" in [row.what for row in audit.rows(idle)]
