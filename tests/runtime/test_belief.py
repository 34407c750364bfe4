"""Who counts as found: the sure by themselves, the doubtful when a skeleton bears them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.belief import DOUBTFUL, box_fit, chance, counted, least_score
from runtime.detections import Detections
from runtime.skeleton import Skeletons
from tests.runtime.onnx_graphs import info

chances = st.floats(0, 1, width=32)
joints = st.lists(chances, min_size=17, max_size=17)
DOUBTS = info().model_copy(update={"threshold": 0.5, "doubtful": 0.3, "certain": 0.9})
# Somebody who fills a box of 100 × 200: joints in its corners and down its middle.
ABOUT = np.array([[0, 0], [100, 0], [0, 200], [100, 200], *[[50, 20 + 12 * i] for i in range(13)]], np.float32)


def _one(
    score: float, joints: Sequence[float] | NDArray[np.floating], away: float = 0.0
) -> tuple[Detections, Skeletons]:
    """One person found with this score; their skeleton, of joints so likely, lies `away` pixels beside the box."""
    people = Detections(np.array([[0, 0, 100, 200]], np.float32), np.array([score], np.float32))
    return people, Skeletons(ABOUT[None] + np.array([away, 0], np.float32), np.array([joints], np.float32))


@given(score=chances, joints=joints)
def test_whoever_is_certain_counts_whatever_the_skeleton(score: float, joints: list[float]) -> None:
    for described in (DOUBTS, info()):  # a detector that knows no doubt is always certain
        if score >= 0.9 or described.doubtful is None:
            assert counted(described, *_one(score, joints))[0]


def test_the_pose_model_is_asked_about_the_less_likely_where_there_is_one() -> None:
    assert (least_score(DOUBTS, True), least_score(DOUBTS, False)) == (0.3, 0.5)
    assert least_score(info(), True) == least_score(info(), False) == info().threshold


@given(joints=joints, place=st.integers(0, 16), more=chances, score=st.floats(0, 0.9))
def test_a_likelier_joint_and_a_better_score_speak_for_somebody(
    joints: list[float], place: int, more: float, score: float
) -> None:
    likelier = joints.copy()
    # One that is seen already: a joint more changes what part of the box the skeleton fills.
    if np.float32(joints[place]) >= DOUBTFUL:
        likelier[place] = max(joints[place], more)
    before = chance(*_one(score, joints))
    assert chance(*_one(score, likelier)) >= before
    assert chance(*_one(score + 0.1, joints)) >= before


def test_of_the_doubtful_those_count_whose_skeleton_is_likely_and_fills_the_box() -> None:
    sure, cushion = [0.7] * 17, [0.15] * 17
    assert counted(DOUBTS, *_one(0.4, sure))[0]
    assert not counted(DOUBTS, *_one(0.4, cushion))[0]
    assert not counted(DOUBTS, *_one(0.4, [0.0] * 17))[0]
    # The same skeleton, most of it outside the box, is a neighbour's or of more than the box shows.
    assert not counted(DOUBTS, *_one(0.4, sure, away=80.0))[0]
    assert counted(DOUBTS, Detections.empty(), Skeletons.empty()).shape == (0,)


def test_a_skeleton_fits_a_box_as_the_rectangle_about_its_seen_joints_does() -> None:
    people, whole = _one(0.5, [1.0] * 17)
    assert box_fit(people.xyxy, whole)[0] == 1
    assert box_fit(people.xyxy, _one(0.5, [1.0] * 17, away=50.0)[1])[0] == pytest.approx(1 / 3)
    upper = [1.0, 1.0, *[0.0] * 8, 1.0, *[0.0] * 6]  # both upper corners, and one 92 pixels down
    assert box_fit(people.xyxy, _one(0.5, upper)[1])[0] == pytest.approx(92 / 200)
    assert box_fit(people.xyxy, _one(0.5, [1.0, *[0.0] * 16])[1])[0] == 0
    assert box_fit(np.empty((0, 4)), Skeletons.empty()).shape == (0,)
