"""The paper's tests give the answers of worked examples that others published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.errors import WardposeError
from tuning.evaluate.significance import bonferroni, cluster_bootstrap, holm, paired_t, ratio_interval, signed_rank

# Student (1908), "The probable error of a mean", Biometrika 6: hours of sleep gained by two drugs.
SLEEP = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)
# Hollander & Wolfe (1973), p. 29: Hamilton depression scale of nine patients before and after a tranquilliser.
DEPRESSION = (
    [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30],
    [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29],
)
# Darwin (1876), as in Fisher (1935), The Design of Experiments, § 17: crossed minus self-fertilised maize, 1/8 inch.
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
# Demšar (2006), "Statistical comparisons of classifiers over multiple data sets", JMLR 7, table 2: AUC of C4.5 without
# and with tuned m on fourteen data sets.
C45 = [.763, .599, .954, .628, .882, .936, .661, .583, .775, 1.000, .940, .619, .972, .957]  # fmt: skip
C45_M = [.768, .591, .971, .661, .888, .931, .668, .583, .838, 1.000, .962, .666, .981, .978]  # fmt: skip
# Efron & Tibshirani (1993), An Introduction to the Bootstrap, table 10.1: the patch data, y = new − old and
# z = old − placebo of eight patients.
PATCH_Y = [-1200, 2601, -2705, 1982, -1290, 351, -638, -2719]
PATCH_Z = [8406, 2342, 8187, 8459, 4795, 3516, 4796, 10238]


def test_the_paired_t_test_gives_students_sleep() -> None:
    found = paired_t(*SLEEP)
    assert (found.t, found.freedom, found.p) == (pytest.approx(4.0621, abs=1e-4), 9, pytest.approx(0.002833, abs=1e-6))
    assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)


def test_the_paired_t_test_gives_fishers_reading_of_darwins_maize() -> None:
    found = paired_t([0] * 15, MAIZE)
    assert (found.difference, found.t) == (pytest.approx(20.933, abs=1e-3), pytest.approx(2.148, abs=1e-3))
    assert found.p == pytest.approx(0.0497, abs=1e-4)


def test_the_signed_ranks_give_the_depression_scale() -> None:
    found = signed_rank(*DEPRESSION)
    # V = 40 of 45 on the side of a fall, so 5 on the other; p = 0.01953 for one side.
    assert (found.statistic, found.p) == (5, pytest.approx(2 * 0.01953, abs=1e-5))


def test_the_signed_ranks_give_darwins_maize() -> None:
    found = signed_rank([0] * 15, MAIZE)
    assert (found.statistic, found.p) == (24, pytest.approx(0.041259765625))


def test_the_signed_ranks_give_the_table_of_classifiers() -> None:
    found = signed_rank(C45, C45_M, zeros="zsplit")
    assert found.statistic == 12  # Demšar's T; R+ is 93
    assert found.p == pytest.approx(0.011, abs=0.001)  # two-sided of his z = −2.54


def test_the_bootstrap_gives_the_patch_data() -> None:
    y, z = np.array(PATCH_Y, np.float64), np.array(PATCH_Z, np.float64)
    assert y.sum() / z.sum() == pytest.approx(-0.0713, abs=1e-4)
    rng = np.random.default_rng(0)
    draws = rng.integers(0, 8, (20000, 8))
    # The book's standard error of 400 draws is 0.105; the 5 % and 95 % points of these are the percentile interval.
    assert (y[draws].sum(1) / z[draws].sum(1)).std() == pytest.approx(0.105, abs=0.006)
    low, high = ratio_interval(y, z, level=0.9, resamples=4000)
    assert -0.26 < low < -0.2 and 0.1 < high < 0.16


def test_holm_gives_the_table_of_classifiers() -> None:
    # Demšar, section 3.2.2: p = 0.016, 0.019, 0.607 against α/3, α/2, α: the first two are rejected, the third is not.
    assert holm([0.019, 0.607, 0.016]) == pytest.approx([0.048, 0.607, 0.048])
    assert bonferroni([0.019, 0.607, 0.016]) == pytest.approx([0.057, 1.0, 0.048])


def test_holm_steps_down_in_any_order() -> None:
    # The worked example of R's p.adjust and of many textbooks.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert bonferroni([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.04, 0.16, 0.12, 0.02])
    assert holm([]) == bonferroni([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_never_stricter_than_bonferroni_nor_milder_than_nothing(p: list[float]) -> None:
    assert all(one <= step <= all_ for one, step, all_ in zip(p, holm(p), bonferroni(p), strict=True))


def test_the_papers_correction_is_bonferronis_over_45_tests() -> None:
    assert bonferroni([0.0011] * 45)[0] == pytest.approx(0.05, abs=0.001)


@pytest.mark.parametrize("persons", [1, 6])
def test_the_bootstrap_covers_as_often_as_it_says(persons: int) -> None:
    """Scenes of several people who share a fate: drawing people instead would cover far less than it says."""
    inside = alone = 0
    for trial in range(120):
        rng = np.random.default_rng(trial)
        scenes = np.repeat(np.arange(25), persons)
        scores = dict(enumerate((rng.normal(0.5, 0.2, 25)[scenes] + rng.normal(0, 0.05, len(scenes))).tolist()))
        of = dict(enumerate(scenes.tolist()))
        found = cluster_bootstrap(scores, of, resamples=200)
        inside += found.low <= 0.5 <= found.high
        without = cluster_bootstrap(scores, resamples=200)
        alone += without.low <= 0.5 <= without.high
    assert inside >= 104  # of 120: fewer come once in two hundred where 93 % are right
    assert persons == 1 or alone < 90


def test_what_does_not_vary_and_what_stands_alone_have_plain_intervals() -> None:
    same = cluster_bootstrap({1: 0.5, 2: 0.5, 3: 0.5})
    assert (same.mean, same.low, same.high, same.scenes) == (0.5, 0.5, 0.5, 3)
    one = cluster_bootstrap({1: 0.2, 2: 0.4}, {1: "a", 2: "a"})
    assert (one.low, one.high, one.people) == (-np.inf, np.inf, 2)
    with pytest.raises(WardposeError, match="nobody"):
        cluster_bootstrap({})
    assert (paired_t([1, 2], [1, 2]).p, signed_rank([1, 2], [1, 2]).p) == (1, 1)
    with pytest.raises(WardposeError, match="no pairs"):
        paired_t([1, 2], [1])
