"""A turned camera is measured against pictures warped by OpenCV: a pure rotation is the homography K R K⁻¹."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.camera_drift import measure_turn, take_background
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.viewpoint import Viewpoint

CAMERA = CameraModel(640, 360, 420.0, 420.0, 319.5, 179.5)
ESTIMATE = CalibrationEstimate(
    CAMERA, Bed(), Viewpoint(60.0, 30.0, 3.4).camera_from_bed, np.eye(6) * 1e-6, 0.2, "test", confirmed=True
)


def room(seed: int = 0) -> NDArray[np.uint8]:
    """A picture with structure of several sizes, twice as wide as the camera's so that a turn shows more of it."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.random((720 // size, 1280 // size), dtype=np.float32), (1280, 720)) for size in (8, 20, 60)
    ]
    gray = np.clip(90 + 320 * (np.mean(layers, axis=0) - 0.5), 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def seen(wide: NDArray[np.uint8], turn_deg: NDArray[np.float64]) -> NDArray[np.uint8]:
    """What the camera sees of the far-away picture after turning by a rotation vector."""
    wide_matrix = np.array([[420.0, 0, 639.5], [0, 420.0, 359.5], [0, 0, 1]])
    homography = CAMERA.matrix @ Rotation.from_rotvec(np.radians(turn_deg)).as_matrix() @ np.linalg.inv(wide_matrix)
    return np.asarray(cv2.warpPerspective(wide, homography, (640, 360), flags=cv2.INTER_AREA), np.uint8)


WIDE = room()
REFERENCE = take_background([seen(WIDE, np.zeros(3))], ESTIMATE)


@settings(max_examples=15, deadline=None)
@given(
    st.floats(0.0, 9.0),
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.2),
    st.floats(0.5, 1.4),
)
@example(6.0, (0.5, 0.0, 1.0), 1.0)  # half of what was seen has left the picture: off by 0.052°
def test_a_turn_is_measured_to_a_twentieth_of_a_degree_or_as_well_as_it_says_whatever_the_light(
    angle: float, axis: tuple[float, ...], gain: float
) -> None:
    turn = angle * np.array(axis) / np.linalg.norm(axis)
    picture = np.clip(seen(WIDE, turn).astype(np.float32) * gain + 8, 0, 255).astype(np.uint8)
    found = measure_turn(REFERENCE, picture)
    assert found is not None
    assert np.linalg.norm(found.rotation_vector_deg - turn) < max(0.05, 3 * found.sigma_deg)


def test_two_fifths_of_the_view_hidden_by_somebody_change_nothing() -> None:
    turn = np.array([0.3, -0.4, 0.1])
    picture = seen(WIDE, turn)
    picture[:, 180:436] = cv2.resize(room(1), (256, 360))
    found = measure_turn(REFERENCE, picture)
    assert found is not None
    assert np.linalg.norm(found.rotation_vector_deg - turn) < 0.05


def test_a_view_of_something_else_measures_nothing() -> None:
    for seed in range(2, 7):
        other = np.roll(room(seed), (3, 5), axis=(0, 1))  # off the grid that the first was made on
        assert measure_turn(REFERENCE, seen(other, np.zeros(3))) is None
    assert measure_turn(REFERENCE, np.full((360, 640, 3), 80, np.uint8)) is None
    assert measure_turn(REFERENCE, np.full((480, 640, 3), 80, np.uint8)) is None


def test_the_bed_is_not_part_of_the_reference() -> None:
    outline = CAMERA.project(
        ESTIMATE.bed.corners @ ESTIMATE.camera_from_bed[:3, :3].T + ESTIMATE.camera_from_bed[:3, 3]
    )
    for x, y in REFERENCE.points:
        assert cv2.pointPolygonTest(outline.astype(np.float32), (float(x), float(y)), False) < 0


def test_a_room_without_structure_is_refused() -> None:
    with pytest.raises(WardposeError, match="recognised again"):
        take_background([np.full((360, 640, 3), 120, np.uint8)], ESTIMATE)
