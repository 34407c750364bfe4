"""The bed and its frame.

Origin at the mattress-top centre, x toward the foot end, y toward the patient's left (supine), z up; metres.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.bounds import BACKREST_DEG, BED_HEIGHT_M, BED_LENGTH_M, BED_WIDTH_M


@dataclass(frozen=True, slots=True)
class Bed:
    """A bed's measures in metres; `height` is the mattress top above the floor, `backrest_deg` 0 when flat."""

    length: float = 2.0
    width: float = 0.9
    height: float = 0.55
    backrest_deg: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high) in (("length", BED_LENGTH_M), ("width", BED_WIDTH_M), ("height", BED_HEIGHT_M)):
            value = getattr(self, name)
            if not low <= value <= high:
                hint = "; is it in millimetres?" if value > 100 else ""
                raise ValueError(f"bed {name} must be {low}–{high} m, got {value}{hint}")
        if not BACKREST_DEG.least <= self.backrest_deg <= BACKREST_DEG.most:
            raise ValueError(
                f"backrest must be {BACKREST_DEG.least}–{BACKREST_DEG.most} degrees, got {self.backrest_deg}"
            )

    @property
    def corners(self) -> NDArray[np.float64]:
        """Mattress-top corners (4, 3): head right, head left, foot left, foot right (the patient's sides)."""
        x, y = self.length / 2, self.width / 2
        return np.array([[-x, -y, 0.0], [-x, y, 0.0], [x, y, 0.0], [x, -y, 0.0]])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
