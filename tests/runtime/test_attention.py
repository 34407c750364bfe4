"""Who is looked at in a frame: nobody for nothing, and by turns where there isn't time for everybody."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.attention import Attention, FrameTime, Share
from runtime.detections import Detections
from runtime.skeleton import Skeletons
from runtime.turn_search import LOOKS_A_FRAME

FPS = 30


def _people(*tracks: int, at: float = 0.0) -> Detections:
    boxes = np.array([[100 * track + at, 0, 100 * track + 50 + at, 80] for track in tracks], np.float32)
    return Detections(boxes.reshape(-1, 4), np.ones(len(tracks), np.float32), np.array(tracks, np.int64))


def _seen(people: Detections, value: float = 0.9) -> Skeletons:
    middle = (people.xyxy[:, :2] + people.xyxy[:, 2:]) / 2
    return Skeletons(
        np.repeat(middle[:, None], 17, axis=1), np.full((len(people), 17), value, np.float32), people.track_id
    )


def _picture(number: int) -> NDArray[np.uint8]:
    """Another one for each number, everywhere."""
    return np.random.default_rng(number).integers(0, 256, (100, 1400, 3), dtype=np.uint8)


class Frames:
    """Frames of one source, in which everything moves or, if `still`, nothing does; at each of them people are looked
    at as they are to be, a look taking `look_s`."""

    def __init__(self, look_s: float, fps: float = FPS, *, still: bool = False) -> None:
        self.attention, self.look_s, self.fps, self.now_s = Attention(), look_s, fps, 0.0
        self.still, self._number = still, 0
        for _ in range(20):
            self.attention.took(1, look_s)

    def next(self, people: Detections, *, searching: bool = False, known: bool = True) -> Share:
        self.now_s += 1 / self.fps
        self._number += not self.still
        color = _picture(self._number)
        assert people.track_id is not None
        has = FrameTime(1 / self.fps, 1 / self.fps)
        share = self.attention.share(color, people.track_id, self.now_s, has, searching=searching)
        looks = len(share.people) + share.further
        self.attention.took(looks, looks * self.look_s)
        self.shown = self.attention.everybody(color, people, _seen(people[share.people]), share.people, self.now_s)
        self.attention.believe(people.track_id if known else np.empty(0, np.int64))
        return share


def test_a_box_with_time_for_all_looks_at_all_in_every_frame() -> None:
    frames = Frames(look_s=0.005)
    for _ in range(5):
        assert frames.next(_people(1, 2, 3)).people.tolist() == [0, 1, 2]


def test_a_frame_whose_time_is_not_known_has_time_for_all() -> None:
    share = Attention().share(_picture(0), np.arange(1, 6), 0.0, FrameTime(spent_s=9.0), searching=True)
    assert (share.people.tolist(), share.further) == ([0, 1, 2, 3, 4], LOOKS_A_FRAME)


def test_where_there_is_time_for_one_look_people_take_turns() -> None:
    frames = Frames(look_s=0.02)
    people = _people(1, 2, 3)
    turns = [frames.next(people).people.tolist() for _ in range(6)]
    assert turns == [[0], [1], [2], [0], [1], [2]]


@given(people=st.integers(1, 12), look_ms=st.floats(1, 60), fps=st.sampled_from([5, 10, 15, 30]))
def test_no_skeleton_grows_older_than_a_quarter_of_a_second_and_a_frame(people: int, look_ms: float, fps: int) -> None:
    frames = Frames(look_ms / 1e3, fps)
    group = _people(*range(1, people + 1))
    for number in range(40):
        frames.next(group, searching=number % 3 == 0)
        if number > fps:
            ages = frames.attention.age_s(group.track_id, frames.now_s)
            assert ages.max() <= 0.25 + 1 / fps + 1e-6


@given(people=st.integers(0, 12), look_ms=st.floats(1, 60), spent_ms=st.floats(0, 50))
def test_a_frame_has_no_more_looks_than_its_time_holds_or_age_asks_for(
    people: int, look_ms: float, spent_ms: float
) -> None:
    attention = Attention()
    for _ in range(20):
        attention.took(2, 2 * look_ms / 1e3)
    has = FrameTime(1 / 30, 1 / 30, spent_ms / 1e3)
    share = attention.share(_picture(0), np.arange(1, people + 1), 0.0, has, searching=people > 0)
    looks = len(share.people) + share.further
    holds = max(1, int((0.7 / 30 - spent_ms / 1e3) / (look_ms / 1e3)))
    assert share.further <= LOOKS_A_FRAME
    assert looks <= max(holds, int(np.ceil(people / 30 / 0.25)) + share.further)


def test_the_search_for_a_turn_goes_on_where_there_is_time_for_one_look() -> None:
    frames = Frames(look_s=0.02)
    people = _people(1, 2)
    shares = [frames.next(people, searching=True) for _ in range(8)]
    assert sum(share.further for share in shares) == 4
    assert sum(len(share.people) for share in shares) >= 4


def test_a_skeleton_that_is_not_looked_at_moves_with_its_box_and_tells_its_age() -> None:
    frames = Frames(look_s=0.02)
    frames.next(_people(1, 2))
    frames.next(_people(1, 2))
    share = frames.next(_people(1, 2, at=6.0))
    assert share.people.tolist() == [0]
    np.testing.assert_allclose(frames.shown.keypoints[1], np.tile((231, 40), (17, 1)), atol=1e-4)
    assert (frames.shown.score[1] == np.float32(0.9)).all()
    ages = frames.attention.age_s(np.array([1, 2]), frames.now_s)
    assert ages.tolist() == pytest.approx([0.0, 1 / FPS])


def test_somebody_who_comes_in_is_looked_at_before_those_who_were_just_seen() -> None:
    frames = Frames(look_s=0.02)
    frames.next(_people(1, 2))
    assert frames.next(_people(1, 2, 3)).people.tolist() == [1]
    assert frames.next(_people(1, 2, 3)).people.tolist() == [2]


def test_of_somebody_not_yet_looked_at_nothing_is_believed() -> None:
    frames = Frames(look_s=0.02)
    frames.next(_people(1, 2))
    assert (frames.shown.score[1] == 0).all()
    np.testing.assert_allclose(frames.shown.keypoints[1], np.tile((225, 40), (17, 1)))


def test_a_box_in_which_nobody_was_seen_is_looked_at_now_and_then_only() -> None:
    frames = Frames(look_s=0.001)
    looked = [len(frames.next(_people(1), known=False).people) for _ in range(30)]
    assert 3 <= sum(looked) <= 4


def test_who_lies_still_is_looked_at_five_times_a_second_and_is_never_older_than_the_picture() -> None:
    frames = Frames(look_s=0.001, still=True)
    looks, stood = 0, 0.0
    for number in range(4 * FPS):
        jitter = float(number % 7)  # of the boxes
        share = frames.next(_people(1, 2, at=jitter))
        if len(share.people):
            looks, stood = looks + 1, jitter
        np.testing.assert_allclose(frames.shown.keypoints[0], np.tile((125 + stood, 40), (17, 1)))
        assert frames.attention.age_s(np.array([1, 2]), frames.now_s).max() == 0
    assert 4 * 4 <= looks <= 4 * 5 + 1


def test_who_moves_is_looked_at_in_the_very_frame() -> None:
    frames = Frames(look_s=0.001, still=True)
    frames.next(_people(1, 2))
    frames.next(_people(1, 2))
    frames.still = False
    assert frames.next(_people(1, 2)).people.tolist() == [0, 1]


def test_nobody_is_remembered_after_forgetting() -> None:
    frames = Frames(look_s=0.001, still=True)
    frames.next(_people(1))
    frames.attention.forget()
    assert frames.next(_people(1)).people.tolist() == [0]


def test_a_clock_that_jumps_back_forgets_everybody() -> None:
    frames = Frames(look_s=0.02)
    frames.next(_people(1, 2))
    frames.next(_people(1, 2))
    frames.now_s = -100.0
    frames.next(_people(1, 2))
    assert (frames.shown.score == 0).all(1).sum() == 1
