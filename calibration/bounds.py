"""How small and how large the quantities may be that a person sets: the same in settings, scenario, trainer and bed."""

from __future__ import annotations

from typing import NamedTuple


class Bounds(NamedTuple):
    """The least and the greatest value that is allowed."""

    least: float
    most: float


class WholeBounds(NamedTuple):
    """The least and the greatest whole number that is allowed."""

    least: int
    most: int

    def hold(self, number: int) -> bool:
        """Whether `number` is allowed."""
        return self.least <= number <= self.most

    def __str__(self) -> str:
        return f"{self.least} to {self.most}"


BED_LENGTH_M = Bounds(0.5, 2.6)
BED_WIDTH_M = Bounds(0.3, 1.6)
BED_HEIGHT_M = Bounds(0.15, 1.3)  # the mattress top above the floor
BACKREST_DEG = Bounds(0, 80)

LARGEST = 2**63 - 1  # number of all: what a database's column holds

PICTURE_PIXELS = 89_000_000  # of one picture: a quarter of a gigabyte of colours
IMAGES = WholeBounds(1, 1_000_000)
SEED = WholeBounds(0, LARGEST)

EPOCHS = WholeBounds(1, 1000)
BATCH = WholeBounds(1, 1024)
INPUT_SIDE_PX = WholeBounds(32, 4096)
LEARNING_RATE_MOST = 1.0
FROZEN_LAYERS = WholeBounds(0, 1000)
