"""The bed and its frame.

Origin at the mattress-top centre, x toward the foot end, y toward the patient's left (supine), z up; metres.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Bed:
    """A bed's measures in metres; `height` is the mattress top above the floor, `backrest_deg` 0 when flat."""

    length: float = 2.0
    width: float = 0.9
    height: float = 0.55
    backrest_deg: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (("length", 0.5, 2.6), ("width", 0.3, 1.6), ("height", 0.15, 1.3)):
            value = getattr(self, name)
            if not low <= value <= high:
                hint = "; is it in millimetres?" if value > 100 else ""
                raise ValueError(f"bed {name} must be {low}–{high} m, got {value}{hint}")
        if not 0 <= self.backrest_deg <= 80:
            raise ValueError(f"backrest must be 0–80 degrees, got {self.backrest_deg}")

    @property
    def corners(self) -> NDArray[np.float64]:
        """Mattress-top corners (4, 3): head right, head left, foot left, foot right (the patient's sides)."""
        x, y = self.length / 2, self.width / 2
        return np.array([[-x, -y, 0.0], [-x, y, 0.0], [x, y, 0.0], [x, -y, 0.0]])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
