"""How much of each kind of body that anny mixes a person has: of newborn, baby, child; of thin, average, heavy; …

anny's own way there is a hundred small tensor operations a person; this gives the same numbers, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_ANCESTRIES = ("african", "asian", "caucasian")


def kinds_of(parameters: Mapping[str, float], anchors: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """(N,) shares of all kinds: ancestries first, then those of each axis in `anchors`, which sum to 1.

    parameters: a shape's. anchors: axis -> where on it a body is wholly of one kind, in rising order. Beyond the first
    and the last, shares go on along the line, below 0 and above 1.
    """
    ancestry = np.array([parameters[name] for name in _ANCESTRIES], np.float32)
    shares = [ancestry / ancestry.sum()]
    for axis, at in anchors.items():
        value = np.float32(parameters[axis])
        upper = min(max(int(np.searchsorted(at, value)), 1), len(at) - 1)
        here = np.zeros(len(at), np.float32)
        here[upper] = (value - at[upper - 1]) / (at[upper] - at[upper - 1])
        here[upper - 1] = 1.0 - here[upper]
        shares.append(here)
    return np.concatenate(shares)
