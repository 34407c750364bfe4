"""Camera, Calibrate and Models by their keys: what a new user once stumbled over."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from textual.widgets import DataTable, Input

from appliance.models.store import ModelStore
from appliance.site import calibrations
from appliance.site.folder import SiteFolder
from appliance.tui.calibrate import CalibratePage
from appliance.tui.camera import CameraPage
from appliance.tui.widgets import choose, selected
from tests.appliance.terminal import on_screen, page, shows, terminal, until
from tests.appliance.test_tui import estimate


async def test_a_kind_of_camera_is_typed_on_and_an_earlier_ones_good_word_does_not_stay(served: SiteFolder) -> None:
    async with terminal(served) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: shows(pilot, "camera") and page(pilot).query_one("#kinds", DataTable).row_count)
        camera = page(pilot)
        assert isinstance(camera, CameraPage)
        found: dict[str, Any] = {"source": "simulated", "width": 64, "height": 36, "fps": 9.0, "depth": None}
        camera._show_probe(found | {"calibrated": True, "imu": False})
        await until(pilot, lambda: "64×36, 9.0 fps" in on_screen(pilot))
        selections: list[Any] = []
        camera.watch(camera.query_one("#source", Input), "selection", lambda now: selections.append(now), init=False)
        choose(camera.query_one("#kinds", DataTable), "recording")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.focused, Input))
        await pilot.pause()
        assert all(
            selection.is_empty for selection in selections
        )  # what comes at once, as by a paste, replaces nothing
        await pilot.press(*"/none")
        assert camera.query_one("#source", Input).value == "recording:/none"
        await pilot.press("enter")
        await until(pilot, lambda: "/none" in camera.notice.text and not camera.busy)
        await until(pilot, lambda: "64×36" not in on_screen(pilot) and "not yet" in on_screen(pilot))


async def test_an_earlier_calibration_is_used_again_and_the_tag_sheet_is_written_on_one_page(
    served: SiteFolder, tmp_path: Path
) -> None:
    first, second = (calibrations.keep(served, estimate()).id for _ in range(2))
    for number in (first, second):
        calibrations.confirm(served, number)
    async with terminal(served) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: shows(pilot, "calibrate") and "earlier" in on_screen(pilot))
        calibrate = page(pilot)
        assert isinstance(calibrate, CalibratePage)
        calibrate._show_bed(np.full((36, 64, 3), 90, np.uint8), estimate(), {"id": first})
        await until(pilot, lambda: "As calibrated: the head" in on_screen(pilot))
        await pilot.press("y")
        await until(pilot, lambda: "is confirmed and in use" in calibrate.notice.text and not calibrate.busy)
        await pilot.press("w")
        await until(pilot, lambda: "one large page" in on_screen(pilot))
        await pilot.press("1")
        await until(pilot, lambda: isinstance(pilot.app.focused, Input))
        pilot.app.screen.query_one("#file", Input).value = str(tmp_path / "stick" / "sheet.pdf")
        (tmp_path / "stick").mkdir()
        await pilot.press("enter")
        await until(pilot, lambda: "1 page; print at 100 %" in " ".join(on_screen(pilot).split()))
    assert (tmp_path / "stick" / "sheet.pdf").read_bytes().startswith(b"%PDF")


async def test_the_model_that_the_list_stands_on_is_the_one_that_is_meant(fetched: Path, served: SiteFolder) -> None:
    with ModelStore(served).adding("mine", origin="a test") as folder:
        shutil.copytree(fetched / "nanodet", folder, dirs_exist_ok=True)
    async with terminal(served) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: shows(pilot, "models") and "mine" in on_screen(pilot))
        table = page(pilot).query_one(page(pilot).LIST, DataTable)
        assert page(pilot).focused is table
        for _ in range(table.row_count):
            if selected(table) == "mine":
                break
            await pilot.press("down")
        assert selected(table) == "mine"
        await pilot.press("j")
        await until(pilot, lambda: "Judge mine against nanodet" in " ".join(on_screen(pilot).split()))
        await pilot.press("n", "d")
        await until(pilot, lambda: "Delete" in on_screen(pilot) and "mine" in on_screen(pilot))
        await pilot.press("y")
        await until(pilot, lambda: not (served.models / "mine").exists())
