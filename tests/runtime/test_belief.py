"""Who counts as found: the sure by themselves, the doubtful when a skeleton bears them out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.belief import BEARING_JOINTS, BORNE_OUT, counted, least_score
from tests.runtime.onnx_graphs import info

chances = st.floats(0, 1, width=32)
joints = st.lists(chances, min_size=17, max_size=17)
DOUBTS = info().model_copy(update={"threshold": 0.5, "doubtful": 0.3, "certain": 0.9})


@given(score=chances, joints=joints)
def test_whoever_is_certain_counts_whatever_the_skeleton(score: float, joints: list[float]) -> None:
    for described in (DOUBTS, info()):  # a detector that knows no doubt is always certain
        if score >= 0.9 or described.doubtful is None:
            assert counted(described, np.array([score]), np.array([joints]))[0]


def test_the_pose_model_is_asked_about_the_less_likely_where_there_is_one() -> None:
    assert (least_score(DOUBTS, True), least_score(DOUBTS, False)) == (0.3, 0.5)
    assert least_score(info(), True) == least_score(info(), False) == info().threshold


@given(joints=joints)
def test_of_the_doubtful_those_count_of_whom_enough_is_likely(joints: list[float]) -> None:
    mean = np.mean(sorted(joints)[-BEARING_JOINTS:])
    assert counted(DOUBTS, np.array([0.4]), np.array([joints]))[0] == (mean >= BORNE_OUT)


@given(joints=joints, place=st.integers(0, 16), more=chances)
def test_a_likelier_joint_never_takes_a_person_away(joints: list[float], place: int, more: float) -> None:
    likelier = joints.copy()
    likelier[place] = max(joints[place], more)
    before, after = counted(DOUBTS, np.array([0.4, 0.4]), np.array([joints, likelier]))
    assert after >= before


def test_head_and_shoulders_over_a_blanket_are_enough_and_no_answer_is_not() -> None:
    head = np.zeros((1, 17))
    head[0, :7] = 0.4
    assert counted(DOUBTS, np.array([0.4]), head).all()
    assert not counted(DOUBTS, np.array([0.4]), np.zeros((1, 17))).any()
    assert counted(DOUBTS, np.empty(0), np.empty((0, 17))).shape == (0,)
