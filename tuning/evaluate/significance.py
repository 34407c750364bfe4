"""The paper's tests of paired scores, bootstrap intervals over scenes, and corrections for many tests.

`statistics.compare` decides for the gate; these are what a report shows beside it. Tests and the bootstrap are scipy's.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, its interval at a level, and what it stands on. low and high are -inf and inf where one scene alone
    can't show how much scenes differ."""

    mean: float
    low: float
    high: float
    people: int
    scenes: int


@dataclass(frozen=True, slots=True)
class PairedT:
    """Student's paired t-test: the mean difference after − before with its interval, t, degrees of freedom and p."""

    difference: float
    low: float
    high: float
    t: float
    freedom: int
    p: float


@dataclass(frozen=True, slots=True)
class SignedRank:
    """Wilcoxon's signed-rank test: the smaller sum of ranks, and p."""

    statistic: float
    p: float


def paired_t(before: Sequence[float], after: Sequence[float], *, level: float = LEVEL) -> PairedT:
    """Student's t-test of paired values (two-sided). Raises WardposeError for lists of other lengths or under two."""
    from scipy.stats import ttest_rel

    a, b = _paired(before, after)
    if len(a) < 2:
        raise WardposeError("one pair shows no spread", where="paired t-test", mend="give at least two")
    change = b - a
    mean = float(change.mean())
    if not np.ptp(change):  # nothing varies: the same for all is certain, and no change is none
        return PairedT(mean, mean, mean, np.inf if mean else 0.0, len(a) - 1, 0.0 if mean else 1.0)
    found = ttest_rel(b, a)
    interval = found.confidence_interval(level)
    return PairedT(
        mean, float(interval.low), float(interval.high), float(found.statistic), len(a) - 1, float(found.pvalue)
    )


def signed_rank(
    before: Sequence[float], after: Sequence[float], *, zeros: Literal["wilcox", "pratt", "zsplit"] = "wilcox"
) -> SignedRank:
    """Wilcoxon's test of paired values (two-sided). zeros: what becomes of pairs without a change, as in
    `scipy.stats.wilcoxon`: left out by Wilcoxon, or their ranks split between both sides."""
    from scipy.stats import wilcoxon

    a, b = _paired(before, after)
    if not (b - a).any():
        return SignedRank(0.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are ties, which the normal approximation allows for
        found = wilcoxon(b, a, zero_method=zeros)
    return SignedRank(float(found.statistic), float(found.pvalue))


def cluster_bootstrap(
    values: Mapping[int, float],
    scenes: Mapping[int, Hashable] | None = None,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean over people with a bootstrap interval (BCa, Efron 1987) that draws whole scenes.

    values: by annotation id; scenes: which scene each was seen in, everybody's own where left out. People of one scene
    stand or fall together, so a scene is drawn with everybody in it. Raises WardposeError for nobody.
    """
    if not values:
        raise WardposeError("there is nobody to take a mean of", mend="hold out pictures with people")
    people = sorted(values)
    of = people if scenes is None else [scenes[person] for person in people]
    number = {scene: index for index, scene in enumerate(dict.fromkeys(of))}
    place = np.array([number[scene] for scene in of])
    each = np.array([values[person] for person in people], np.float64)
    sums, counts = (np.bincount(place, w, len(number)).astype(np.float64) for w in (each, np.ones(len(people))))
    low, high = ratio_interval(sums, counts, level=level, resamples=resamples, seed=seed)
    mean = float(each.mean())
    return Interval(mean, min(low, mean), max(high, mean), len(people), len(number))


def ratio_interval(
    sums: NDArray[np.float64], counts: NDArray[np.float64], *, level: float = LEVEL, resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:  # fmt: skip
    """The bootstrap interval of Σ sums / Σ counts over pairs (S,) that are drawn together."""
    from scipy.stats import bootstrap

    if len(sums) < 2:
        return -np.inf, np.inf
    ratio = float(sums.sum() / counts.sum())
    if np.allclose(sums, ratio * counts, rtol=0, atol=1e-12):
        return ratio, ratio
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # where BCa is not defined it answers NaN, which is looked at below
        for method in ("BCa", "percentile"):
            found = bootstrap(
                (sums, counts), _ratio, paired=True, vectorized=True, n_resamples=resamples, confidence_level=level,
                method=method, rng=np.random.default_rng(seed),
            ).confidence_interval  # fmt: skip
            if np.isfinite([found.low, found.high]).all():
                break
    return float(found.low), float(found.high)


def bonferroni(p: Sequence[float]) -> list[float]:
    """Adjusted p-values: each times their number, 1 at most."""
    return [min(1.0, value * len(p)) for value in p]


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm's step-down procedure (1979): as strict as Bonferroni's for the smallest, less so for
    each after it; in the order given."""
    order = np.argsort(p, kind="stable")
    steps = np.array(p, np.float64)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(p) else steps
    return [float(value) for value in adjusted]


def _ratio(sums: NDArray[np.float64], counts: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    found: NDArray[np.float64] = sums.sum(axis=axis) / counts.sum(axis=axis)
    return found


def _paired(before: Sequence[float], after: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise WardposeError(f"{a.size} and {b.size} values are no pairs", mend="score the same people twice")
    return a, b
