"""Is one model better than another on the same people? Paired tests, as in the synthetic-retargeting paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Bonferroni over the 45 tests of the paper.
PAPER_ALPHA = 0.05 / 45


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
    before: NDArray[np.float64], after: NDArray[np.float64], rng: np.random.Generator, resamples: int = 2000
) -> Comparison:
    """Compare paired scores (N,) and (N,); N ≥ 1. Two models that score alike on everyone give p = 1."""
    if before.shape != after.shape or before.ndim != 1 or not len(before):
        raise ValueError(f"paired scores of one length are wanted, got {before.shape} and {after.shape}")
    from scipy.stats import ttest_rel, wilcoxon

    difference = after - before
    p_wilcoxon = p_t = 1.0
    if difference.any():
        p_wilcoxon = float(wilcoxon(after, before, zero_method="wilcox").pvalue)
        if len(difference) > 1 and np.ptp(difference) > 0:
            p_t = float(ttest_rel(after, before).pvalue)
    means = [difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, (0.025, 0.975))
    return Comparison(
        len(before), float(before.mean()), float(after.mean()), float(difference.mean()), float(low), float(high),
        p_wilcoxon, p_t,
    )  # fmt: skip
