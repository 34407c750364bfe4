"""Is one model better than another on the same people? Paired tests, as in the synthetic-retargeting paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibration.errors import WardposeError


@dataclass(frozen=True, slots=True)
class Comparison:
    """Per-person scores of two models on the same people. difference: mean of after − before, with its bootstrap 95 %
    interval; p of the Wilcoxon signed-rank test (primary: the scores are not normal) and of the paired t-test."""

    people: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    p_wilcoxon: float
    p_t: float


def compare(
    before: Mapping[int, float], after: Mapping[int, float], rng: np.random.Generator, resamples: int = 2000
) -> Comparison:
    """Compare the scores of the same people, by annotation id, in whatever order they come.

    Two models that score alike on everyone give p = 1. Raises WardposeError where there is nobody, or where one model
    was shown somebody whom the other was not.
    """
    if others := before.keys() ^ after.keys():
        raise WardposeError(
            f"{len(others)} people are in one evaluation and not in the other, first annotation {min(others)}",
            mend="evaluate both models on the same file",
        )
    if not before:
        raise WardposeError("there are no people to compare", mend="hold out pictures with people")
    from scipy.stats import ttest_rel, wilcoxon

    people = sorted(before)  # one order whatever the file's, so that the resampling is the same too
    was, became = (np.array([scores[person] for person in people]) for scores in (before, after))
    difference = became - was
    p_wilcoxon = p_t = 1.0
    if difference.any():
        p_wilcoxon = float(wilcoxon(became, was, zero_method="wilcox").pvalue)
        if len(difference) > 1 and np.ptp(difference) > 0:
            p_t = float(ttest_rel(became, was).pvalue)
    means = [difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, (0.025, 0.975))
    return Comparison(
        len(people), float(was.mean()), float(became.mean()), float(difference.mean()), float(low), float(high),
        p_wilcoxon, p_t,
    )  # fmt: skip
