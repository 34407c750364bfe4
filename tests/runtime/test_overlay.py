"""What a person sees: on pictures, on the neutral ground, in a terminal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.belief import DOUBTFUL, SURE
from runtime.detections import Detections
from runtime.overlay import PEOPLE, draw_skeletons, side_cells, skeleton_cells, skeleton_on_neutral
from runtime.skeleton import Skeletons
from runtime.state import LiveState


def _person(score: float = 0.9) -> Skeletons:
    rng = np.random.default_rng(4)
    return Skeletons(rng.uniform(60, 180, (1, 17, 2)).astype(np.float32), np.full((1, 17), score, np.float32))


def _colourful(picture: NDArray[np.uint8]) -> int:
    """Pixels of the two sides' own colours, which only a living skeleton has."""
    below = picture[40:-10, 10:-10].astype(int)
    return int((np.ptp(below, axis=-1) > 90).sum())


def test_drawing_leaves_the_picture_it_was_given_alone() -> None:
    canvas = np.full((240, 320, 3), 90, np.uint8)
    drawn = draw_skeletons(canvas, _person(), BOX)
    assert (canvas == 90).all()
    assert (drawn != canvas).any()


BOX = Detections(np.array([[50, 50, 190, 190]], np.float32), np.array([0.8], np.float32), np.array([1]))


def test_joints_that_are_not_believed_are_not_drawn() -> None:
    canvas = np.full((240, 320, 3), 90, np.uint8)
    np.testing.assert_array_equal(draw_skeletons(canvas, _person(score=0.1)), canvas)


def test_a_doubtful_limb_is_dashed_between_sure_joints_drawn_whole() -> None:
    sure, doubtful = _standing(), _standing()
    doubtful.score[0, 9] = (SURE + DOUBTFUL) / 2  # the left wrist
    whole, dashed = (
        _lit(skeleton_on_neutral((320, 240), one, LiveState("live", 0.0, "camera")), 7, 9) for one in (sure, doubtful)
    )
    assert whole.all()
    assert 0.2 < dashed.mean() < 0.8


def _standing() -> Skeletons:
    points = [
        (160, 60), (164, 56), (156, 56), (168, 58), (152, 58), (180, 80), (140, 80), (190, 110), (130, 110), (190, 150),
        (130, 150), (172, 150), (148, 150), (172, 185), (148, 185), (172, 220), (148, 220),
    ]  # fmt: skip
    return Skeletons(np.array([points], np.float32), np.full((1, 17), 0.9, np.float32), np.array([1]))


def _lit(picture: NDArray[np.uint8], a: int, b: int) -> NDArray[np.bool_]:
    """Along a limb of the standing person, from a quarter to three quarters of its way: whether it is drawn."""
    points = _standing().keypoints[0]
    places = points[a] + np.linspace(0.25, 0.75, 15)[:, None] * (points[b] - points[a])
    return np.array([np.ptp(picture[round(y), round(x)].astype(int)) > 60 for x, y in places])


@pytest.mark.parametrize("few", [range(5), (5, 7, 9, 0), (5, 12, 9, 16, 3), ()])
def test_of_whom_too_little_is_sure_is_a_box_and_never_a_scribble(few: Any) -> None:
    person = _standing()
    person.score[0] = (SURE + DOUBTFUL) / 2
    person.score[0, list(few)] = 0.9
    nobody = Skeletons.empty()
    for alone, boxed in (
        (draw_skeletons(CANVAS, person, BOX), draw_skeletons(CANVAS, nobody, BOX)),
        (_neutral(person, BOX), _neutral(nobody, BOX)),
    ):
        np.testing.assert_array_equal(alone, boxed)
    assert (_neutral(nobody, BOX) != _neutral(nobody, None)).any()
    assert skeleton_cells(person, 320, 240, 40, 20, BOX) == skeleton_cells(nobody, 320, 240, 40, 20, BOX)
    assert skeleton_cells(person, 320, 240, 40, 20) == skeleton_cells(nobody, 320, 240, 40, 20)


CANVAS = np.full((240, 320, 3), 90, np.uint8)


def _neutral(people: Skeletons, boxes: Detections | None) -> NDArray[np.uint8]:
    return skeleton_on_neutral((320, 240), people, LiveState("live", 0.0, "camera"), detections=boxes)


