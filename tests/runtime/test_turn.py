"""Crops turned to the body: how the turn is found, kept, and that it does not matter to the skeleton."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.detections import Detections
from runtime.engines.engine import open_engine
from runtime.pose import PoseEstimator
from runtime.skeleton import Skeletons
from runtime.turn import Aims, Looks, agreed, between, choose_look, first_turns, trunk_turn
from runtime.turn_memory import TurnMemory
from runtime.turn_search import LOOKS_A_FRAME
from tests.runtime.onnx_graphs import colour_model, info

angles = st.floats(-3.1, 3.1)
UPRIGHT = np.array(
    [
        (0, -60), (4, -64), (-4, -64), (8, -62), (-8, -62), (18, -40), (-18, -40), (26, -12), (-26, -12), (28, 14),
        (-28, 14), (12, 20), (-12, 20), (13, 55), (-13, 55), (14, 90), (-14, 90),
    ],
    float,
)  # fmt: skip
BOX = np.array([100.0, 100, 300, 300])


def _turned(turn: float, middle: tuple[float, float] = (200, 200)) -> NDArray[np.float64]:
    """The upright person turned clockwise about `middle`."""
    c, s = np.cos(turn), np.sin(turn)
    return UPRIGHT @ np.array([[c, s], [-s, c]]) + middle


def _skeleton(turn: float, score: float = 0.8, track: int = 1) -> Skeletons:
    points = _turned(turn).astype(np.float32)[None]
    return Skeletons(points, np.full((1, 17), score, np.float32), np.array([track]))


@given(turn=angles)
def test_a_trunk_says_how_its_person_is_turned(turn: float) -> None:
    assert float(between(turn, trunk_turn(_turned(turn)))) == pytest.approx(0, abs=1e-6)


@given(a=angles, b=angles)
def test_the_way_between_two_turns_is_the_short_one(a: float, b: float) -> None:
    way = float(between(a, b))
    assert abs(way) <= np.pi + 1e-9
    assert np.cos(a + way) == pytest.approx(np.cos(b), abs=1e-9)


def test_a_known_turn_is_used_a_hint_tried_beside_upright_and_else_all_four() -> None:
    nothing = float("nan")
    np.testing.assert_allclose(first_turns(0.3, 1.0), [0.3])
    np.testing.assert_allclose(first_turns(nothing, 1.0), [0, 1.0])
    np.testing.assert_allclose(first_turns(nothing, nothing), np.arange(4) * np.pi / 2)


def _looks(keypoints: list[NDArray[np.float64]], scores: list[float]) -> Looks:
    count = len(keypoints)
    return Looks(np.zeros(count, int), np.array(keypoints), np.repeat(np.array(scores)[:, None], 17, axis=1))


def test_the_look_that_others_bear_out_is_chosen_before_one_that_is_merely_sure() -> None:
    wrong = _turned(np.pi)
    right = [_turned(0.0) + shift for shift in (-2, 0, 2)]
    assert choose_look(_looks([wrong, *right], [0.6, 0.5, 0.5, 0.5]), BOX) in (1, 2, 3)


def test_of_looks_that_nothing_bears_out_one_upside_down_is_not_chosen() -> None:
    upside_down, other = _turned(np.pi), _turned(np.pi / 2) + 200
    assert choose_look(_looks([upside_down, other], [0.13, 0.12]), BOX) == 1


@given(turn=angles)
def test_looks_that_agree_are_believed_however_the_trunk_stands(turn: float) -> None:
    agreeing = [_turned(turn) + shift for shift in (-2, 0, 2)]
    away = [_turned(turn + np.pi) + shift for shift in (-60, 60)]
    assert choose_look(_looks([*away, *agreeing], [0.5] * 5), BOX) >= 2


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 8))
def test_looks_that_agree_are_averaged_and_strays_left_out(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    near = [_turned(0.2) + rng.normal(0, 1, (17, 2)) for _ in range(count)]
    stray = _turned(0.2) + 150
    keypoints, score = agreed(_looks([*near, stray], [0.5] * count + [0.4]), BOX)
    assert np.abs(keypoints - _turned(0.2)).max() < 6
    np.testing.assert_allclose(score, 0.5, atol=1e-3)


def test_of_looks_that_agree_the_surest_says_where_a_joint_is_and_all_how_sure_it_is() -> None:
    keypoints, score = agreed(_looks([_turned(0.0), _turned(0.0) + 1], [0.8, 0.4]), BOX)
    assert np.abs(keypoints - _turned(0.0)).max() < 0.1
    np.testing.assert_allclose(score, (0.8**2 + 0.4**2) / (0.8 + 0.4), rtol=0.02)


def test_looks_without_any_answer_make_a_skeleton_without_belief() -> None:
    keypoints, score = agreed(_looks([_turned(0.0), _turned(1.0)], [0.0, 0.0]), BOX)
    assert np.isfinite(keypoints).all()
    assert (score == 0).all()


def _known(memory: TurnMemory, track: int) -> float:
    return float(memory.aims(np.array([track]), np.full(1, np.nan)).known[0])


class TestMemory:
    def test_nothing_is_known_of_somebody_new(self) -> None:
        assert np.isnan(_known(TurnMemory(), 1))
        assert np.isnan(TurnMemory().aims(None, np.full(2, np.nan)).known).all()

    @given(turn=angles)
    def test_a_trunk_once_seen_is_known(self, turn: float) -> None:
        memory = TurnMemory()
        memory.learn(_skeleton(turn))
        assert float(between(turn, _known(memory, 1))) == pytest.approx(0, abs=1e-5)

    def test_a_turn_that_goes_slowly_is_followed(self) -> None:
        memory = TurnMemory()
        for turn in np.linspace(0, 2.5, 60):
            memory.learn(_skeleton(turn))
        assert _known(memory, 1) == pytest.approx(2.5, abs=0.1)

    def test_one_skeleton_upside_down_does_not_turn_the_crop_over_but_several_do(self) -> None:
        memory = TurnMemory(frames=4)
        memory.learn(_skeleton(0.0))
        for _ in range(3):
            memory.learn(_skeleton(np.pi))
            assert _known(memory, 1) == pytest.approx(0)
        memory.learn(_skeleton(np.pi))
        assert abs(_known(memory, 1)) == pytest.approx(np.pi, abs=1e-5)

    def test_somebody_whose_trunk_is_lost_is_searched_for_anew_but_ever_less_often(self) -> None:
        memory = TurnMemory(frames=4)
        memory.learn(_skeleton(0.0))
        searches = 0
        for _ in range(100):
            searches += int(np.isnan(_known(memory, 1)))
            memory.learn(_skeleton(1.0, score=0.1))
        assert 2 <= searches <= 6
        memory.learn(_skeleton(1.0))
        assert not np.isnan(_known(memory, 1))

    def test_people_are_remembered_apart_and_forgotten_when_gone(self) -> None:
        memory = TurnMemory()
        memory.learn(_skeleton(0.5, track=1))
        memory.learn(_skeleton(1.5, track=2))
        aims = memory.aims(np.array([2, 1, 3]), np.full(3, np.nan))
        np.testing.assert_allclose(aims.known, [1.5, 0.5, np.nan], atol=1e-5)
        for _ in range(100):
            memory.learn(_skeleton(1.5, track=2))
        assert np.isnan(_known(memory, 1))

    def test_at_pace_one_after_the_other_is_searched_for_a_few_looks_a_frame(self) -> None:
        memory = TurnMemory()
        tracks, hints = np.array([5, 6]), np.array([np.nan, 1.2])
        truth, boxes = np.array([0.4, 1.3]), np.tile(np.array(BOX, float), (2, 1))
        asked: list[int] = []
        for _ in range(30):
            aims, views = memory.aims_at_pace(tracks, hints)
            assert len(views) <= LOOKS_A_FRAME
            assert not np.isnan(aims.known).any()
            asked += tracks[views.person].tolist()
            seen = np.array([_turned(truth[person]) for person in views.person]).reshape(-1, 17, 2)
            memory.take(Looks(views.person, seen, np.ones((len(seen), 17))), tracks, boxes)
            memory.learn(_together(*(_skeleton(t, track=n) for t, n in zip(aims.known, tracks.tolist(), strict=True))))
        # Four sides of who is new, two of who is in bed, and two more looks for each; one person, then the other.
        assert asked == [5] * 12 + [6] * 6
        np.testing.assert_allclose(memory.aims(tracks, hints).known, truth, atol=0.05)

    def test_who_leaves_while_searched_for_makes_way_for_the_next(self) -> None:
        memory = TurnMemory()
        _, views = memory.aims_at_pace(np.array([1, 2]), np.full(2, np.nan))
        assert views.person.tolist() == [0, 0]
        _, views = memory.aims_at_pace(np.array([2]), np.full(1, np.nan))
        assert views.person.tolist() == [0, 0]
        memory.take(Looks(views.person, np.stack([_turned(0.3)] * 2), np.ones((2, 17))), np.array([2]), np.array([BOX]))


def _together(*people: Skeletons) -> Skeletons:
    return Skeletons(
        np.concatenate([p.keypoints for p in people]),
        np.concatenate([p.score for p in people]),
        np.concatenate([p.track_id for p in people if p.track_id is not None]),
    )


@pytest.fixture(scope="module")
def pose(tmp_path_factory: pytest.TempPathFactory) -> PoseEstimator:
    described = info(task="pose", layout="heatmap-dark", width=192, height=192, std=(1, 1, 1), aim="body")
    return PoseEstimator(open_engine(colour_model(tmp_path_factory.mktemp("colour") / "c.onnx", described, COLOURS)))


COLOURS = np.array([(r, g, b) for r in (90, 170, 250) for g in (90, 170, 250) for b in (90,)], float)
JOINTS = np.r_[0, np.repeat(np.arange(1, 9), 2)]


def turned_person(turn: float) -> NDArray[np.float64]:
    """(17, 2) joints of somebody turned clockwise about the middle of a 400 × 400 picture."""
    return (_turned(turn) - 200) * 1.4 + 200


def person_picture(points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A black 400 × 400 picture with a disc of its pair's colour on each joint."""
    picture = np.zeros((400, 400, 3), np.uint8)
    for point, colour in zip(points, COLOURS[JOINTS].tolist(), strict=True):
        cv2.circle(picture, tuple(int(v) for v in np.rint(point * 16)), 6 * 16, colour, -1, cv2.LINE_AA, 4)
    return picture


