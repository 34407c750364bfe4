"""The lens bends pictures as OpenCV's camera model says; the sensor scales, blurs and adds noise as told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from calibration.camera import CameraModel
from runtime.capture.recording import RecordingSource
from synth.scenario import KINECT_COLOR
from synth.sensor import Exposure, Lens, SensorSettings, draw_exposure, encode_jpeg, expose, lens_of, metered
from synth.simulated_camera import KINECT_DEPTH

PLAIN = Exposure((1.0, 1.0, 1.0), 1.0, 0.0, 0.0, 0.0, (0.0, 0.0), 90, 0)


@settings(max_examples=25, deadline=None)
@given(column=st.integers(0, 639), row=st.integers(0, 359))
def test_a_bent_picture_shows_each_point_where_opencv_projects_it(column: int, row: int) -> None:
    camera = KINECT_COLOR.resized(640, 360)
    lens = Lens(camera)
    x, y = np.meshgrid(
        np.arange(lens.pinhole.width, dtype=np.float32), np.arange(lens.pinhole.height, dtype=np.float32)
    )
    # A picture of its own coordinates: the bent one tells where each pixel was looked up.
    u, v = lens.bend_plane(x)[row, column], lens.bend_plane(y)[row, column]
    ray = np.array([[(u - lens.pinhole.cx) / lens.pinhole.fx, (v - lens.pinhole.cy) / lens.pinhole.fy, 1.0]])
    assert (
        np.abs(camera.project(ray)[0] - [column, row]).max() < 0.8
    )  # nearest pixel: half a pixel, and the lens's scale


@pytest.mark.parametrize("camera", [KINECT_COLOR, KINECT_DEPTH, KINECT_COLOR.resized(320, 180)])
def test_a_bent_picture_has_the_cameras_size_and_no_empty_border(camera: CameraModel) -> None:
    lens = Lens(camera)
    white = np.full((lens.pinhole.height, lens.pinhole.width, 3), 255, np.uint8)
    assert lens.bend_color(white).shape == (camera.height, camera.width, 3)
    inside = np.zeros(white.shape[:2], bool)
    inside[1:-1, 1:-1] = True
    assert lens.bend_plane(inside).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 600), st.integers(0, 340), st.integers(1, 300), st.integers(1, 200))
def test_all_that_is_looked_up_in_a_box_lies_within_its_reach(x: int, y: int, width: int, height: int) -> None:
    lens = lens_of(KINECT_COLOR.resized(640, 360))
    plane = np.zeros((lens.pinhole.height, lens.pinhole.width), bool)
    plane[y : y + height, x : x + width] = True
    bent = lens.bend_plane(plane)
    left, top, columns, rows = lens.reach([x, y, width, height])
    window = (slice(top, top + rows), slice(left, left + columns))
    np.testing.assert_array_equal(lens.bend_plane(plane, window), bent[window])
    assert bent[window].sum() == bent.sum()


def test_bending_agrees_with_opencvs_undistortion() -> None:
    camera = KINECT_COLOR.resized(640, 360)
    lens = Lens(camera)
    rng = np.random.default_rng(0)
    ideal = cv2.GaussianBlur(
        rng.integers(0, 255, (lens.pinhole.height, lens.pinhole.width, 3), dtype=np.uint8), (0, 0), 6
    )
    ideal = cv2.normalize(ideal, None, 0, 255, cv2.NORM_MINMAX)
    size = (lens.pinhole.width, lens.pinhole.height)
    maps = cv2.initUndistortRectifyMap(
        camera.matrix, camera.coefficients, None, lens.pinhole.matrix, size, cv2.CV_32FC1
    )
    back = cv2.remap(lens.bend_color(ideal), *maps, cv2.INTER_LINEAR)
    middle = (slice(30, -30), slice(30, -30))
    assert np.abs(back[middle].astype(int) - ideal[middle]).mean() < 1.5


def test_an_undistorted_camera_leaves_the_picture_alone() -> None:
    camera = CameraModel(64, 48, 60.0, 60.0, 31.5, 23.5)
    lens = Lens(camera)
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    assert lens.pinhole == camera
    assert np.array_equal(lens.bend_color(picture), picture)


def test_a_lens_that_folds_over_inside_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="distortion"):
        Lens(CameraModel(640, 480, 300.0, 300.0, 319.5, 239.5, (-0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)))


def test_a_plain_exposure_changes_nothing() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert np.abs(expose(grey, PLAIN).astype(int) - grey).max() <= 1


def test_one_stop_more_doubles_the_light() -> None:
    grey = np.full((8, 8, 3), 100, np.uint8)
    brighter = expose(grey, Exposure((2.0, 2.0, 2.0), 1.0, 0.0, 0.0, 0.0, (0.0, 0.0), 90, 0))[0, 0, 0]

    def linear(value: float) -> float:
        return ((value / 255 + 0.055) / 1.055) ** 2.4

    assert linear(brighter) == pytest.approx(2 * linear(100), rel=0.02)


def test_automatic_exposure_evens_out_the_light_as_far_as_told() -> None:
    rooms = [np.full((64, 64, 3), level, np.uint8) for level in (60, 150)]
    full, none = SensorSettings(auto_exposure=1.0), SensorSettings(auto_exposure=0.0)
    first, second = (int(expose(room, metered(room, PLAIN, full)).mean()) for room in rooms)
    assert abs(first - second) <= 3
    assert all(metered(room, PLAIN, none) == PLAIN for room in rooms)


def test_noise_has_the_strength_asked_for() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = expose(grey, Exposure((1.0, 1.0, 1.0), 1.0, 0.02, 0.0, 0.0, (0.0, 0.0), 90, 7))
    assert noisy.std() / 255 == pytest.approx(0.02, rel=0.05)


def quiet_noise(color: NDArray[np.uint8]) -> tuple[float, float]:
    """Standard deviation of brightness in a picture's quietest blocks, and its correlation to the next pixel."""
    bright = cv2.cvtColor(color, cv2.COLOR_RGB2YCrCb)[..., 0].astype(np.float64)
    fine = bright - cv2.GaussianBlur(bright, (0, 0), 3)
    rows, columns = fine.shape[0] // 16, fine.shape[1] // 16
    blocks = fine[: rows * 16, : columns * 16].reshape(rows, 16, columns, 16).swapaxes(1, 2).reshape(-1, 16, 16)
    spread = blocks.std((1, 2))
    quiet = blocks[spread <= np.quantile(spread, 0.1)]
    return float(np.median(quiet.std((1, 2)))), float((quiet[:, :, 1:] * quiet[:, :, :-1]).mean() / (quiet**2).mean())


