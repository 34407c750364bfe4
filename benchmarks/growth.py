"""Whether something grows over hours: a robust slope of the medians of windows, with its interval.

The slope is Theil and Sen's (P. K. Sen, Journal of the American Statistical Association 63, 1968), which a third of
wild values don't move, and its interval is by Kendall's rank statistic. What is measured on a busy machine has bursts,
so it is the medians of windows that are compared, not single samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

WINDOWS = 20
CONFIDENCE = 0.95
Verdict = Literal["no growth", "grows", "can't tell"]


@dataclass(frozen=True, slots=True)
class Growth:
    """How a quantity changed. per_hour, low, high: the slope and its interval; start, end: medians of the first and the
    last fifth; tolerance: per hour, what doesn't count as growth."""

    start: float
    end: float
    per_hour: float
    low: float
    high: float
    tolerance: float

    @property
    def verdict(self) -> Verdict:
        """`grows` where even the least slope is too steep; `no growth` where even the steepest isn't."""
        if self.low > self.tolerance:
            return "grows"
        return "no growth" if self.high <= self.tolerance else "can't tell"

    def to_dict(self) -> dict[str, Any]:
        values = {name: round(value, 3) for name, value in asdict(self).items()}
        return values | {"verdict": self.verdict}


def growth(
    at_s: Sequence[float], values: Sequence[float], *, tolerance: float, windows: int = WINDOWS, floor: bool = False
) -> Growth | None:
    """The growth of `values` measured at `at_s` (seconds, rising); None of fewer than four windows with a value.

    floor: by the least of each window in place of its median, for what work takes and gives back, as memory. Values
    that are not finite are left out.
    """
    from scipy.stats import theilslopes

    at, value = np.asarray(at_s, np.float64), np.asarray(values, np.float64)
    known = np.isfinite(value)
    at, value = at[known], value[known]
    if len(at) < 4:
        return None
    windows = min(windows, len(at))
    edges = np.linspace(at[0], at[-1], windows + 1)
    place = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, windows - 1)
    filled = [window for window in range(windows) if np.any(place == window)]
    if len(filled) < 4:
        return None
    hours = np.array([np.mean(at[place == window]) for window in filled]) / 3600
    of_window = np.min if floor else np.median
    medians = np.array([of_window(value[place == window]) for window in filled])
    slope, _, low, high = theilslopes(medians, hours, alpha=CONFIDENCE)
    fifth = max(1, len(medians) // 5)
    return Growth(
        float(np.median(medians[:fifth])), float(np.median(medians[-fifth:])), float(slope), float(low), float(high),
        tolerance,
    )  # fmt: skip
