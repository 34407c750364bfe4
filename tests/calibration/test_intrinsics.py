"""Factory calibrations, boards and fitted intrinsics, on real files where there are any."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.sheet_pictures import KINECT_720P
from calibration.board import Board, BoardView, detect_board
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.intrinsics import (
    COLOR_MODES,
    DEPTH_MODES,
    MODEL,
    K4aCalibration,
    calibrate_intrinsics,
    fit_intrinsics,
    read_k4a_calibration,
)
from calibration.posterior import solve_pose
from calibration.viewpoint import Viewpoint


@pytest.fixture(scope="module")
def factory(shared_data: Path) -> bytes:
    return (shared_data / "kinect" / "calibration.json").read_bytes()


def made_up() -> dict:
    """A file of the right shape with round numbers."""

    def camera(location: str, fx: float) -> dict:
        return {
            "Intrinsics": {
                "ModelType": MODEL,
                "ModelParameters": [0.5, 0.5, fx, fx, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0, 0, 0.002, 0.001],
            },
            "Location": f"CALIBRATION_CameraLocation{location}",
            "MetricRadius": 1.7,
            "Rt": {"Rotation": np.eye(3).ravel().tolist(), "Translation": [-0.032, -0.002, 0.004]},
        }

    depth, color = camera("D0", 0.5), camera("PV0", 0.5)
    depth["Rt"]["Translation"] = [0, 0, 0]
    return {"CalibrationInformation": {"Cameras": [depth, color]}}


def test_the_factory_file_gives_the_sdks_numbers(factory: bytes) -> None:
    calibration = read_k4a_calibration(factory)
    color, depth = calibration.color, calibration.depth
    np.testing.assert_allclose(
        [color.fx, color.fy, color.cx, color.cy], [611.795, 611.927, 639.304, 365.853], atol=1e-3
    )
    np.testing.assert_allclose(color.distortion[:5], [0.33012, -2.48940, -0.000162, -0.000129, 1.45367], atol=1e-5)
    np.testing.assert_allclose(
        [depth.fx, depth.fy, depth.cx, depth.cy], [504.608, 504.733, 332.781, 348.830], atol=1e-3
    )
    assert (depth.width, depth.height) == (640, 576)
    assert np.linalg.norm(calibration.color_from_depth[:3, 3]) == pytest.approx(0.0324, abs=2e-4)
    assert calibration.depth_radius == pytest.approx(1.74, abs=1e-3)


def test_the_factory_lens_bends_720p_as_measured(factory: bytes) -> None:
    camera = read_k4a_calibration(factory).color
    columns, rows = np.meshgrid(np.arange(0, 1280, 20), np.arange(0, 720, 20))
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float)
    straight = camera.unproject(pixels)[:, :2] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    shift = np.linalg.norm(straight - pixels, axis=1)
    assert 8 < shift.mean() < 18
    assert 20 < shift.max() < 60


def test_tangential_terms_stand_in_opencvs_order() -> None:
    assert read_k4a_calibration(made_up()).color.distortion == (0.1, 0.2, 0.001, 0.002, 0.3, 0.4, 0.5, 0.6)


@pytest.mark.parametrize("size", [size for size in COLOR_MODES if size != (1280, 720)])
def test_every_colour_mode_sees_the_same_rays(size: tuple[int, int]) -> None:
    reference, other = (read_k4a_calibration(made_up(), chosen).color for chosen in ((1280, 720), size))
    # 16:9 modes crop the sensor's rows alike; 4:3 modes keep them all: the focal length per column tells the scale.
    scale = size[0] / 1280
    assert other.fx == pytest.approx(reference.fx * scale)
    assert other.cx + 0.5 == pytest.approx((reference.cx + 0.5) * scale)
    cropped = 0 if size[0] * 3 == size[1] * 4 else 120
    assert other.cy + 0.5 == pytest.approx((reference.cy + 0.5 + 120 - cropped) * scale)


@pytest.mark.parametrize("size", DEPTH_MODES)
def test_depth_modes_keep_the_sensors_centre(size: tuple[int, int]) -> None:
    depth = read_k4a_calibration(made_up(), depth_size=size).depth
    assert depth.fx == pytest.approx(512 if size in ((640, 576), (1024, 1024)) else 256)
    assert (depth.cx + 0.5) == pytest.approx(size[0] / 2)


def broken(path: list, value: object) -> dict:
    calibration = deepcopy(made_up())
    place = calibration["CalibrationInformation"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return calibration


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (b"", "not JSON"),
        (b"\x89PNG\xff", "not JSON"),
        (b"[1, 2]", "CalibrationInformation"),
        (json.dumps(made_up())[:200], "not JSON"),
        (broken(["Cameras"], []), "D0"),
        (broken(["Cameras"], 3), "Cameras"),
        (broken(["Cameras", 1, "Intrinsics"], None), "color camera: no field Intrinsics"),
        (broken(["Cameras", 1, "Intrinsics", "ModelType"], "Theta"), "lens model 'Theta'"),
        (broken(["Cameras", 0, "Intrinsics", "ModelParameters"], [1.0] * 5), "14 numbers, got 5"),
        (broken(["Cameras", 0, "Intrinsics", "ModelParameters"], ["a"] * 14), "no number"),
        (broken(["Cameras", 0, "Intrinsics", "ModelParameters"], [float("nan")] * 14), "not finite"),
        (broken(["Cameras", 1, "Rt", "Rotation"], [1.0] * 9), "no rotation"),
        (broken(["Cameras", 1, "Rt"], {}), "Rt.Rotation"),
    ],
)
def test_what_is_no_calibration_is_refused_by_field(source: bytes | str | dict, named: str) -> None:
    with pytest.raises(WardposeError) as caught:
        read_k4a_calibration(source)
    assert named in str(caught.value)


def test_a_size_the_camera_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(WardposeError, match="1280×720"):
        read_k4a_calibration(made_up(), (800, 600))


def test_a_trailing_nul_as_in_recordings_is_no_harm() -> None:
    assert isinstance(read_k4a_calibration(json.dumps(made_up()).encode() + b"\0"), K4aCalibration)


def opencv_camera(path: Path, width: int, height: int) -> CameraModel:
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    matrix, distortion = storage.getNode("K").mat(), storage.getNode("dist").mat().ravel()
    return CameraModel(width, height, matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], tuple(distortion))


@pytest.mark.parametrize(
    ("photo", "lens", "size"),
    [
        ("color-0.jpg", "calib_color.yml", (4096, 3072)),
        ("color-10.jpg", "calib_color.yml", (4096, 3072)),
        ("ir-0.png", "calib_ir.yml", (1024, 1024)),
    ],
)
def test_real_photographs_of_a_board(shared_data: Path, photo: str, lens: str, size: tuple[int, int]) -> None:
    folder = shared_data / "kinect" / "charuco"
    spec = json.loads((folder / "plane_large.json").read_text())["shapes"][0]
    board = Board(
        spec["squares_x"],
        spec["squares_y"],
        spec["square_length"] / 1e3,
        spec["marker_length"] / 1e3,
        spec["aruco_dict_name"],
    )
    view = detect_board(cv2.imread(str(folder / photo), cv2.IMREAD_GRAYSCALE), board)
    assert view is not None
    assert len(view.ids) == 104
    pose = solve_pose(view.points, view.pixels, opencv_camera(folder / lens, *size))
    assert pose is not None and pose.rms_px < 0.65


BOARD = Board(8, 6, 0.06, 0.045)


def board_views(camera: CameraModel, count: int, noise_px: float) -> list[BoardView]:
    rng = np.random.default_rng(0)
    columns, rows = np.meshgrid(np.arange(-5, 6), np.arange(-3, 4))
    points = np.column_stack([columns.ravel() * 0.06, rows.ravel() * 0.06, np.zeros(columns.size)])
    views = []
    while len(views) < count:
        view = Viewpoint(
            rng.uniform(-180, 180), rng.uniform(40, 85), rng.uniform(0.4, 0.8), rng.uniform(-30, 30),
            (rng.uniform(-0.3, 0.3), rng.uniform(-0.2, 0.2), 0.0),
        ).camera_from_bed  # fmt: skip
        pixels = camera.project(points @ view[:3, :3].T + view[:3, 3])
        inside = ((pixels > 0) & (pixels < [camera.width, camera.height])).all(axis=1)
        if inside.sum() >= 30:
            noisy = pixels[inside] + rng.normal(0, noise_px, (inside.sum(), 2))
            views.append(BoardView(points[inside], noisy, np.flatnonzero(inside)))
    return views


def test_a_kinects_lens_is_found_again_from_forty_views() -> None:
    fit = fit_intrinsics(board_views(KINECT_720P, 40, 0.1), (1280, 720))
    found = fit.camera
    assert fit.rms_px < 0.2
    assert abs(found.fx / KINECT_720P.fx - 1) < 0.003
    columns, rows = np.meshgrid(np.linspace(-0.8, 0.8, 9), np.linspace(-0.45, 0.45, 7))
    rays = np.column_stack([columns.ravel(), rows.ravel(), np.ones(columns.size)])
    assert np.abs(found.project(rays) - KINECT_720P.project(rays)).max() < 1.5


def warped_board(camera: CameraModel, view: Viewpoint) -> np.ndarray:
    """The board's picture through an undistorted camera: a plane's picture is a homography of its raster."""
    scale = 1500
    raster = BOARD.to_opencv().generateImage((round(0.48 * scale), round(0.36 * scale)), marginSize=0)
    raster = cv2.copyMakeBorder(raster, 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=255)
    plane_from_raster = np.array([[1, 0, -39.5], [0, 1, -39.5], [0, 0, scale]]) / scale
    plane_from_raster[:2, 2] -= [0.24, 0.18]
    plane_from_raster[1] *= -1  # rows run downward, the plane's y upward
    pose = view.camera_from_bed
    homography = camera.matrix @ np.column_stack([pose[:3, 0], pose[:3, 1], pose[:3, 3]]) @ plane_from_raster
    return cv2.warpPerspective(raster, homography, (camera.width, camera.height), borderValue=128)


def test_intrinsics_come_from_pictures_of_a_board() -> None:
    camera = CameraModel(800, 600, 640.0, 640.0, 405.0, 295.0)
    pictures = [
        warped_board(camera, Viewpoint(azimuth, elevation, 0.62))
        for azimuth, elevation in ((0, 88), (20, 55), (110, 50), (200, 60), (290, 55), (65, 65), (250, 60), (330, 50))
    ]
    blank = np.full((600, 800), 128, np.uint8)
    fit = calibrate_intrinsics([*pictures, blank], BOARD)
    assert fit.left_out == (8,)
    assert fit.views == 8
    assert fit.rms_px < 0.5
    assert abs(fit.camera.fx / 640 - 1) < 0.01
    assert abs(fit.camera.cx - 405) < 6


def test_too_few_views_are_refused() -> None:
    with pytest.raises(WardposeError, match="0 of 3 pictures"):
        calibrate_intrinsics([np.full((480, 640), 128, np.uint8)] * 3, BOARD)


def test_pictures_of_different_sizes_are_refused() -> None:
    with pytest.raises(WardposeError, match="differ in size"):
        calibrate_intrinsics([np.zeros((480, 640), np.uint8), np.zeros((720, 1280), np.uint8)], BOARD)


def test_an_impossible_board_is_refused() -> None:
    with pytest.raises(ValueError, match="smaller than squares"):
        Board(8, 6, 0.03, 0.04)
