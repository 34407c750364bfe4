"""How long work tells whoever waits how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Steps done, steps in all (0 where that is unknown), and in a few words what is being done."""
