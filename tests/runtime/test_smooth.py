"""Keypoints that hold still when the person does and keep up when they don't."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.skeleton import Skeletons
from runtime.smooth import OneEuroSmoother

FPS = 20


def _one(position: NDArray[np.floating], score: float = 0.9, track: int = 1) -> Skeletons:
    return Skeletons(
        np.broadcast_to(position, (1, 17, 2)).astype(np.float32),
        np.full((1, 17), score, np.float32),
        np.array([track]),
    )


def test_jitter_at_rest_is_more_than_halved() -> None:
    rng = np.random.default_rng(1)
    smoother = OneEuroSmoother()
    measured = [np.array([300.0, 200.0]) + rng.normal(0, 2, (17, 2)) for _ in range(100)]
    smooth = [smoother.update(_one(m), i / FPS).keypoints[0] for i, m in enumerate(measured)]
    assert np.std(np.diff(smooth[20:], axis=0)) < 0.5 * np.std(np.diff(measured[20:], axis=0))
    np.testing.assert_allclose(np.mean(smooth[20:], axis=(0, 1)), (300, 200), atol=0.3)


def test_a_fast_hand_is_followed_within_a_frame() -> None:
    smoother = OneEuroSmoother()
    speed = 600.0  # px/s
    for i in range(40):
        truth = np.array([speed * i / FPS, 100.0])
        shown = smoother.update(_one(truth), i / FPS).keypoints[0, 0]
    assert abs(truth[0] - shown[0]) < speed / FPS


def test_the_first_sight_is_shown_as_it_is() -> None:
    np.testing.assert_allclose(OneEuroSmoother().update(_one(np.array([7.0, 8.0])), 3.0).keypoints, [[[7, 8]] * 17])


def test_an_unbelieved_keypoint_does_not_drag_the_filter() -> None:
    smoother = OneEuroSmoother()
    for i in range(10):
        smoother.update(_one(np.array([100.0, 100.0])), i / FPS)
    wild = smoother.update(_one(np.array([900.0, 900.0]), score=0.05), 10 / FPS)
    np.testing.assert_allclose(wild.keypoints, 900)
    back = smoother.update(_one(np.array([100.0, 100.0])), 11 / FPS)
    np.testing.assert_allclose(back.keypoints, 100, atol=1e-3)


def test_after_a_gap_the_filter_starts_afresh() -> None:
    smoother = OneEuroSmoother(forget_s=0.5)
    smoother.update(_one(np.array([100.0, 100.0])), 0.0)
    np.testing.assert_allclose(smoother.update(_one(np.array([400.0, 100.0])), 2.0).keypoints[0, 0], (400, 100))


def test_people_are_smoothed_apart() -> None:
    smoother = OneEuroSmoother()
    smoother.update(_one(np.array([100.0, 100.0]), track=1), 0.0)
    other = smoother.update(_one(np.array([400.0, 400.0]), track=2), 1 / FPS)
    np.testing.assert_allclose(other.keypoints, 400)


def test_skeletons_without_numbers_come_back_as_they_are() -> None:
    loose = Skeletons(np.ones((2, 17, 2), np.float32), np.ones((2, 17), np.float32))
    assert OneEuroSmoother().update(loose, 0.0) is loose


@pytest.mark.parametrize("step", [0.0, -1.0])
def test_time_that_stands_still_or_runs_back_is_survived(step: float) -> None:
    smoother = OneEuroSmoother()
    smoother.update(_one(np.array([100.0, 100.0])), 5.0)
    again = smoother.update(_one(np.array([110.0, 100.0])), 5.0 + step)
    assert np.isfinite(again.keypoints).all()


@pytest.mark.parametrize(
    ("fps", "metres_per_s", "stated_ms", "stated_mm"),
    [(30, 0.1, 70, 7), (30, 0.5, 39, 19), (30, 1.5, 21, 32), (15, 0.1, 78, 8), (15, 0.5, 45, 22), (15, 1.5, 24, 37)],
)
def test_the_lag_of_a_steady_movement_is_as_stated(
    fps: int, metres_per_s: float, stated_ms: float, stated_mm: float
) -> None:
    # At 640 × 360, 2.5 m from the Kinect's lens, where a metre is 122 px.
    smoother, speed = OneEuroSmoother(), metres_per_s * 122
    for index in range(6 * fps):
        truth = speed * index / fps
        shown = float(smoother.update(_one(np.array([truth, 50.0])), index / fps).keypoints[0, 0, 0])
    measured_s = (truth - shown) / speed
    assert measured_s == pytest.approx(smoother.lag_s(speed, fps), rel=0.02)
    assert measured_s * 1e3 == pytest.approx(stated_ms, abs=1)
    assert (truth - shown) / 122 * 1e3 == pytest.approx(stated_mm, abs=1)
