"""Is one model better than another on the same people? Paired tests, each with what it sees."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from calibration.errors import WardposeError

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Comparison:
    """Per-person scores of two models on the same people.

    difference: mean of after − before over everybody; low, high: its interval at `level`; p: of the hypothesis that
    this very mean is zero, by the same t statistic, so that p < 1 − level exactly where the interval leaves out zero.
    people, scenes: how many were compared, and the independent groups they came in. better, worse: people whose score
    changed, to which side. p_wilcoxon: the paper's signed-rank test, which sees those alone, and of them the order of
    their changes: it may be small where the mean has hardly moved.
    """

    people: int
    scenes: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    p: float
    better: int
    worse: int
    p_wilcoxon: float
    level: float = LEVEL


def compare(
    before: Mapping[int, float],
    after: Mapping[int, float],
    scenes: Mapping[int, Hashable] | None = None,
    *,
    level: float = LEVEL,
) -> Comparison:
    """Compare the scores of the same people, by annotation id, in whatever order they come.

    scenes: the scene each person was seen in. Pictures of one scene show the same people in the same poses, so they
    stand or fall together: the variance is taken over scenes (the cluster-robust estimate of Liang & Zeger 1986, with
    the factor C/(C − 1), and C − 1 degrees of freedom). Without it everybody is a scene of their own, which is the
    paired t-test. Two models that score alike on everyone give p = 1, and so does a single scene, which can't show how
    much scenes differ.
    Raises WardposeError where there is nobody, or where one model was shown somebody whom the other was not.
    """
    if others := before.keys() ^ after.keys():
        raise WardposeError(
            f"{len(others)} people are in one evaluation and not in the other, first annotation {min(others)}",
            mend="evaluate both models on the same file",
        )
    if not before:
        raise WardposeError("there are no people to compare", mend="hold out pictures with people")
    from scipy.stats import t, wilcoxon

    people = sorted(before)  # one order whatever the file's: sums round alike
    was, became = (np.array([scores[person] for person in people]) for scores in (before, after))
    change = became - was
    mean = float(change.mean())
    of = people if scenes is None else [scenes[person] for person in people]
    number = {scene: index for index, scene in enumerate(dict.fromkeys(of))}
    group, count = np.array([number[scene] for scene in of]), len(number)
    off = np.bincount(group, change - mean, count)
    low = high = mean
    p = 1.0
    if count > 1:
        error = float(np.sqrt((off**2).sum() * count / (count - 1)) / len(change))
        reach = float(t.ppf((1 + level) / 2, count - 1)) * error
        low, high = mean - reach, mean + reach
        if error > 0:
            p = float(2 * t.sf(abs(mean) / error, count - 1))
        elif mean:
            p = 0.0
    elif change.any():
        low, high = -np.inf, np.inf
    p_wilcoxon = float(wilcoxon(became, was, zero_method="wilcox").pvalue) if change.any() else 1.0
    return Comparison(
        people=len(people), scenes=count, before=float(was.mean()), after=float(became.mean()), difference=mean,
        low=low, high=high, p=p, better=int((change > 0).sum()), worse=int((change < 0).sum()), p_wilcoxon=p_wilcoxon,
        level=level,
    )  # fmt: skip
