"""Whether a model is better: one hypothesis, its effect, interval and p from the same people."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.stats import ttest_1samp, ttest_rel

from calibration.errors import WardposeError
from tuning.evaluate.statistics import Comparison, compare

SCORES = hnp.arrays(np.float64, st.integers(2, 40), elements=st.floats(0, 1, width=16))


def compared(
    before: NDArray[np.float64], after: NDArray[np.float64], scenes: Iterable[Hashable] | None = None, **options: float
) -> Comparison:
    """Of people numbered as they stand."""
    by_number = None if scenes is None else dict(enumerate(scenes))
    return compare(dict(enumerate(before.tolist())), dict(enumerate(after.tolist())), by_number, **options)


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.integers(0, 10**6), st.tuples(st.floats(0, 1, width=16), st.floats(0, 1, width=16)), min_size=1),
    st.randoms(),
)
def test_people_are_paired_by_who_they_are_not_by_where_they_stand(
    scores: dict[int, tuple[float, float]], random: Random
) -> None:
    before, after = ({person: pair[side] for person, pair in scores.items()} for side in (0, 1))
    shuffled = list(after)
    random.shuffle(shuffled)
    assert compare(before, {person: after[person] for person in shuffled}) == compare(before, after)
    after.popitem()
    with pytest.raises(WardposeError, match="1 people are in one evaluation and not in the other"):
        compare(before, after)


@settings(max_examples=30, deadline=None)
@given(SCORES, st.integers(0, 10))
def test_turned_round_it_changes_sign_and_keeps_its_p(scores: NDArray[np.float64], seed: int) -> None:
    other = np.random.default_rng(seed).permutation(scores)
    a, b = compared(scores, other), compared(other, scores)
    assert a.difference == pytest.approx(-b.difference)
    assert (a.p, a.p_wilcoxon) == (pytest.approx(b.p), pytest.approx(b.p_wilcoxon, nan_ok=True))
    assert (a.low, a.high, a.better, a.worse) == (pytest.approx(-b.high), pytest.approx(-b.low), b.worse, b.better)


@settings(max_examples=60, deadline=None)
@given(SCORES, st.integers(0, 1000), st.integers(1, 8), st.sampled_from((0.9, 0.95, 0.99)))
def test_p_is_small_exactly_where_the_interval_leaves_out_zero(
    before: NDArray[np.float64], seed: int, size: int, level: float
) -> None:
    rng = np.random.default_rng(seed)
    after = before + rng.normal(rng.uniform(-0.2, 0.2), 0.1, len(before)) * (rng.random(len(before)) < 0.5)
    found = compared(before, after, np.arange(len(before)) // size, level=level)
    assert (found.p < 1 - level) == (found.low > 0 or found.high < 0)
    assert found.low <= found.difference <= found.high


def test_people_of_scenes_of_their_own_are_compared_by_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    before = rng.uniform(0, 1, 30)
    after = before + rng.normal(0.03, 0.1, 30)
    reference = ttest_rel(after, before)
    interval = reference.confidence_interval(0.95)
    found = compared(before, after)
    assert (found.p, found.low, found.high) == pytest.approx((reference.pvalue, interval.low, interval.high))


def test_scenes_of_one_size_count_by_their_means() -> None:
    rng = np.random.default_rng(1)
    change = np.repeat(rng.normal(0.05, 0.1, 12), 5) + rng.normal(0, 0.02, 60)
    reference = ttest_1samp(change.reshape(12, 5).mean(1), 0)
    found = compared(np.zeros(60), change, np.repeat(np.arange(12), 5))
    assert (found.scenes, found.p) == (12, pytest.approx(reference.pvalue))
    assert found.p > 10 * compared(np.zeros(60), change).p  # as if sixty people had been asked, not twelve scenes


def test_one_scene_shows_nothing_about_others() -> None:
    found = compared(np.zeros(20), np.full(20, 0.3), ["the same"] * 20)
    assert (found.p, found.low) == (1.0, -np.inf)


def test_two_models_that_score_alike_differ_by_chance() -> None:
    found = compared(np.linspace(0, 1, 9), np.linspace(0, 1, 9))
    assert (found.p, found.p_wilcoxon, found.low, found.high) == (1, 1, 0, 0)


def test_ranks_see_who_changed_and_the_mean_sees_everybody() -> None:
    # Twenty lose a little, three gain a lot: the mean hardly moves, and the ranks say that nearly all changed one way.
    before = np.full(200, 0.5)
    after = before + np.concatenate([np.full(20, -0.02) - 1e-4 * np.arange(20), [0.11, 0.12, 0.13], np.zeros(177)])
    found = compared(before, after)
    assert found.p > 0.5 and found.p_wilcoxon < 0.05
    assert (found.better, found.worse, found.people) == (3, 20, 200)


def test_the_ranks_give_the_textbook_p() -> None:
    # By hand: the negative ranks are 1 and 2, so T = 3 of n = 8; 5 of 256 sign patterns reach T ≤ 3.
    after = np.array([5.0, 6.0, 7.0, 8.0, 9.0, 10.0, -1.0, -2.0])
    assert compared(np.zeros(8), after).p_wilcoxon == pytest.approx(0.0390625)


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_without_a_gain_one_in_twenty_shows_one(seed: int) -> None:
    """Scores of mostly zeros, several people a scene that stand or fall together, as in pictures of a ward."""
    rng = np.random.default_rng(seed)
    false = 0
    for _ in range(200):
        scenes = np.repeat(np.arange(30), rng.integers(1, 5, 30))
        moved = rng.normal(0, 0.1, 30)[scenes] * (rng.random(len(scenes)) < 0.4)
        false += compared(np.zeros(len(scenes)), moved, scenes).p < 0.05
    assert false <= 28  # of 200; more than 28 come once in ten thousand tries where 5 % are right
