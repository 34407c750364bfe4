"""Damage for readers: what people, tools and disks do to a file, drawn on its structure.

A reader's fuzz test draws damage, and asserts the one thing that counts: a right answer, or one WardposeError.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

# What stands where another value belongs.
JUNK: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.sampled_from([-1, 0, 7, 10**6, 2**63, 10**400]),
    st.sampled_from([-0.5, 1e308, float("nan"), float("inf")]),
    st.sampled_from(["", "person", "1", "nan", "1e999", "\0", "x" * 300, "../x", "ä", "0,5", "\ud800"]),
    st.sampled_from([[], {}, [None], ["a"], [1], [[1]], {"id": 1}]),
)  # fmt: skip


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in nested lists and objects, from the outermost inwards."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield (*at, key)
        yield from _places(each, (*at, key))


@st.composite
def damaged(draw: st.DrawFn, value: Any, times: int = 2) -> Any:
    """The nested value with up to `times` places changed: another type or number, taken out, or doubled."""
    changed = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, times))):
        places = list(_places(changed))
        if not places:
            return copy.deepcopy(draw(JUNK))
        *way, last = draw(st.sampled_from(places))
        holder = changed
        for key in way:
            holder = holder[key]
        how = draw(st.sampled_from(("junk", "junk", "out", "doubled")))
        if how == "out":
            del holder[last]
        elif how == "doubled" and isinstance(holder, list):
            holder.insert(last, copy.deepcopy(holder[last]))
        else:
            holder[last] = copy.deepcopy(draw(JUNK))
    return changed


@st.composite
def broken_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """The content cut off, with some bytes overwritten, or with a piece repeated."""
    at = draw(st.integers(0, len(content)))
    how = draw(st.sampled_from(("cut", "noise", "repeat")))
    if how == "cut":
        return content[:at]
    noise = draw(st.binary(min_size=1, max_size=40)) if how == "noise" else content[at : at + 64]
    return content[:at] + noise + content[at + (len(noise) if how == "noise" else 0) :]
