"""How small p must be for the k-th candidate that a site tries on the same held-out set.

Who tries often enough finds a candidate that is better by chance alone. So the chance that a site allows is spent over
its tries, the k-th getting 6/(π² k²) of it: all parts together come to the whole, however many are tried (the
alpha-spending of sequential tests; the series is Foster & Stine's, 2008, for a stream of hypotheses without an end).
"""

from __future__ import annotations

from math import pi


def allowed_p(significance: float, tries: int) -> float:
    """The largest p of the `tries`-th candidate (from 1) on one held-out set. Raises ValueError below 1."""
    if tries < 1:
        raise ValueError(f"the first candidate is number 1, got {tries}")
    return significance * 6 / (pi * tries) ** 2
