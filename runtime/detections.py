"""People found in one picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Detections:
    """N people: `xyxy` (N, 4) float32 pixels, `score` (N,) float32 in [0, 1], `track_id` (N,) int64 once tracked."""

    xyxy: NDArray[np.float32]
    score: NDArray[np.float32]
    track_id: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.xyxy)
        if self.xyxy.shape != (count, 4):
            raise ValueError(f"xyxy must be (N, 4), got {self.xyxy.shape}")
        if self.score.shape != (count,):
            raise ValueError(f"score must be ({count},), got {self.score.shape}")
        if self.track_id is not None and self.track_id.shape != (count,):
            raise ValueError(f"track_id must be ({count},), got {self.track_id.shape}")
        if count and not (np.isfinite(self.xyxy).all() and np.isfinite(self.score).all()):
            raise ValueError("boxes and scores must be finite")
        if count and ((self.xyxy[:, 2:] < self.xyxy[:, :2]).any()):
            raise ValueError("boxes must have x1 ≤ x2 and y1 ≤ y2")
        if count and not ((self.score >= 0) & (self.score <= 1)).all():
            raise ValueError("scores must lie in [0, 1]")

    @classmethod
    def empty(cls) -> Detections:
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32))

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Detections:
        return Detections(self.xyxy[index], self.score[index], None if self.track_id is None else self.track_id[index])

    def __iter__(self) -> Iterator[Detections]:
        return (self[i : i + 1] for i in range(len(self)))


def iou_matrix(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union (len(a), len(b)) of `xyxy` boxes."""
    a, b = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
    overlap = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(-1)
    area_a = np.clip(a[..., 2:] - a[..., :2], 0, None).prod(-1)
    area_b = np.clip(b[..., 2:] - b[..., :2], 0, None).prod(-1)
    return overlap / np.maximum(area_a + area_b - overlap, 1e-12)
