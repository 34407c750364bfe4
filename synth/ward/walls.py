"""Where a room's four walls stand, and how to put something on one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.render.mesh import Mesh
from synth.ward import shapes
from synth.ward.shapes import Surface

WALLS = ("head", "foot", "right", "left")
_UP = np.array([0.0, 0.0, 1.0])
_Metres = float | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wall:
    """corner (3,) at the floor; along, inward (3,): unit vectors with along × up = inward; length and floor in metres.
    Places on it are metres along it from the corner and above the floor."""

    corner: NDArray[np.float64]
    along: NDArray[np.float64]
    inward: NDArray[np.float64]
    length: float
    floor: float

    @classmethod
    def of(cls, name: str, low: tuple[float, float], high: tuple[float, float], floor: float) -> Wall:
        """One of `WALLS` of the room between `low` and `high` (bed frame x, y)."""
        (x0, y0), (x1, y1) = low, high
        x, y, ax, ay = {
            "head": (x0, y0, 0, 1), "foot": (x1, y1, 0, -1), "right": (x1, y0, -1, 0), "left": (x0, y1, 1, 0)
        }[name]  # fmt: skip
        along, inward = np.array([ax, ay, 0.0]), np.array([ay, -ax, 0.0])
        length = y1 - y0 if ax == 0 else x1 - x0
        return cls(np.array([x, y, floor]), along, inward, length, floor)

    def at(self, start: _Metres, height: _Metres, proud: _Metres) -> NDArray[np.float64]:
        """(3,) in the bed frame, `proud` metres before the wall; (N, 3) from columns (N, 1) of metres."""
        return np.asarray(self.corner + self.along * start + self.inward * proud + _UP * height)

    def panel(self, start: float, width: float, low: float, high: float, proud: float, surface: Surface) -> Mesh:
        """A rectangle `proud` metres before the wall."""
        return shapes.quad(
            self.at(start, low, proud), self.along * width, [0, 0, high - low], surface, single_sided=True
        )

    def block(self, start: float, width: float, low: float, high: float, depth: float, surface: Surface) -> Mesh:
        """A box that stands `depth` metres out of the wall."""
        one, other = self.at(start, low, 0.0), self.at(start + width, high, depth)
        return shapes.box(np.minimum(one, other), np.maximum(one, other), surface)
