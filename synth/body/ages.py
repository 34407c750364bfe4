"""How old people are: everybody from the newborn to ninety-five, hospital patients mostly old."""

from __future__ import annotations

import numpy as np

INFANT_YEARS = 1.5  # until about then somebody lies as infants lie
COT_YEARS = 3.0  # until about then somebody lies in a cot
# (from, to, share): how patients of a general hospital are spread; within a row every age is as likely.
_PATIENTS = ((0.0, 3.0, 0.05), (3.0, 18.0, 0.08), (18.0, 40.0, 0.20), (40.0, 65.0, 0.27), (65.0, 95.0, 0.40))


def draw_age(rng: np.random.Generator, span: tuple[float, float] = (18.0, 95.0)) -> float:
    """A patient's age in years within `span`."""
    low, high = span
    pieces = [(max(a, low), min(b, high), share / (b - a)) for a, b, share in _PATIENTS if a < high and b > low]
    if not pieces or high <= low:
        return float(low)
    weights = np.array([(b - a) * density for a, b, density in pieces])
    a, b, _ = pieces[int(rng.choice(len(pieces), p=weights / weights.sum()))]
    return float(rng.uniform(a, b))
