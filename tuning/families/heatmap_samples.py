"""Crops of people with heat maps as their targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuning.coco_folder import Picture
from tuning.families.person_crops import PersonCrops, PoseAugmentation
from tuning.train.torch_batches import TrainingData

CELL_PX = 4  # the maps' cells: mmpose's for both sizes of input
SIGMA = 2.0  # cells


class HeatmapSamples(PersonCrops, TrainingData):
    """One sample a person with at least three labelled keypoints; hidden ones (visibility 1) are learnt too.

    A batch: `img` (B, 3, height, width) float32 normalised by mean and std (3,) of 0…255 RGB; `maps` (B, 17,
    height / 4, width / 4) float32; `weight` (B, 17) float32. udp: crops and maps in UDP's unit lengths, where first and
    last pixel centres lie on the borders. What is random in a sample depends on (seed, epoch, index) alone.
    """

    def __init__(
        self,
        pictures: list[Picture],
        *,
        width: int,
        height: int,
        udp: bool,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        seed: int,
        augmentation: PoseAugmentation | None,
    ) -> None:
        super().__init__(pictures, width=width, height=height, seed=seed, augmentation=augmentation, unit_lengths=udp)
        self._udp = udp
        self._mean, self._std = np.array(mean, np.float32), np.array(std, np.float32)

    def batch(self, epoch: int, indices: list[int]) -> dict[str, Any]:
        samples = [self.sample(epoch, index) for index in indices]
        names = ("img", "maps", "weight")
        return {name: np.stack(values) for name, values in zip(names, zip(*samples, strict=True), strict=True)}

    def sample(self, epoch: int, index: int) -> tuple[NDArray[np.float32], ...]:
        """img (3, H, W), maps (17, H / 4, W / 4), weight (17,) of one person."""
        crop = self.crop(epoch, index)
        maps, inside = heatmap_target(crop.keypoints[:, :2], self._size, udp=self._udp)
        weight = ((crop.keypoints[:, 2] > 0) & inside).astype(np.float32)
        normalised = (crop.color.astype(np.float32) - self._mean) / self._std
        return np.ascontiguousarray(normalised.transpose(2, 0, 1)), maps, weight


def heatmap_target(
    keypoints: NDArray[np.floating], size: tuple[int, int], *, udp: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(K, h, w) Gaussians of peak 1 about keypoints (K, 2) in pixels of a crop of `size` = (width, height), and which
    of them reach into the map: mmpose's targets of UDP and of DARK."""
    pixels = np.asarray(size, np.float64)
    cells = pixels // CELL_PX
    place = keypoints * ((cells - 1) / (pixels - 1) if udp else cells / pixels)
    columns, rows = (np.arange(int(length), dtype=np.float64) for length in cells)
    across = np.exp(-((columns - place[:, :1]) ** 2) / (2 * SIGMA**2))
    down = np.exp(-((rows - place[:, 1:]) ** 2) / (2 * SIGMA**2))
    reach = 3 * SIGMA
    inside: NDArray[np.bool_] = np.all((place > -reach) & (place < cells + reach), axis=1)
    return (down[:, :, None] * across[:, None]).astype(np.float32), inside