def test_noise_is_as_strong_and_as_fine_as_a_real_kinects(shared_data: Path) -> None:
    with RecordingSource.from_argument(str(shared_data / "kinect" / "recording.mkv")) as source:
        real = source.read().color
    theirs = quiet_noise(cv2.resize(real, (640, 360), interpolation=cv2.INTER_AREA))
    settings = SensorSettings()
    flat = np.full((360, 640, 3), 130, np.uint8)
    ours = []
    for seed in range(12):
        exposure = draw_exposure(np.random.default_rng(seed), settings)
        data = np.frombuffer(encode_jpeg(expose(flat, exposure), exposure.jpeg_quality), np.uint8)
        ours.append(quiet_noise(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)))
    strengths, correlations = zip(*ours, strict=True)
    assert min(strengths) < theirs[0] < max(strengths)
    assert np.median(correlations) == pytest.approx(theirs[1], abs=0.2)


def test_sharpening_steepens_an_edge_and_leaves_flat_ground_alone() -> None:
    step = np.full((24, 640, 3), 80, np.uint8)
    step[:, 320:] = 160
    soft, sharp = (
        expose(step, replace(PLAIN, blur_px=0.8, sharpening=gain))[12, :, 0].astype(int) for gain in (0.0, 0.8)
    )
    assert np.diff(sharp).max() > np.diff(soft).max()
    assert abs(sharp[2] - 80) <= 1 and abs(sharp[-3] - 160) <= 1


def test_motion_blur_smears_along_its_direction_only() -> None:
    dot = np.zeros((41, 41, 3), np.uint8)
    dot[20, 20] = 255
    smeared = expose(dot, Exposure((1.0, 1.0, 1.0), 1.0, 0.0, 0.0, 0.0, (100.0, 0.0), 90, 0))[..., 0] > 0
    assert smeared[20].sum() >= 6
    assert not smeared[:19].any()
    assert not smeared[22:].any()


def test_the_same_draw_gives_the_same_bytes() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    first, second = (draw_exposure(np.random.default_rng(5), SensorSettings()) for _ in range(2))
    assert encode_jpeg(expose(picture, first), first.jpeg_quality) == encode_jpeg(
        expose(picture, second), second.jpeg_quality
    )


def test_an_impossible_span_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="jpeg_quality"):
        SensorSettings(jpeg_quality=(90, 60))
