"""Calibration from depth alone: beds ray-cast from boxes and ellipsoids, seen by a noisy time-of-flight camera."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from benchmarks.depth_scenes import BedScene, cast, time_of_flight
from benchmarks.sheet_pictures import KINECT_720P
from calibration.bed import Bed
from calibration.depth import DepthCalibrator, median_depth
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.posterior import pose_difference
from calibration.surfaces import find_floor, fit_plane
from calibration.viewpoint import Viewpoint
from synth.simulated_camera import KINECT_COLOR_FROM_DEPTH, KINECT_DEPTH

SMALL = KINECT_DEPTH.resized(320, 288)
BED = Bed(height=0.6)


@cache
def pictures(scene: BedScene, view: Viewpoint, seed: int = 0) -> np.ndarray:
    depth_from_bed = np.linalg.inv(KINECT_COLOR_FROM_DEPTH) @ view.camera_from_bed
    return time_of_flight(cast(scene, KINECT_DEPTH, depth_from_bed), np.random.default_rng(seed), 3)


def estimate(depths: np.ndarray, bed: Bed = BED, up: np.ndarray | None = None) -> CalibrationEstimate:
    return DepthCalibrator().estimate_depth(depths, KINECT_DEPTH, KINECT_COLOR_FROM_DEPTH, KINECT_720P, bed, up=up)


def refusal(depths: np.ndarray, bed: Bed = BED) -> str:
    with pytest.raises(WardposeError) as caught:
        estimate(depths, bed)
    assert caught.value.mend
    return str(caught.value)


@pytest.mark.parametrize(
    ("scene", "view"),
    [
        (BedScene(BED), Viewpoint(90, 45, 2.3)),
        (BedScene(BED, patient=True), Viewpoint(25, 35, 2.8)),
        (BedScene(BED, patient=True, rails=(-1, 1)), Viewpoint(30, 35, 2.8)),
        (BedScene(BED, patient=True, blanket=True, backrest_deg=30), Viewpoint(-40, 38, 2.6)),
    ],
    ids=["empty", "patient", "rails", "blanket and backrest"],
)
def test_the_camera_is_found_to_centimetres_and_its_posterior_covers_it(scene: BedScene, view: Viewpoint) -> None:
    found = estimate(pictures(scene, view))
    delta = pose_difference(view.camera_from_bed, found.camera_from_bed)
    assert np.degrees(np.linalg.norm(delta[:3])) < 1.0
    assert np.linalg.norm(found.viewpoint.centre - view.centre) < 0.05
    assert delta @ np.linalg.solve(found.covariance, delta) < 16.8  # 99 % of chi² in six dimensions
    assert not found.confirmed
    assert "the head" in found.notes[0]


def test_the_known_direction_of_gravity_changes_nothing_where_the_floor_is_clear() -> None:
    view = Viewpoint(60, 40, 2.5)
    depths = pictures(BedScene(BED), view)
    up = (np.linalg.inv(KINECT_COLOR_FROM_DEPTH) @ view.camera_from_bed)[:3, 2]
    level = estimate(depths, up=up)
    np.testing.assert_allclose(level.camera_from_bed, estimate(depths).camera_from_bed, atol=5e-3)
    np.testing.assert_array_equal(level.covariance, estimate(depths, up=up).covariance)


def test_depth_that_is_all_zero_is_refused() -> None:
    assert "every depth reading is zero" in refusal(np.zeros((3, 576, 640), np.uint16))


def test_a_covered_camera_is_refused() -> None:
    depths = np.zeros((3, 576, 640), np.uint16)
    depths[:, 200:260, 200:300] = 700
    assert "has a reading" in refusal(depths)


def test_a_wall_alone_is_refused() -> None:
    assert "no floor" in refusal(np.full((3, 576, 640), 2500, np.uint16))


def test_a_room_without_a_bed_is_refused() -> None:
    depth_from_bed = np.linalg.inv(KINECT_COLOR_FROM_DEPTH) @ Viewpoint(20, 40, 2.6).camera_from_bed
    origin = -depth_from_bed[:3, :3].T @ depth_from_bed[:3, 3]
    columns, rows = np.meshgrid(np.arange(640), np.arange(576))
    rays = KINECT_DEPTH.unproject(np.stack([columns.ravel(), rows.ravel()], 1).astype(float)) @ depth_from_bed[:3, :3]
    with np.errstate(invalid="ignore"):
        floor = np.nan_to_num(-(0.6 + origin[2]) / rays[:, 2], nan=0).reshape(576, 640)
    floor = np.where((floor > 0.5) & (floor < 4.5), floor, 0)
    assert "faces upward" in refusal(time_of_flight(floor, np.random.default_rng(0), 3))


@pytest.mark.parametrize("bed", [Bed(2.0, 1.3, 0.6), Bed(1.4, 0.7, 0.6), Bed(2.5, 0.9, 0.6)])
def test_a_bed_of_another_size_is_refused(bed: Bed) -> None:
    reason = refusal(pictures(BedScene(BED), Viewpoint(60, 40, 2.6)), bed)
    assert re.search("misses its|empty air|beside a mattress|reaches its|be seen", reason)


def test_a_wrong_shape_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="uint16"):
        median_depth(np.zeros((576, 640), np.uint16), KINECT_DEPTH)


def test_the_median_forgets_a_reading_that_came_once() -> None:
    depths = np.full((5, SMALL.height, SMALL.width), 2000, np.uint16)
    depths[0] = 900
    depths[1:, 0, 0] = 0
    metres = median_depth(depths, SMALL)
    assert metres[10, 10] == 2.0
    assert metres[0, 0] == 0.0


@settings(max_examples=30, deadline=None)
@given(st.floats(-20, 20), st.floats(20, 70), st.floats(1.0, 2.5))
def test_a_plane_is_fitted_to_where_it_is(roll: float, tilt: float, away: float) -> None:
    normal = Rotation.from_euler("zx", [roll, -tilt], degrees=True).apply([0.0, -1.0, 0.0])
    rng = np.random.default_rng(1)
    along = np.linalg.svd(normal[None])[2][1:]
    points = rng.uniform(-1, 1, (400, 2)) @ along - away * normal + rng.normal(0, 1e-3, (400, 1)) * normal
    plane = fit_plane(points, normal)
    assert np.degrees(np.arccos(min(1.0, plane.normal @ normal))) < 0.1
    assert abs(plane.offset - away) < 1e-3


def test_the_floor_is_not_the_mattress_above_it() -> None:
    view = Viewpoint(30, 40, 2.6)
    metres = cast(BedScene(BED), KINECT_DEPTH, view.camera_from_bed)
    rows, columns = np.nonzero(metres)
    points = KINECT_DEPTH.unproject(np.stack([columns, rows], 1).astype(float)) * metres[rows, columns][:, None]
    floor = find_floor(points, np.random.default_rng(0))
    assert floor is not None
    assert floor.offset == pytest.approx(view.centre[2] + BED.height, abs=0.01)
