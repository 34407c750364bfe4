"""What counts as movement where somebody lies."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.stillness import is_still, place_of
from synth.simulated_camera import SimulatedCamera

BOX = np.array([220.0, 90.0, 420.0, 270.0])


def _bed(noise: float, seed: int, *, light: float = 0.0) -> NDArray[np.uint8]:
    """A sheet with folds, 640 × 360, as a sensor with so much noise sees it."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(640), np.arange(360))
    sheet = 150 + 25 * np.sin(x / 17) + 15 * np.cos(y / 11)
    picture = sheet[..., None] + rng.normal(0, noise, (360, 640, 3)) + light
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


@settings(max_examples=30)
@given(noise=st.floats(0, 6), light=st.floats(-30, 30), seed=st.integers(0, 2**16))
def test_noise_and_a_change_of_light_are_no_movement(noise: float, light: float, seed: int) -> None:
    place = place_of(_bed(noise, seed), BOX)
    assert place is not None
    assert is_still(_bed(noise, seed + 1, light=light), place)


@pytest.mark.parametrize("by", [(2, 0), (0, 2), (-3, 2)])
def test_a_hand_that_moves_by_two_pixels_is_movement(by: tuple[int, int]) -> None:
    def with_hand(x: int, y: int, seed: int) -> NDArray[np.uint8]:
        picture = _bed(3.0, seed)
        cv2.circle(picture, (x, y), 10, (225, 205, 195), -1)
        return picture

    place = place_of(with_hand(300, 180, 0), BOX)
    assert place is not None
    assert is_still(with_hand(300, 180, 1), place)
    assert not is_still(with_hand(300 + by[0], 180 + by[1], 2), place)


def test_what_moves_elsewhere_is_not_this_persons_movement() -> None:
    place, picture = place_of(_bed(3.0, 0), BOX), _bed(3.0, 1)
    picture[:, :150] = 255 - picture[:, :150]
    assert place is not None
    assert is_still(picture, place)


def test_a_place_outside_the_picture_is_none_and_another_size_of_picture_is_movement() -> None:
    assert place_of(_bed(0.0, 0), np.array([700.0, 0.0, 900.0, 200.0])) is None
    place = place_of(_bed(0.0, 0), BOX)
    assert place is not None
    assert not is_still(_bed(0.0, 0)[:180, :320], place)


def test_a_ward_between_two_postures_is_still_but_for_its_sensors_noise_unless_it_sways() -> None:
    for options, still in (("", [True] * 4), ("&sway_px=3", [False, True] * 2)):
        with SimulatedCamera.from_argument(f"ward#width=640&fps=30&postures=1{options}") as camera:
            frames = [camera.read(60.0).color for _ in range(5)]
        place = place_of(frames[0], BOX)
        assert place is not None
        assert [is_still(frame, place) for frame in frames[1:]] == still
