"""What a person sees: on pictures, on the neutral ground, in a terminal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.detections import Detections
from runtime.overlay import LiveState, draw_skeletons, skeleton_cells, skeleton_on_neutral
from runtime.skeleton import Skeletons


def _person(score: float = 0.9) -> Skeletons:
    rng = np.random.default_rng(4)
    return Skeletons(rng.uniform(60, 180, (1, 17, 2)).astype(np.float32), np.full((1, 17), score, np.float32))


def _colourful(picture: NDArray[np.uint8]) -> int:
    """Pixels of the two sides' own colours, which only a living skeleton has."""
    below = picture[40:-10, 10:-10].astype(int)
    return int((np.ptp(below, axis=-1) > 90).sum())


def test_drawing_leaves_the_picture_it_was_given_alone() -> None:
    canvas = np.full((240, 320, 3), 90, np.uint8)
    boxes = Detections(np.array([[50, 50, 190, 190]], np.float32), np.array([0.8], np.float32), np.array([3]))
    drawn = draw_skeletons(canvas, _person(), boxes)
    assert (canvas == 90).all()
    assert (drawn != canvas).any()


def test_keypoints_that_are_not_believed_are_not_drawn() -> None:
    canvas = np.full((240, 320, 3), 90, np.uint8)
    np.testing.assert_array_equal(draw_skeletons(canvas, _person(score=0.1)), canvas)


@pytest.mark.parametrize(
    ("state", "age_s", "words"),
    [
        ("live", 0.1, "LIVE"),
        ("live", 5.0, "NO LIVE PICTURE"),
        ("no-signal", 90.0, "NO LIVE PICTURE"),
        ("no-signal", None, "NO LIVE PICTURE"),
        ("paused", None, "PAUSED"),
        ("starting", None, "STARTING"),
    ],
)
def test_only_a_fresh_live_picture_looks_alive(state: str, age_s: float | None, words: str) -> None:
    shown = LiveState(state, age_s)  # type: ignore[arg-type]
    picture = skeleton_on_neutral((320, 240), _person(), shown)
    assert picture.shape == (240, 320, 3)
    assert shown.headline().startswith(words)
    assert (_colourful(picture) > 0) == (words == "LIVE")


def test_pausing_hides_even_the_grey_skeleton() -> None:
    with_person = skeleton_on_neutral((320, 240), _person(), LiveState("paused"))
    without = skeleton_on_neutral((320, 240), Skeletons.empty(), LiveState("paused"))
    np.testing.assert_array_equal(with_person, without)


def test_the_frame_is_scaled_into_the_neutral_picture() -> None:
    large = Skeletons(_person().keypoints * 4, _person().score)
    np.testing.assert_array_equal(
        skeleton_on_neutral((320, 240), large, LiveState("live", 0.0), frame_size=(1280, 960)),
        skeleton_on_neutral((320, 240), _person(), LiveState("live", 0.0)),
    )


def test_cells_show_a_line_where_it_is() -> None:
    keypoints, score = np.zeros((1, 17, 2), np.float32), np.zeros((1, 17), np.float32)
    keypoints[0, 5], keypoints[0, 6], score[0, 5:7] = (0, 40), (80, 40), 1  # the shoulders, right across the middle
    lines = skeleton_cells(Skeletons(keypoints, score), 80, 80, 10, 5)
    assert [len(line) for line in lines] == [10] * 5
    assert [any(cell != "\u2800" for cell in line) for line in lines] == [False, False, True, False, False]
    assert all(cell != "\u2800" for cell in lines[2])


@settings(max_examples=40, deadline=None)
@given(
    cols=st.integers(0, 120), rows=st.integers(0, 50), width=st.integers(0, 2000), height=st.integers(0, 2000),
    shift=st.floats(-1e6, 1e6),
)  # fmt: skip
def test_cells_fill_exactly_the_room_they_are_given(
    cols: int, rows: int, width: int, height: int, shift: float
) -> None:
    person = _person()
    lines = skeleton_cells(Skeletons(person.keypoints + np.float32(shift), person.score), width, height, cols, rows)
    assert len(lines) == rows
    assert all(len(line) == cols and all(0x2800 <= ord(c) <= 0x28FF for c in line) for line in lines)
