"""The bed of the page lies where the calibrated camera sees it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.page_scene import CAMERA
from calibration.bed import Bed
from calibration.viewpoint import Viewpoint
from runtime.bed_view import BedView
from runtime.display.bed_picture import bed_picture


def view(azimuth_deg: float = 20.0, backrest_deg: float = 0.0, distance_m: float = 2.7) -> BedView:
    camera_from_bed = Viewpoint(azimuth_deg, 38.0, distance_m).camera_from_bed
    return BedView(CAMERA, camera_from_bed, Bed(backrest_deg=backrest_deg))


def outline(parts: list[dict[str, object]], name: str) -> np.ndarray:
    return np.concatenate([np.asarray(part["points"], float) for part in parts if part["part"] == name])


@pytest.mark.parametrize("azimuth_deg", [0.0, 20.0, 90.0, -90.0, 160.0])
def test_the_mattress_is_drawn_where_its_corners_are_seen(azimuth_deg: float) -> None:
    seen = view(azimuth_deg)
    corners = CAMERA.project(seen.bed.corners @ seen.camera_from_bed[:3, :3].T + seen.camera_from_bed[:3, 3])
    drawn = outline(bed_picture(seen, CAMERA.width, CAMERA.height), "mattress")
    for corner in corners:
        assert np.hypot(*(drawn - corner).T).min() < 0.1
    half = outline(bed_picture(seen, CAMERA.width // 2, CAMERA.height // 2), "mattress")
    assert np.abs(half - ((drawn + 0.5) / 2 - 0.5)).max() < 0.2


def test_it_has_a_head_end_with_a_pillow_and_rails_on_both_sides() -> None:
    parts = bed_picture(view(), CAMERA.width, CAMERA.height)
    head, foot, pillow = (outline(parts, name).mean(axis=0) for name in ("head", "foot", "pillow"))
    assert np.hypot(*(pillow - head)) < np.hypot(*(pillow - foot))
    assert sum(part["part"] == "rail" for part in parts) == 8
    names = [part["part"] for part in parts]
    assert names.index("mattress") > names.index("head") and names.index("pillow") > names.index("mattress")


def test_a_raised_backrest_raises_the_head_of_the_mattress_and_leaves_its_foot() -> None:
    flat, raised = (outline(bed_picture(view(0.0, deg), 1280, 720), "mattress") for deg in (0.0, 45.0))
    assert raised[:, 1].min() < flat[:, 1].min() - 30  # from the foot end, up is up
    assert raised[:, 1].max() == pytest.approx(flat[:, 1].max(), abs=0.2)


def test_where_the_calibration_says_nothing_no_bed_is_drawn() -> None:
    assert bed_picture(view(), 640, 640) == []  # a picture of another shape
    assert bed_picture(view(), 0, 0) == []
    assert bed_picture(view(distance_m=0.6), CAMERA.width, CAMERA.height) == []  # partly behind the camera
