"""Which way the bed lies in the picture."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.bed import Bed
from calibration.bed_axis import bed_axis
from calibration.camera import CameraModel
from calibration.viewpoint import Viewpoint

CAMERA = CameraModel(1280, 720, 610, 610, 640, 360, (0.1, -0.05, 0, 0, 0, 0, 0, 0))
BED = Bed()

views = st.builds(
    Viewpoint,
    azimuth_deg=st.floats(-179, 179),
    elevation_deg=st.floats(20, 80),
    distance=st.floats(2.0, 4.0),
)


@settings(max_examples=60, deadline=None)
@given(view=views, x=st.floats(-0.8, 0.8), y=st.floats(-0.4, 0.4))
def test_it_points_from_head_to_foot_at_every_place_of_the_bed(view: Viewpoint, x: float, y: float) -> None:
    transform = view.camera_from_bed
    line = np.array([[x - 0.1, y, 0.12], [x, y, 0.12], [x + 0.1, y, 0.12]])
    head, middle, foot = CAMERA.project(line @ transform[:3, :3].T + transform[:3, 3])
    axis = bed_axis(CAMERA, transform, BED, middle[None])[0]
    along = (foot - head) / np.linalg.norm(foot - head)
    assert axis @ along > 0.999


@given(view=views)
def test_where_the_bed_is_not_seen_there_is_no_axis(view: Viewpoint) -> None:
    transform = view.camera_from_bed
    beside = np.array([[0.0, 1.6, 0.12], [1.9, 0.0, 0.12]]) @ transform[:3, :3].T + transform[:3, 3]
    beside = beside[beside[:, 2] > 0.3]
    pinhole = CameraModel(1280, 720, 610, 610, 640, 360)  # a lens's polynomial need not be one-to-one so far out
    assert np.isnan(bed_axis(pinhole, transform, BED, pinhole.project(beside))).all()


def test_a_camera_that_looks_up_sees_no_bed() -> None:
    transform = np.eye(4)
    transform[:3, :3] = [[0, 1, 0], [1, 0, 0], [0, 0, -1]]
    transform[:3, 3] = (0, 0, 2)
    up = transform.copy()
    up[:3, :3] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    up[:3, 3] = (0, 0, -2)
    middle = np.array([[640.0, 360.0]])
    np.testing.assert_allclose(bed_axis(CAMERA, transform, BED, middle), [[0, 1]], atol=1e-6)
    assert np.isnan(bed_axis(CAMERA, up, BED, middle)).all()
