"""What tells people apart by colour."""

from __future__ import annotations

import numpy as np

from runtime.appearance import BINS, appearance
from runtime.detections import Detections


def _boxes(*boxes: tuple[float, ...]) -> Detections:
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), np.float32))


def test_two_in_one_colour_look_alike_and_one_in_another_does_not() -> None:
    picture = np.zeros((120, 300, 3), np.uint8)
    picture[:, :100], picture[:, 100:200], picture[:, 200:] = (200, 30, 30), (195, 35, 32), (20, 40, 220)
    looks = appearance(picture, _boxes((10, 10, 90, 110), (110, 10, 190, 110), (210, 10, 290, 110)))
    alike, other = (float(np.sqrt(looks[0] * looks[i]).sum()) for i in (1, 2))
    assert alike > 0.95
    assert other < 0.5


def test_every_row_is_a_distribution_wherever_the_box_lies() -> None:
    rows = appearance(np.full((1, 1, 3), 9, np.uint8), _boxes((-50, -50, -10, -10), (0, 0, 0, 0), (0, 0, 900, 900)))
    assert rows.shape == (3, BINS)
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)
    assert appearance(np.zeros((4, 4, 3), np.uint8), _boxes()).shape == (0, BINS)
