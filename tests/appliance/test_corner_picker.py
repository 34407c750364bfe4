"""Picking corners by the keys alone, in a terminal of 80×24."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from textual.app import App
from textual.widgets import Static

from appliance.tui.corner_picker import CornerPicker
from benchmarks.sheet_pictures import KINECT_720P
from calibration.bed import Bed
from calibration.corners import calibrate_corners
from calibration.viewpoint import Viewpoint

VIEW = Viewpoint(25, 35, 2.8)


def corners_of(view: Viewpoint) -> np.ndarray:
    pose = view.camera_from_bed
    return KINECT_720P.project(Bed().corners @ pose[:3, :3].T + pose[:3, 3])


class Picking(App[None]):
    CSS_PATH = "../../appliance/tui/wardpose.tcss"

    def __init__(self, color: np.ndarray) -> None:
        super().__init__()
        self.picker, self.answer = CornerPicker(color), None

    def on_mount(self) -> None:
        self.push_screen(self.picker, lambda corners: setattr(self, "answer", corners))


async def test_four_corners_are_picked_to_a_pixel_and_give_the_camera() -> None:
    wanted = corners_of(VIEW)
    picture = cv2.fillPoly(np.full((720, 1280, 3), 90, np.uint8), [np.round(wanted).astype(np.int32)], (230, 230, 230))
    app = Picking(picture)
    async with app.run_test(size=(80, 24)) as pilot:
        for x, y in wanted:
            for zoom in range(5):
                step = 1280 / 2**zoom / app.picker._cells()[0] / 2
                here = app.picker._cursor
                across, down = round((x - here[0]) / step), round((y - here[1]) / step)
                for count, plus, less in ((across, "right", "left"), (down, "down", "up")):
                    leaps, steps = divmod(abs(count), 8)
                    key = plus if count > 0 else less
                    await pilot.press(*[f"shift+{key}"] * leaps, *[key] * steps)
                if zoom < 4:
                    await pilot.press("plus")
            await pilot.press("enter")
        await pilot.pause()
    assert app.answer is not None
    np.testing.assert_allclose(app.answer, wanted, atol=1.0)
    found = calibrate_corners(app.answer, KINECT_720P, Bed())
    assert np.linalg.norm(found.viewpoint.centre - VIEW.centre) < 0.05


async def test_the_screen_says_which_corner_comes_next_and_takes_one_back() -> None:
    app = Picking(np.zeros((720, 1280, 3), np.uint8))
    async with app.run_test(size=(80, 24)) as pilot:
        title = app.screen.query_one("#title", Static)
        assert "Corner 1 of 4: head right" in str(title.content)
        await pilot.press("enter", "shift+right", "enter")
        assert "Corner 3 of 4: foot left" in str(title.content)
        await pilot.press("backspace")
        assert "Corner 2 of 4: head left" in str(title.content)
        assert len(app.picker.corners) == 1
        await pilot.press("escape")
        await pilot.pause()
    assert app.answer == []


async def test_a_click_brings_the_cross_there_and_a_second_one_sets_the_corner() -> None:
    app = Picking(np.zeros((720, 1280, 3), np.uint8))
    async with app.run_test(size=(80, 24)) as pilot:
        before = app.picker._cursor
        await pilot.click("#picture", offset=(10, 5))
        assert app.picker._cursor != before and app.picker.corners == []
        await pilot.click("#picture", offset=(10, 5))
        assert len(app.picker.corners) == 1


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_everything_fits_the_terminal(size: tuple[int, int]) -> None:
    app = Picking(np.zeros((720, 1280, 3), np.uint8))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        for name in ("#title", "#picture", "#keys"):
            region = app.screen.query_one(name).region
            assert region.bottom <= size[1] and region.right <= size[0]
            assert region.height >= 1
