"""Crops of people with their SimCC targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuning.coco_folder import Picture
from tuning.families.person_crops import PersonCrops, PoseAugmentation
from tuning.train.torch_loop import TrainingData


class PoseSamples(PersonCrops, TrainingData):
    """One sample a person with at least three labelled keypoints; hidden ones (visibility 1) are learnt too.

    A batch: `img` (B, 3, height, width) float32 normalised by mean and std (3,) of 0…255 RGB; `x` (B, 17, width·split)
    and `y` (B, 17, height·split) float32 SimCC targets; `weight` (B, 17) float32. What is random in a sample depends on
    (seed, epoch, index) alone.
    """

    def __init__(
        self,
        pictures: list[Picture],
        *,
        width: int,
        height: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        seed: int,
        augmentation: PoseAugmentation | None,
        split: float = 2.0,
        sigma: tuple[float, float] = (4.9, 5.66),
    ) -> None:
        super().__init__(pictures, width=width, height=height, seed=seed, augmentation=augmentation)
        self._split, self._sigma = split, sigma
        self._mean, self._std = np.array(mean, np.float32), np.array(std, np.float32)

    def batch(self, epoch: int, indices: list[int]) -> dict[str, Any]:
        samples = [self.sample(epoch, index) for index in indices]
        names = ("img", "x", "y", "weight")
        return {name: np.stack(values) for name, values in zip(names, zip(*samples, strict=True), strict=True)}

    def sample(self, epoch: int, index: int) -> tuple[NDArray[np.float32], ...]:
        """img (3, H, W), x (17, W·split), y (17, H·split), weight (17,) of one person."""
        crop = self.crop(epoch, index)
        keypoints = crop.keypoints
        width, height = self._size
        labelled = keypoints[:, 2] > 0
        inside = (keypoints[:, :2] >= 0).all(1) & (keypoints[:, 0] < width) & (keypoints[:, 1] < height)
        weight = (labelled & inside).astype(np.float32)
        x = simcc_target(keypoints[:, 0], width, self._split, self._sigma[0])
        y = simcc_target(keypoints[:, 1], height, self._split, self._sigma[1])
        normalised = (crop.color.astype(np.float32) - self._mean) / self._std
        return np.ascontiguousarray(normalised.transpose(2, 0, 1)), x, y, weight


def simcc_target(coordinate: NDArray[np.floating], length: int, split: float, sigma: float) -> NDArray[np.float32]:
    """(K, length·split): a Gaussian of peak 1 about each rounded bin (Li et al. 2022, as mmpose encodes it)."""
    bins = np.arange(int(length * split), dtype=np.float32)
    centre = np.rint(coordinate * split).astype(np.float32)[:, None]
    return np.exp(-((bins - centre) ** 2) / (2 * sigma**2)).astype(np.float32)
