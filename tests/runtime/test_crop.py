"""Crops around people: where they lie, how they are turned, and that every point comes back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.crop import Crops, crop_matrix

SIZE = (192, 256)
boxes = st.tuples(st.floats(0, 300), st.floats(0, 300), st.floats(2, 300), st.floats(2, 300)).map(
    lambda b: np.array([[b[0], b[1], b[0] + b[2], b[1] + b[3]]])
)
turns = st.floats(-7, 7).map(lambda turn: np.array([turn]))


@settings(max_examples=60, deadline=None)
@given(box=boxes, turn=turns, padding=st.floats(1, 2), seed=st.integers(0, 2**32 - 1))
def test_points_come_back_from_a_turned_crop(box: np.ndarray, turn: np.ndarray, padding: float, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(-400, 900, (1, 17, 2))
    crops = Crops.around(box, turn, padding, SIZE[0] / SIZE[1])
    np.testing.assert_allclose(crops.to_picture(crops.from_picture(points, SIZE), SIZE), points, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(box=boxes, turn=turns, seed=st.integers(0, 2**32 - 1))
def test_the_pixels_lie_where_the_points_say(box: np.ndarray, turn: np.ndarray, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 600, (1, 5, 2))
    crops = Crops.around(box, turn, 1.25, SIZE[0] / SIZE[1])
    matrix = crop_matrix(crops.centre[0], crops.scale[0], SIZE, unit_lengths=False, turn=float(turn[0]))
    np.testing.assert_allclose(cv2.transform(points, matrix), crops.from_picture(points, SIZE), atol=1e-6)


@given(box=boxes, quarter=st.integers(-3, 3), padding=st.floats(1, 2))
def test_the_whole_box_is_in_the_crop_at_every_right_angle(box: np.ndarray, quarter: int, padding: float) -> None:
    crops = Crops.around(box, np.array([quarter * np.pi / 2]), padding, SIZE[0] / SIZE[1])
    corners = np.array([[box[0, [0, 1]], box[0, [2, 1]], box[0, [0, 3]], box[0, [2, 3]]]])
    inside = crops.from_picture(corners, SIZE)
    assert (inside >= -1e-6).all()
    assert (inside <= np.array(SIZE) + 1e-6).all()


@given(box=boxes, turn=turns)
def test_a_crop_keeps_the_models_proportions(box: np.ndarray, turn: np.ndarray) -> None:
    scale = Crops.around(box, turn, 1.25, SIZE[0] / SIZE[1]).scale[0]
    assert scale[0] / scale[1] == pytest.approx(SIZE[0] / SIZE[1])


@pytest.mark.parametrize(("turn", "down"), [(0, (0, 1)), (np.pi / 2, (-1, 0)), (np.pi, (0, -1)), (-np.pi / 2, (1, 0))])
def test_a_turned_crops_down_points_where_its_turn_says(turn: float, down: tuple[int, int]) -> None:
    crops = Crops.around(np.array([[100.0, 100, 200, 200]]), np.array([turn]), 1.0, 1.0)
    middle, below = crops.to_picture(np.array([[[50.0, 50], [50, 90]]]), (100, 100))[0]
    np.testing.assert_allclose(below - middle, 40 * np.array(down), atol=1e-9)


def test_a_picture_turned_on_its_side_gives_the_same_crop_turned() -> None:
    picture = np.random.default_rng(7).integers(0, 255, (300, 400, 3)).astype(np.uint8)
    picture = cv2.GaussianBlur(picture, (0, 0), 3)
    x1, y1, x2, y2 = 120, 60, 260, 200
    upright = Crops.around(np.array([[x1, y1, x2, y2]]), np.zeros(1), 1.0, 1.0)
    on_its_side = np.ascontiguousarray(cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE))
    # Pixel (x, y) went to (299 − y, x).
    turned = Crops.around(np.array([[299 - y2, x1, 299 - y1, x2]]), np.array([np.pi / 2]), 1.0, 1.0)
    one = upright.cut(picture, (64, 64), unit_lengths=False)
    other = turned.cut(on_its_side, (64, 64), unit_lengths=False)
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 3


def test_beyond_the_picture_a_crop_is_black() -> None:
    crops = Crops.around(np.array([[-50.0, -50, 50, 50]]), np.zeros(1), 1.0, 1.0)
    cut = crops.cut(np.full((100, 100, 3), 200, np.uint8), (64, 64), unit_lengths=False)
    assert (cut[0, :30, :30] == 0).all()
    assert (cut[0, 34:, 34:] == 200).all()