def test_two_people_have_colours_of_their_own() -> None:
    one = _standing()
    other = Skeletons(one.keypoints, one.score, np.array([2]))
    assert (_neutral(one, None) != _neutral(other, None)).any()
    assert len({*PEOPLE}) == len(PEOPLE) >= 4


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
    shown = LiveState(state, age_s, "camera")  # type: ignore[arg-type]
    picture = skeleton_on_neutral((320, 240), _person(), shown)
    assert picture.shape == (240, 320, 3)
    assert shown.headline().startswith(words)
    assert (_colourful(picture) > 0) == (words == "LIVE")


def test_the_bed_lies_under_the_people() -> None:
    mattress = {"part": "mattress", "closed": True, "points": [[40, 120], [280, 120], [280, 230], [40, 230]]}
    shown = LiveState("live", 0.0, "camera")
    plain, person = (skeleton_on_neutral((320, 240), people, shown) for people in (Skeletons.empty(), _person()))
    bed = skeleton_on_neutral((320, 240), Skeletons.empty(), shown, bed=[mattress])
    both = skeleton_on_neutral((320, 240), _person(), shown, bed=[mattress])
    limbs = (np.ptp(person.astype(int), axis=-1) > 90) & (person != plain).any(-1)
    assert limbs.any() and (np.ptp(both[limbs].astype(int), axis=-1) > 90).all()
    assert (bed[125:225, 45:275] != plain[125:225, 45:275]).all(-1).mean() > 0.95
    np.testing.assert_array_equal(bed[20:110], plain[20:110])


def test_pausing_hides_even_the_grey_skeleton() -> None:
    with_person = skeleton_on_neutral((320, 240), _person(), LiveState("paused"))
    without = skeleton_on_neutral((320, 240), Skeletons.empty(), LiveState("paused"))
    np.testing.assert_array_equal(with_person, without)


def test_the_frame_is_scaled_into_the_neutral_picture() -> None:
    large = Skeletons(_person().keypoints * 4, _person().score)
    np.testing.assert_array_equal(
        skeleton_on_neutral((320, 240), large, LiveState("live", 0.0, "camera"), frame_size=(1280, 960)),
        skeleton_on_neutral((320, 240), _person(), LiveState("live", 0.0, "camera")),
    )


def test_cells_show_a_body_where_it_is() -> None:
    lines = skeleton_cells(_standing(), 320, 240, 40, 15)
    assert [len(line) for line in lines] == [40] * 15
    rows = [any(cell != "\u2800" for cell in line) for line in lines]
    # Head at 56 and feet at 220 of 240 pixels.
    assert rows == [3 <= row <= 13 for row in range(15)]


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


def test_sides_are_told_by_runs_and_by_letters_and_the_bed_lies_under_them() -> None:
    points = np.zeros((1, 17, 2), np.float32)
    points[0, :, 1] = np.linspace(20, 180, 17)
    points[0, 1::2, 0], points[0, ::2, 0] = 60, 260  # COCO's odd keypoints are left ones
    people = Skeletons(points, np.full((1, 17), 0.95, np.float32), np.array([1]))
    bed = np.array([[20.0, 20], [300, 20], [300, 190], [20, 190], [20, 20]])
    lines = side_cells(people, 320, 200, 80, 25, None, bed)
    assert all(sum(len(text) for text, _ in line) == 80 for line in lines)
    by_side = {
        side: "".join(text for line in lines for text, at in line if at == side) for side in ("left", "right", "bed")
    }
    assert "L" in by_side["left"] and "R" in by_side["right"] and "head" in by_side["bed"]
    columns = {side: [] for side in ("left", "right")}
    for line in lines:
        column = 0
        for text, side in line:
            if side in columns:
                columns[side].append(column)
            column += len(text)
    assert max(columns["left"]) < 40 < min(columns["right"])


def test_side_cells_have_the_dots_of_skeleton_cells() -> None:
    points = np.random.default_rng(3).uniform(20, 180, (2, 17, 2)).astype(np.float32)
    people = Skeletons(points, np.full((2, 17), 0.95, np.float32), np.array([1, 2]))
    plain = skeleton_cells(people, 320, 200, 60, 20)
    sided = ["".join(text for text, _ in line) for line in side_cells(people, 320, 200, 60, 20)]
    for one, other in zip(plain, sided, strict=True):
        assert all(a == b or b in "LR" for a, b in zip(one, other, strict=True))