def _box(points: NDArray[np.float64]) -> Detections:
    low, high = points.min(0) - 12, points.max(0) + 12
    return Detections(np.concatenate([low, high])[None].astype(np.float32), np.ones(1, np.float32))


@settings(max_examples=6, deadline=None)
@given(turn=angles, known=st.booleans())
def test_a_turned_picture_gives_the_turned_skeleton(pose: PoseEstimator, turn: float, known: bool) -> None:
    points = turned_person(turn)
    aims = Aims(np.array([turn + 0.1]), np.full(1, np.nan)) if known else None
    found = pose.estimate(person_picture(points), _box(points), aims)
    apart = np.linalg.norm(found.keypoints[0] - points, axis=1)
    # The discs of a face hide one another, and of a pair near the crop's middle this model may take the other.
    assert np.sort(apart[5:])[-2] < 12


def test_people_of_one_picture_are_searched_for_apart(pose: PoseEstimator) -> None:
    one, other = _turned(0.0, (120, 200)), _turned(1.2, (290, 200))
    picture = np.maximum(person_picture(one), person_picture(other))
    boxes = [_box(points).xyxy[0] for points in (one, other)]
    people = Detections(np.array([boxes[1], boxes[0], (5, 5, 5, 9)], np.float32), np.ones(3, np.float32))
    alone = [pose.estimate(picture, people[i : i + 1]).keypoints[0] for i in range(3)]
    aims = Aims(np.array([1.2, np.nan, np.nan]), np.full(3, np.nan))
    np.testing.assert_allclose(pose.estimate(picture, people).keypoints, alone, atol=1e-3)
    np.testing.assert_allclose(pose.estimate(picture, people, aims).keypoints[1], alone[1], atol=1e-3)
