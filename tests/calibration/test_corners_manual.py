"""Clicked corners, the tape measure, head and foot, the outline."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.calibrate import falls_for, run
from benchmarks.calibration_traps import TRAPS, Trap
from benchmarks.calibration_trials import CONDITIONS
from benchmarks.sheet_pictures import KINECT_720P
from calibration.bed import Bed
from calibration.corners import calibrate_corners
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate, turned_round
from calibration.manual import ManualCalibrator, TapeMeasure, calibrate_manual
from calibration.outline import draw_bed, project_bed_outline
from calibration.posterior import pose_difference
from calibration.viewpoint import Viewpoint

BED = Bed()
VIEW = Viewpoint(25, 35, 2.8)


def clicks(viewpoint: Viewpoint, bed: Bed = BED) -> np.ndarray:
    transform = viewpoint.camera_from_bed
    return KINECT_720P.project(bed.corners @ transform[:3, :3].T + transform[:3, 3])


@settings(max_examples=40, deadline=None)
@given(st.floats(-170, 170), st.floats(15, 75), st.floats(2.6, 4), st.floats(-10, 10))
def test_exact_clicks_give_back_the_camera(azimuth: float, elevation: float, distance: float, roll: float) -> None:
    view = Viewpoint(azimuth, elevation, distance, roll)
    estimate = calibrate_corners(clicks(view), KINECT_720P, BED, draws=50)
    np.testing.assert_allclose(estimate.viewpoint.centre, view.centre, atol=1e-3)
    assert estimate.reprojection_px < 0.01


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ((1, 0, 3, 2), "wrong way round"),
        ((0, 2, 1, 3), "cross"),
        ((3, 2, 1, 0), "wrong way round"),
        ((0, 1, 3, 2), "cross"),
    ],
)
def test_corners_in_the_wrong_order_are_refused(order: tuple[int, ...], reason: str) -> None:
    with pytest.raises(WardposeError, match=reason):
        calibrate_corners(clicks(VIEW)[list(order)], KINECT_720P, BED)


def test_corners_begun_at_the_side_do_not_fit_the_bed() -> None:
    with pytest.raises(WardposeError, match=r"misses the clicks|no camera"):
        calibrate_corners(np.roll(clicks(Viewpoint(5, 60, 2.8)), 1, axis=0), KINECT_720P, BED)


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        ([[100, 100], [100, 100], [500, 500], [100, 500]], "on each other"),
        ([[100, 100], [200, 100], [300, 100], [200, 300]], "in a line"),
        ([[-50, 100], [300, 100], [300, 400], [100, 400]], "outside"),
    ],
)
def test_degenerate_corners_are_refused(corners: list, reason: str) -> None:
    with pytest.raises(WardposeError, match=reason):
        calibrate_corners(corners, KINECT_720P, BED)


def test_a_wrong_shape_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match=r"\(4, 2\)"):
        calibrate_corners([[1, 2], [3, 4]], KINECT_720P, BED)


def test_blunter_clicks_and_an_unsure_bed_widen_the_posterior() -> None:
    sharp = calibrate_corners(clicks(VIEW), KINECT_720P, BED, 1.0, bed_size_sigma_m=0.001)
    blunt = calibrate_corners(clicks(VIEW), KINECT_720P, BED, 4.0, bed_size_sigma_m=0.001)
    unsure = calibrate_corners(clicks(VIEW), KINECT_720P, BED, 1.0, bed_size_sigma_m=0.03)
    assert blunt.centre_sigma_mm > 3 * sharp.centre_sigma_mm
    assert unsure.centre_sigma_mm > 2 * sharp.centre_sigma_mm


def test_the_tape_measures_own_viewpoint_is_the_estimate() -> None:
    estimate = calibrate_manual(VIEW, KINECT_720P, BED)
    np.testing.assert_allclose(estimate.camera_from_bed, VIEW.camera_from_bed)


def test_the_manual_posterior_samples_as_widely_as_the_tape_errs() -> None:
    tape = TapeMeasure(azimuth_deg=6, elevation_deg=0.5, distance_m=0.02, roll_deg=0.5, look_at_m=0.01)
    estimate = calibrate_manual(VIEW, KINECT_720P, BED, tape, draws=1500)
    rng = np.random.default_rng(3)
    azimuths = [Viewpoint.from_transform(pose).azimuth_deg for pose in estimate.sample(rng, 800)]
    assert np.std(azimuths) == pytest.approx(6, rel=0.15)


@pytest.fixture(scope="module")
def estimate() -> CalibrationEstimate:
    return calibrate_corners(clicks(VIEW), KINECT_720P, BED)


def test_turning_round_twice_is_nothing(estimate: CalibrationEstimate) -> None:
    np.testing.assert_allclose(turned_round(turned_round(estimate)).camera_from_bed, estimate.camera_from_bed)


def test_turning_round_exchanges_head_and_foot_on_the_same_outline(estimate: CalibrationEstimate) -> None:
    turned = turned_round(estimate)
    np.testing.assert_allclose(clicks_of(turned), np.roll(clicks_of(estimate), 2, axis=0), atol=1e-6)
    assert abs(abs(turned.viewpoint.azimuth_deg - estimate.viewpoint.azimuth_deg) - 180) < 1e-6
    assert not turned.confirmed


def clicks_of(estimate: CalibrationEstimate) -> np.ndarray:
    pose = estimate.camera_from_bed
    return KINECT_720P.project(BED.corners @ pose[:3, :3].T + pose[:3, 3])


def test_the_outline_is_closed_and_passes_through_the_clicks(estimate: CalibrationEstimate) -> None:
    outline = project_bed_outline(estimate, samples=8)
    np.testing.assert_allclose(outline[::8][:4], clicks(VIEW), atol=0.01)
    np.testing.assert_allclose(outline[0], outline[-1])


def test_the_outline_of_a_bed_half_behind_the_camera_has_gaps_not_nonsense() -> None:
    near = calibrate_manual(Viewpoint(0, 30, 0.9), KINECT_720P, BED)
    outline = project_bed_outline(near)
    assert np.isnan(outline).any()
    assert np.isfinite(outline).any()
    assert np.nanmax(np.abs(outline)) < 5000


def test_drawing_leaves_the_given_picture_alone(estimate: CalibrationEstimate) -> None:
    picture = np.full((720, 1280, 3), 40, np.uint8)
    drawn = draw_bed(picture, estimate)
    assert (picture == 40).all()
    row, column = np.round(clicks(VIEW)[0][::-1]).astype(int)
    assert (drawn[row - 2 : row + 3, column - 2 : column + 3] != 40).any()


def test_the_benchmark_reports_every_condition() -> None:
    seen: list[tuple[int, int, str]] = []
    report = run(2, methods=("corners", "manual"), progress=lambda done, total, note: seen.append((done, total, note)))
    assert set(report["methods"]) == {"corners", "manual"}
    for figures in [*report["methods"].values(), *report["conditions"].values()]:
        assert {"rotation_deg", "camera_mm", "coverage95", "refused", "wrong"} <= set(figures)
    assert report["methods"]["corners"]["trap_inputs"] == len(report["traps"]) == 5
    assert seen[-1][0] == seen[-1][1] == 2 * len(report["conditions"])


@pytest.mark.parametrize("trap", [trap for trap in TRAPS if trap.method == "corners"], ids=lambda trap: trap.name)
def test_corners_that_cannot_be_trusted_are_refused(trap: Trap) -> None:
    # One corner may slip to where it fits a bed that the measures still allow: no picture can tell.
    assert falls_for(trap, 12, [2])[0] <= (1 if trap.name == "one corner slipped" else 0)


@pytest.mark.parametrize("method", ["corners", "manual"])
def test_posteriors_cover_what_they_claim(method: str) -> None:
    inside, trials = 0, 40
    simulate = next(condition.simulate for condition in CONDITIONS if condition.method == method)
    for trial in range(trials):
        truth, guess = simulate(np.random.default_rng([5, trial]))
        delta = pose_difference(truth, guess.camera_from_bed)
        inside += delta @ np.linalg.solve(guess.covariance, delta) <= 12.59
    assert inside >= 34


@pytest.mark.parametrize(
    ("viewpoint", "told"),
    [
        (Viewpoint(1000, 30, 2), "azimuth must lie between -360 and 360, got 1000"),
        (Viewpoint(0, 30, 1e9), "distance must lie between 0.1 and 20, got 1e\\+09"),
        (Viewpoint(0, 30, 2, 400), "roll must lie between -180 and 180, got 400"),
        (Viewpoint(0, 30, 2, 0, (0, -1e9, 0)), "look-at point must lie between 0 and 5"),
    ],
)
def test_measures_that_nobody_takes_at_a_bed_are_refused(viewpoint: Viewpoint, told: str) -> None:
    with pytest.raises(WardposeError, match=told):
        ManualCalibrator(viewpoint)
