"""Up, as the motion sensor feels it, agrees with what stands and lies in the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from runtime.capture.gravity import STANDARD_GRAVITY, up_in_color
from runtime.capture.recording import RecordingSource
from runtime.capture.registration import point_cloud
from runtime.capture.source import RecordingConfig
from runtime.frames import Frame, ImuSample


def tilted(rotation: Rotation, color_from_imu: np.ndarray, time_s: float = 0.0) -> Frame:
    """A camera at rest, turned so that `rotation` takes the room's axes (z up) to its own."""
    up = rotation.apply([0.0, 0.0, 1.0])
    force = STANDARD_GRAVITY * color_from_imu[:3, :3].T @ up
    imu = ImuSample(force, np.zeros(3), time_s)
    return Frame(np.zeros((2, 2, 3), np.uint8), time_s, 0, "test", imu=imu, color_from_imu=color_from_imu)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_any_tilt_of_camera_and_sensor_is_felt(seed: int) -> None:
    room, sensor = Rotation.random(2, random_state=np.random.default_rng(seed))
    color_from_imu = np.eye(4)
    color_from_imu[:3, :3] = sensor.as_matrix()
    found = up_in_color([tilted(room, color_from_imu)])
    np.testing.assert_allclose(found.up, room.apply([0.0, 0.0, 1.0]), atol=1e-12)


def test_pitch_and_roll_are_a_persons_words() -> None:
    level = Rotation.from_matrix([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # x right, y down, z ahead
    downward = Rotation.from_euler("x", 10, degrees=True) * level
    assert downward.inv().apply([0.0, 0.0, 1.0])[2] < 0  # its optical axis points below the horizon
    found = up_in_color([tilted(downward, np.eye(4))])
    assert (found.pitch_deg, found.roll_deg) == pytest.approx((-10.0, 0.0))
    turned = up_in_color([tilted(Rotation.from_euler("z", 7, degrees=True) * level, np.eye(4))])
    assert (turned.pitch_deg, turned.roll_deg) == pytest.approx((0.0, 7.0))


def test_many_readings_are_averaged_each_counted_once() -> None:
    rng = np.random.default_rng(3)
    frames = []
    for index in range(400):
        frame = tilted(Rotation.from_rotvec(rng.normal(0, np.radians(0.5), 3)), np.eye(4), float(index))
        frames += [frame, frame]  # a frame may carry the sample of the one before
    found = up_in_color(frames)
    assert found.samples == 400
    assert found.spread_deg == pytest.approx(0.5 * np.sqrt(2), rel=0.15)
    assert np.degrees(np.arccos(found.up[2])) < 0.1


def test_a_camera_that_moves_gives_no_answer() -> None:
    frame = tilted(Rotation.identity(), np.eye(4))
    assert frame.imu is not None
    shaken = replace(frame, imu=replace(frame.imu, acceleration=frame.imu.acceleration * 1.2))
    turned = replace(frame, imu=replace(frame.imu, angular_velocity=np.array([0.0, 0.3, 0.0])))
    with pytest.raises(WardposeError, match="moved"):
        up_in_color([shaken, turned])
    later = tilted(Rotation.identity(), np.eye(4), 1.0)
    assert up_in_color([shaken, turned, later]).samples == 1


def test_a_camera_without_a_motion_sensor_says_so() -> None:
    with pytest.raises(WardposeError, match="no motion sensor"):
        up_in_color([Frame(np.zeros((2, 2, 3), np.uint8), 0.0, 0, "test")])


def test_the_recordings_walls_stand_upright(shared_data: Path) -> None:
    with RecordingSource(RecordingConfig(path=str(shared_data / "kinect" / "recording.mkv"))) as source:
        frame = source.read()
    up = up_in_color([frame]).up
    rng = np.random.default_rng(0)
    points = rng.permutation(point_cloud(frame))[:15_000]
    for _ in range(4):  # the four largest planes are walls; they are fitted without looking at `up`
        normal, on = largest_plane(points, rng)
        assert np.degrees(np.arccos(abs(normal @ up))) == pytest.approx(90.0, abs=1.5)
        points = points[~on]


def largest_plane(points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """RANSAC, then a least-squares fit of the points within 15 mm: unit normal, and which points lie on the plane."""
    best = np.zeros(len(points), bool)
    for _ in range(200):
        a, b, c = points[rng.integers(len(points), size=3)]
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        if length > 1e-6:
            on = np.abs((points - a) @ (normal / length)) < 0.015
            best = on if on.sum() > best.sum() else best
    flat = points[best] - points[best].mean(axis=0)
    return np.linalg.svd(flat, full_matrices=False)[2][2], best
