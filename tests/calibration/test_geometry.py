"""Camera model, viewpoint and bed: round trips, and OpenCV and scipy as independent witnesses."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from benchmarks.sheet_pictures import KINECT_720P
from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.estimate import perturbed
from calibration.posterior import pose_difference
from calibration.viewpoint import Viewpoint

viewpoints = st.builds(
    Viewpoint,
    azimuth_deg=st.floats(-179, 179),
    elevation_deg=st.floats(3, 85),
    distance=st.floats(0.5, 6),
    roll_deg=st.floats(-170, 170),
    look_at=st.tuples(st.floats(-1, 1), st.floats(-0.5, 0.5), st.just(0.0)),
)


def rational(points: np.ndarray, camera: CameraModel) -> np.ndarray:
    """OpenCV's documented rational model, written out."""
    k1, k2, p1, p2, k3, k4, k5, k6 = camera.distortion
    x, y = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.column_stack([camera.fx * xd + camera.cx, camera.fy * yd + camera.cy])


def test_projection_is_the_documented_rational_model() -> None:
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-0.9, 0.9, 200), rng.uniform(-0.5, 0.5, 200), np.ones(200)])
    points *= rng.uniform(0.5, 5, (200, 1))
    np.testing.assert_allclose(KINECT_720P.project(points), rational(points, KINECT_720P), atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1279), st.floats(0, 719))
def test_unproject_undoes_project_everywhere_in_the_picture(column: float, row: float) -> None:
    pixel = np.array([[column, row]])
    np.testing.assert_allclose(KINECT_720P.project(KINECT_720P.unproject(pixel)), pixel, atol=1e-5)


def test_projecting_nothing_gives_nothing() -> None:
    assert KINECT_720P.project(np.empty((0, 3))).shape == (0, 2)
    assert KINECT_720P.unproject(np.empty((0, 2))).shape == (0, 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(40, 4000), st.integers(40, 4000))
def test_resizing_moves_pixels_as_the_picture_moves(width: int, height: int) -> None:
    points = np.array([[0.3, -0.2, 1.0], [-0.5, 0.1, 2.0]])
    scale = np.array([width / 1280, height / 720])
    expected = (KINECT_720P.project(points) + 0.5) * scale - 0.5
    np.testing.assert_allclose(KINECT_720P.resized(width, height).project(points), expected, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(64, 4096), st.integers(64, 4096), st.floats(0.8, 1.25))
def test_a_cut_to_another_shape_keeps_pixels_as_wide_as_they_are_high(width: int, height: int, ratio: float) -> None:
    """As in mani-skill/ManiSkill#938, where 640×480 intrinsics were scaled to 128×128."""
    camera = replace(KINECT_720P, fy=KINECT_720P.fx * ratio)
    cut = camera.cut(width, height)
    # The part that is cut out has whole pixels, and a shape that differs by less than a pixel is left whole.
    shorter, longer = sorted((width, height))
    assert cut.fy / cut.fx == pytest.approx(ratio, rel=1.1 / shorter + 0.6 * longer / shorter / 720)
    middle = np.array([[(camera.width - 1) / 2, (camera.height - 1) / 2]])
    seen = cut.project(camera.unproject(middle))[0]
    np.testing.assert_allclose(seen, [(width - 1) / 2, (height - 1) / 2], atol=0.6 * max(width, height) / 11)


def test_a_square_from_a_wide_camera_is_its_middle() -> None:
    cut = KINECT_720P.cut(416, 416)
    scale = 416 / 720
    assert cut.fx == pytest.approx(KINECT_720P.fx * scale) and cut.fy == pytest.approx(KINECT_720P.fy * scale)
    assert cut.cx == pytest.approx((KINECT_720P.cx - 280 + 0.5) * scale - 0.5)
    assert KINECT_720P.cut(640, 360) == KINECT_720P.resized(640, 360)
    assert KINECT_720P.cut(426, 240) == KINECT_720P.resized(426, 240)


def test_resizing_agrees_with_a_resized_picture() -> None:
    camera = CameraModel(320, 240, 300, 300, 159.5, 119.5)
    picture = np.zeros((240, 320), np.float32)
    spot = camera.project(np.array([[0.1, 0.05, 1.0]]))[0]
    rows, columns = np.mgrid[:240, :320]
    picture[:] = np.exp(-((columns - spot[0]) ** 2 + (rows - spot[1]) ** 2) / 200)
    small = cv2.resize(picture, (160, 120), interpolation=cv2.INTER_AREA)
    rows, columns = np.mgrid[:120, :160]
    seen = np.array([(small * columns).sum(), (small * rows).sum()]) / small.sum()
    np.testing.assert_allclose(seen, camera.resized(160, 120).project(np.array([[0.1, 0.05, 1.0]]))[0], atol=1e-2)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.floats(-1, 1)] * 8))
