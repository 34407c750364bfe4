"""Joints in metres, from depth that is computed for a known scene."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.bed import Bed
from runtime.bed_view import BedView
from runtime.capture.registration import depth_at
from runtime.frames import Frame
from runtime.lift import joints_in_bed_frame
from runtime.skeleton import Skeletons
from synth.scenario import KINECT_COLOR
from synth.simulated_camera import KINECT_COLOR_FROM_DEPTH, KINECT_DEPTH

COLOR = KINECT_COLOR.resized(640, 360)
# Two metres above the mattress, looking straight down; a body of 0.2 m lies on it where |y| < 0.2.
ABOVE = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2.0], [0, 0, 0, 1]])
VIEW = BedView(COLOR, ABOVE, Bed(height=0.6))
BODY_M = 0.2


@cache
def _depth(sink_m: float) -> NDArray[np.uint16]:
    v, u = np.mgrid[: KINECT_DEPTH.height, : KINECT_DEPTH.width]
    rays = KINECT_DEPTH.unproject(np.column_stack([u.ravel(), v.ravel()]).astype(float))
    bed_from_depth = np.linalg.inv(ABOVE) @ KINECT_COLOR_FROM_DEPTH
    direction, eye = rays @ bed_from_depth[:3, :3].T, bed_from_depth[:3, 3]
    best = np.full(len(rays), np.inf)
    body = -sink_m if sink_m else BODY_M
    for z, where in (
        (body, lambda p: (abs(p[:, 1]) < 0.2) & (abs(p[:, 0]) < 0.9)),
        (0.0, lambda p: (abs(p[:, 1]) < 0.45) & (abs(p[:, 0]) < 1.0) & (not sink_m or abs(p[:, 1]) >= 0.2)),
        (-0.6, lambda p: np.ones(len(p), bool)),
    ):
        with np.errstate(all="ignore"):
            far = (z - eye[2]) / direction[:, 2]
            hit = (far > 0) & where(eye + far[:, None] * direction)
        best = np.where(hit & (far < best), far, best)
    return np.where(np.isfinite(best), np.clip(best * 1000, 0, 60000), 0).round().astype(np.uint16).reshape(576, 640)


def _frame(sink_m: float = 0.0) -> Frame:
    """What the depth camera reads of mattress, body and floor; sink_m: of the body's surface beneath the mattress."""
    return Frame(
        np.zeros((360, 640, 3), np.uint8), 0.0, 0, "made", camera=COLOR, depth=_depth(sink_m).copy(),
        depth_camera=KINECT_DEPTH, color_from_depth=KINECT_COLOR_FROM_DEPTH,
    )  # fmt: skip


def _pixels(points: list[list[float]]) -> NDArray[np.float64]:
    in_camera = np.array(points) @ ABOVE[:3, :3].T + ABOVE[:3, 3]
    return COLOR.project(in_camera)


def _skeleton(points: list[list[float]], score: float = 0.9) -> Skeletons:
    pixels = np.zeros((17, 2), np.float32)
    pixels[: len(points)] = _pixels(points)
    belief = np.zeros(17, np.float32)
    belief[: len(points)] = score
    return Skeletons(pixels[None], belief[None])


def test_depth_on_a_pixels_ray_is_that_of_the_surface_it_meets() -> None:
    z, spread = depth_at(_frame(), COLOR, _pixels([[0.3, 0.05, BODY_M], [0.3, 0.35, 0.0], [0.0, 0.8, -0.6]]))
    np.testing.assert_allclose(z, [1.8, 2.0, 2.6], atol=0.004)
    assert (spread < 0.01).all()


def test_joints_lie_where_they_are_within_their_error_bar() -> None:
    truth = [[0.5, 0.02, BODY_M], [-0.4, -0.1, BODY_M], [0.0, 0.1, BODY_M]]
    lifted = joints_in_bed_frame(VIEW, _frame(), _skeleton(truth))[0]
    assert np.isfinite(lifted[:3]).all()
    assert np.isnan(lifted[3:]).all()
    assert (np.linalg.norm(lifted[:3, :3] - truth, axis=1) < lifted[:3, 3]).all()
    assert (lifted[:3, 3] < 0.12).all()


def test_a_joint_in_the_mattress_is_no_joint() -> None:
    lifted = joints_in_bed_frame(VIEW, _frame(sink_m=0.15), _skeleton([[0.5, 0.02, -0.15], [0.0, 0.8, -0.6]]))[0]
    assert np.isnan(lifted[0]).all()
    assert np.isfinite(lifted[1]).all()  # the floor beside the bed is none of the mattress's


def test_a_joint_nobody_believes_is_not_lifted() -> None:
    assert np.isnan(joints_in_bed_frame(VIEW, _frame(), _skeleton([[0.5, 0.0, BODY_M]], score=0.1))).all()


def test_no_reading_gives_no_joint() -> None:
    frame = _frame()
    assert frame.depth is not None
    frame.depth[:] = 0
    assert np.isnan(joints_in_bed_frame(VIEW, frame, _skeleton([[0.5, 0.0, BODY_M]]))).all()


def test_joints_anywhere_in_or_out_of_the_picture_do_no_harm() -> None:
    for far in (-1e6, -50.0, 639.0, 1e6):
        wild = Skeletons(np.full((2, 17, 2), far, np.float32), np.ones((2, 17), np.float32))
        assert joints_in_bed_frame(VIEW, _frame(), wild).shape == (2, 17, 4)


@pytest.mark.parametrize("lacking", ["depth", "depth_camera", "color_from_depth"])
def test_a_frame_that_lacks_something_lifts_nothing(lacking: str) -> None:
    frame = replace(_frame(), **{lacking: None})
    assert np.isnan(joints_in_bed_frame(VIEW, frame, _skeleton([[0.5, 0.0, BODY_M]]))).all()
