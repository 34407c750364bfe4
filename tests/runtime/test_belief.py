"""Who counts as found: the sure by themselves, the doubtful when a skeleton bears them out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.belief import BEARING_JOINTS, BORNE_OUT, counted

chances = st.floats(0, 1, width=32)
joints = st.lists(chances, min_size=17, max_size=17)


@given(score=chances, joints=joints, certain=chances)
def test_whoever_is_certain_counts_whatever_the_skeleton(score: float, joints: list[float], certain: float) -> None:
    if score >= certain:
        assert counted(np.array([score]), np.array([joints]), certain)[0]


@given(joints=joints)
def test_of_the_doubtful_those_count_of_whom_enough_is_likely(joints: list[float]) -> None:
    mean = np.mean(sorted(joints)[-BEARING_JOINTS:])
    assert counted(np.array([0.4]), np.array([joints]), 0.9)[0] == (mean >= BORNE_OUT)


@given(joints=joints, place=st.integers(0, 16), more=chances)
def test_a_likelier_joint_never_takes_a_person_away(joints: list[float], place: int, more: float) -> None:
    likelier = joints.copy()
    likelier[place] = max(joints[place], more)
    before, after = counted(np.array([0.4, 0.4]), np.array([joints, likelier]), 0.9)
    assert after >= before


def test_head_and_shoulders_over_a_blanket_are_enough_and_no_answer_is_not() -> None:
    head = np.zeros((1, 17))
    head[0, :7] = 0.5
    assert counted(np.array([0.4]), head, 0.9).all()
    assert not counted(np.array([0.4]), np.zeros((1, 17)), 0.9).any()
    assert counted(np.empty(0), np.empty((0, 17)), 0.9).shape == (0,)