def test_camera_survives_its_dictionary(distortion: tuple[float, ...]) -> None:
    camera = CameraModel(640, 480, 500.5, 499.5, 320.25, 240.75, distortion)  # type: ignore[arg-type]
    assert CameraModel.from_dict(camera.to_dict()) == camera


@pytest.mark.parametrize(
    "change", [{"width": 0}, {"fx": -1.0}, {"fx": float("nan")}, {"cx": float("inf")}, {"distortion": (0.0,) * 5}]
)
def test_impossible_intrinsics_are_refused(change: dict) -> None:
    values = {"width": 640, "height": 480, "fx": 500.0, "fy": 500.0, "cx": 320.0, "cy": 240.0} | change
    with pytest.raises(ValueError):
        CameraModel(**values)


@settings(max_examples=50, deadline=None)
@given(viewpoints)
def test_viewpoint_survives_its_transform(viewpoint: Viewpoint) -> None:
    again = Viewpoint.from_transform(viewpoint.camera_from_bed)
    # Where the axis meets the mattress plane is ill-conditioned for flat views; the camera itself is not.
    np.testing.assert_allclose(again.centre, viewpoint.centre, atol=1e-6)
    np.testing.assert_allclose(again.camera_from_bed, viewpoint.camera_from_bed, atol=1e-6)


@pytest.mark.parametrize("tilt_deg", [0.0, 1e-7, 0.05, 0.5])
def test_a_camera_that_looks_straight_down_has_a_viewpoint(tilt_deg: float) -> None:
    looking_down = np.eye(4)
    looking_down[:3, :3] = Rotation.from_euler("x", 180 - tilt_deg, degrees=True).as_matrix()
    looking_down[2, 3] = 2.2
    again = Viewpoint.from_transform(looking_down).camera_from_bed
    turn = Rotation.from_matrix(again[:3, :3] @ looking_down[:3, :3].T).magnitude()
    assert np.degrees(turn) < 0.12


def test_azimuth_runs_from_the_foot_end_toward_the_patients_right() -> None:
    assert Viewpoint(0, 30, 2).centre[0] > 1  # foot end: +x
    assert Viewpoint(90, 30, 2).centre[1] < -1  # patient's right: −y
    centre = Viewpoint(37, 20, 2.5).centre
    assert np.degrees(np.arctan2(-centre[1], centre[0])) == pytest.approx(37)


@settings(max_examples=30, deadline=None)
@given(viewpoints)
def test_the_camera_looks_at_its_look_at_point_with_a_proper_rotation(viewpoint: Viewpoint) -> None:
    transform = viewpoint.camera_from_bed
    seen = transform[:3, :3] @ np.asarray(viewpoint.look_at) + transform[:3, 3]
    np.testing.assert_allclose(seen, [0, 0, viewpoint.distance], atol=1e-9)
    assert np.linalg.det(transform[:3, :3]) == pytest.approx(1)


def test_an_unrolled_camera_above_the_bed_has_up_upward() -> None:
    transform = Viewpoint(30, 25, 2.5).camera_from_bed
    assert (transform[:3, :3] @ [0, 0, 1])[1] < 0  # picture rows grow downward
    assert (transform[:3, :3] @ [0, 0, 1])[0] == pytest.approx(0)


def test_roll_turns_the_pictures_content_clockwise() -> None:
    rolled = Viewpoint(0, 30, 2, roll_deg=10).camera_from_bed
    up = rolled[:3, :3] @ [0, 0, 1]
    assert up[0] > 0 > up[1]


@settings(max_examples=40, deadline=None)
@example(Viewpoint(0.0, 3.0, 1.0), (0.0, 0.0, 1.192092896e-07, 0.0, 0.0, 0.0))
@given(viewpoints, st.tuples(*[st.floats(-0.8, 0.8)] * 6))
def test_pose_difference_undoes_a_perturbation(viewpoint: Viewpoint, delta: tuple[float, ...]) -> None:
    reference = viewpoint.camera_from_bed
    moved = perturbed(reference, np.array(delta))
    np.testing.assert_allclose(pose_difference(moved, reference), delta, atol=1e-9)
    expected = Rotation.from_rotvec(delta[:3]).as_matrix() @ reference[:3, :3]
    np.testing.assert_allclose(moved[:3, :3], expected, atol=1e-9)


def test_bed_corners_go_head_right_head_left_foot_left_foot_right() -> None:
    expected = [[-1, -0.45, 0], [-1, 0.45, 0], [1, 0.45, 0], [1, -0.45, 0]]
    np.testing.assert_allclose(Bed(2.0, 0.9).corners, expected)


def test_a_bed_in_millimetres_is_recognised() -> None:
    with pytest.raises(ValueError, match="millimetres"):
        Bed(length=2000)
