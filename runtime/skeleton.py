"""COCO-17 skeletons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
LIMBS = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
    (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
MIRRORED = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
# Per-keypoint constants of COCO's object keypoint similarity.
OKS_SIGMAS = np.array(
    [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
     0.089]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Skeletons:
    """N people: `keypoints` (N, 17, 2) float32 pixels, `score` (N, 17) float32 in [0, 1], `track_id` (N,) int64."""

    keypoints: NDArray[np.float32]
    score: NDArray[np.float32]
    track_id: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count = len(self.keypoints)
        if self.keypoints.shape != (count, 17, 2):
            raise ValueError(f"keypoints must be (N, 17, 2), got {self.keypoints.shape}")
        if self.score.shape != (count, 17):
            raise ValueError(f"score must be ({count}, 17), got {self.score.shape}")
        if self.track_id is not None and self.track_id.shape != (count,):
            raise ValueError(f"track_id must be ({count},), got {self.track_id.shape}")
        if count and not (np.isfinite(self.keypoints).all() and np.isfinite(self.score).all()):
            raise ValueError("keypoints and scores must be finite")

    @classmethod
    def empty(cls) -> Skeletons:
        return cls(np.empty((0, 17, 2), np.float32), np.empty((0, 17), np.float32))

    def __len__(self) -> int:
        return len(self.keypoints)

    def __getitem__(self, index: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Skeletons:
        return Skeletons(
            self.keypoints[index], self.score[index], None if self.track_id is None else self.track_id[index]
        )
