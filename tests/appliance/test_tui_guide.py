"""The set-up guide, walked by its keys from nothing to a live simulated ward."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from textual.pilot import Pilot

from appliance.client import ServiceClient
from appliance.jobs.store import JobStore
from appliance.site import calibrations
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings, set_value
from appliance.tui.guide import GuidePage
from appliance.tui.way import examined_note, the_way
from tests.appliance import terminal as driven
from tests.appliance.terminal import on_screen, page, shows, terminal

until = partial(driven.until, patience_s=400.0, every_s=0.3)  # jobs run within: a test that passes does not wait for it


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve_with_small_held_out_sets(site: SiteFolder) -> None:
    """The site's service, whose jobs judge on a few pictures."""
    program = (
        "import sys; from appliance.service import Service; from appliance.site.folder import SiteFolder; "
        "Service(SiteFolder.open(sys.argv[1]), leave_when_idle=True, kinds='tests.appliance.quick_work').run()"
    )
    subprocess.Popen([sys.executable, "-c", program, str(site.root)], start_new_session=True)


def live_state(pilot: Pilot[int]) -> str:
    return str((page(pilot).status.get("live") or {}).get("state"))


async def next_is(pilot: Pilot[int], title: str) -> None:
    """Come back to the guide and wait for it to say what is next."""
    if not shows(pilot, "guide"):
        await until(pilot, lambda: not page(pilot).busy)
        await pilot.press("g")
    await until(pilot, lambda: f"Next: {title}" in on_screen(pilot))


@pytest.mark.timeout(2400)
async def test_the_guide_leads_from_nothing_to_live_by_keys(fetched: Path, served: SiteFolder) -> None:
    if os.getloadavg()[0] > 4 * (os.cpu_count() or 1):  # its jobs give way to everything else and would never end
        pytest.skip("this machine is too busy for the whole way")
    for pose_model in fetched.glob("movenet-*"):  # two models to tune and judge would only take longer
        shutil.rmtree(pose_model)
    set_value(served, "camera", "source", "simulated:ward#fps=2")
    set_value(served, "synthesis", "count", 3)
    set_value(served, "display", "port", free_port())
    serve_with_small_held_out_sets(served)
    async with terminal(served, size=(100, 30)) as pilot:
        await next_is(pilot, "Camera")
        await pilot.press("enter")
        await until(pilot, lambda: shows(pilot, "camera") and "delivers" in page(pilot).notice.text)
        assert page(pilot).notice.text.endswith("g: on with the guide")
        await next_is(pilot, "Calibration")
        await pilot.press("enter")
        await until(pilot, lambda: "Calibrate how?" in on_screen(pilot))
        await pilot.press("1")
        await until(pilot, lambda: "As calibrated: the head" in on_screen(pilot))
        await pilot.press("y")
        await until(pilot, lambda: calibrations.current_row(served))
        await next_is(pilot, "Plate of the empty bed")
        await pilot.press("n")
        await next_is(pilot, "Retarget")
        await pilot.press("enter")
        await until(pilot, lambda: "Make 3 images" in on_screen(pilot))
        await pilot.press("y")
        await until(pilot, lambda: len(JobStore(served).all()) == 3)
        await until(pilot, lambda: all(job.state == "done" for job in JobStore(served).all()))
        await next_is(pilot, "Review")
        await pilot.press("y")
        await next_is(pilot, "Go live")
        await pilot.press("enter")
        await until(pilot, lambda: live_state(pilot) == "live")
        await pilot.press("g")
        await until(pilot, lambda: shows(pilot, "guide"))
        # A machine too busy for a picture of this second stays at the step before: the arrows go on all the same.
        while "Show the nurse the page" not in on_screen(pilot):
            await pilot.press("down")
            await pilot.pause(0.1)
        await pilot.press("y")
        await until(pilot, lambda: "hand-over" in load_settings(served).terminal.guide)
        await until(pilot, lambda: "All is done" in on_screen(pilot) or "Next: Go live" in on_screen(pilot))
    assert {examined_note("simulated:ward#fps=2"), "plates", "review", "hand-over"} == set(
        load_settings(served).terminal.guide.split()
    )
    with ServiceClient.connect(served) as client:
        client.stop_live("the test ends")


async def test_the_guide_goes_on_where_it_was_left(calibrated: SiteFolder, served: SiteFolder) -> None:
    calibrations.confirm(served)
    set_value(served, "terminal", "guide", "plates")
    async with terminal(served) as pilot:
        await next_is(pilot, "Retarget")
        assert isinstance(page(pilot), GuidePage) and "left out" in on_screen(pilot)


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_the_guide_says_how_long_each_step_and_the_whole_still_take(
    site: SiteFolder, size: tuple[int, int]
) -> None:
    set_value(site, "terminal", "guide", "plates")
    async with terminal(site, size=size) as pilot:
        await pilot.press("g")
        await until(pilot, lambda: " of 7, about " in on_screen(pilot) and " min left" in on_screen(pilot))
        lines = {line.split("  ")[2].strip(): line[: size[0] * 3 // 5 if size[0] >= 130 else None].rstrip()
                 for line in on_screen(pilot).splitlines() if line.startswith(("  ○  ", "  ●  "))}  # fmt: skip
        assert lines["Calibration"].endswith("2 min") and lines["Hand over"].endswith("5 min")
        assert not lines["Plate of the empty bed"].endswith("min")  # nothing is left of it
        assert "Enter does it" in on_screen(pilot)  # what the step is for and how it is done, without scrolling


def test_an_examined_camera_is_known_until_another_is_chosen(site: SiteFolder) -> None:
    def camera() -> str:
        return the_way(site, {})[0].state

    assert camera() == "not tried"
    set_value(site, "terminal", "guide", f"plates {examined_note('simulated')}")
    assert camera() == "examined"
    set_value(site, "camera", "source", "video:0")
    assert camera() == "not tried"
