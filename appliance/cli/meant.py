"""What somebody meant who mistyped a word."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def nearest(word: str, known: Sequence[str]) -> str:
    """The known word that comes nearest to a mistyped one; empty where none is near."""
    return next(iter(difflib.get_close_matches(word, known, 1, 0.6)), "")
