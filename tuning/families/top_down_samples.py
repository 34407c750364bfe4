"""People cut out of COCO pictures for a top-down pose model, augmented, with their SimCC targets."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from calibration.errors import WardposeError
from runtime.skeleton import MIRRORED
from tuning.coco_folder import Picture
from tuning.train.torch_loop import TrainingData

PADDING = 1.25
_FEWEST_KEYPOINTS = 3


class PoseAugmentation(BaseModel):
    """Chances and ranges. Patients lie at any angle to the camera, so that rotations are large."""

    model_config = ConfigDict(extra="forbid")

    flip: float = Field(default=0.5, title="Chance of a mirrored crop", ge=0, le=1)
    rotate: float = Field(default=0.7, title="Chance of a rotated crop", ge=0, le=1)
    rotation_deg: float = Field(default=60.0, title="Largest rotation (degrees)", ge=0, le=180)
    any_angle: float = Field(default=0.15, title="Chance of any rotation at all", ge=0, le=1)
    scale: float = Field(default=0.3, title="Crop size varied by ± this part", ge=0, lt=1)
    shift: float = Field(default=0.12, title="Crop moved by ± this part of its size", ge=0, le=0.5)
    colour: float = Field(default=0.35, title="Gain, contrast and hue varied by ± this part", ge=0, lt=1)
    hide: float = Field(default=0.3, title="Chance of a grey patch over the person", ge=0, le=1)
    blur: float = Field(default=0.2, title="Chance of blur", ge=0, le=1)


class PoseSamples(TrainingData):
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
        self._people = [
            (picture, person)
            for picture in pictures
            for person in range(len(picture.boxes))
            if not picture.ignored[person]
            and (picture.keypoints[person, :, 2] > 0).sum() >= _FEWEST_KEYPOINTS
            and (picture.boxes[person, 2:] - picture.boxes[person, :2]).min() > 2
        ]
        self._size, self._split, self._sigma = (width, height), split, sigma
        self._mean, self._std = np.array(mean, np.float32), np.array(std, np.float32)
        self._seed, self._augmentation = seed, augmentation

    def __len__(self) -> int:
        return len(self._people)

    def batch(self, epoch: int, indices: list[int]) -> dict[str, Any]:
        samples = [self.sample(epoch, index) for index in indices]
        names = ("img", "x", "y", "weight")
        return {name: np.stack(values) for name, values in zip(names, zip(*samples, strict=True), strict=True)}

    def sample(self, epoch: int, index: int) -> tuple[NDArray[np.float32], ...]:
        """img (3, H, W), x (17, W·split), y (17, H·split), weight (17,) of one person."""
        crop, keypoints = self.crop(epoch, index)
        width, height = self._size
        visible = keypoints[:, 2] > 0
        inside = (keypoints[:, :2] >= 0).all(1) & (keypoints[:, 0] < width) & (keypoints[:, 1] < height)
        weight = (visible & inside).astype(np.float32)
        x = simcc_target(keypoints[:, 0], width, self._split, self._sigma[0])
        y = simcc_target(keypoints[:, 1], height, self._split, self._sigma[1])
        normalised = (crop.astype(np.float32) - self._mean) / self._std
        return np.ascontiguousarray(normalised.transpose(2, 0, 1)), x, y, weight

    def crop(self, epoch: int, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """(H, W, 3) uint8 RGB crop and keypoints (17, 3) in its pixels."""
        picture, person = self._people[index]
        rng = np.random.default_rng((self._seed, epoch, index))
        augmentation = self._augmentation
        box, keypoints = picture.boxes[person], picture.keypoints[person].copy()
        centre, extent = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * PADDING
        turn_deg, mirrored = 0.0, False
        if augmentation:
            extent = extent * (1 + rng.uniform(-augmentation.scale, augmentation.scale))
            centre = centre + rng.uniform(-augmentation.shift, augmentation.shift, 2) * extent
            turn_deg = _turn(rng, augmentation)
            mirrored = bool(rng.random() < augmentation.flip)
        matrix = affine(centre, extent, turn_deg, mirrored, self._size)
        color = _picture(picture.path)
        crop = cv2.warpAffine(color, matrix, self._size, flags=cv2.INTER_LINEAR).astype(np.uint8)
        keypoints[:, :2] = keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        if mirrored:
            keypoints = keypoints[list(MIRRORED)]
        if augmentation:
            crop = _look(crop, rng, augmentation)
        return crop, keypoints


def affine(
    centre: NDArray[np.floating],
    extent: NDArray[np.floating],
    turn_deg: float,
    mirrored: bool,
    size: tuple[int, int],
) -> NDArray[np.float64]:
    """(2, 3): picture pixels to the pixels of a crop `size` = (width, height).

    The crop shows the box of `extent` (2,) about `centre` (2,), widened to the crop's aspect, turned clockwise by
    `turn_deg` and then mirrored. A box that is turned swaps its sides' roles, so its bounds are taken after turning.
    """
    width, height = size
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    bounds = np.abs(turn) @ extent if turn_deg else extent
    # A box turned by 45° has bounds far wider than the person: take the smaller of the bounds and the diagonal.
    bounds = np.minimum(bounds, np.hypot(*extent))
    zoom = min(width / bounds[0], height / bounds[1])
    linear = zoom * turn
    if mirrored:
        linear = np.diag([-1.0, 1.0]) @ linear
    # mmpose's convention, like the runtime's: `size` pixels span the crop's whole width.
    offset = np.array([width / 2 - (1 if mirrored else 0), height / 2]) - linear @ centre
    return np.column_stack([linear, offset])


def simcc_target(coordinate: NDArray[np.floating], length: int, split: float, sigma: float) -> NDArray[np.float32]:
    """(K, length·split): a Gaussian of peak 1 about each rounded bin (Li et al. 2022, as mmpose encodes it)."""
    bins = np.arange(int(length * split), dtype=np.float32)
    centre = np.rint(coordinate * split).astype(np.float32)[:, None]
    return np.exp(-((bins - centre) ** 2) / (2 * sigma**2)).astype(np.float32)


def _turn(rng: np.random.Generator, augmentation: PoseAugmentation) -> float:
    if rng.random() < augmentation.any_angle:
        return float(rng.uniform(-180, 180))
    if rng.random() < augmentation.rotate:
        return float(
            np.clip(rng.normal(0, augmentation.rotation_deg / 2), *(np.array([-1, 1]) * augmentation.rotation_deg))
        )
    return 0.0


def _look(crop: NDArray[np.uint8], rng: np.random.Generator, augmentation: PoseAugmentation) -> NDArray[np.uint8]:
    colour = augmentation.colour
    gain = (1 + rng.uniform(-colour, colour)) * (1 + rng.uniform(-colour, colour, 3) / 3)
    contrast = 1 + rng.uniform(-colour, colour)
    levels = np.arange(256, dtype=np.float32)
    table = np.clip(((levels[:, None] - 128) * contrast + 128) * gain, 0, 255).astype(np.uint8)
    crop = cv2.LUT(crop, table.reshape(256, 1, 3)).astype(np.uint8)
    height, width = crop.shape[:2]
    if rng.random() < augmentation.hide:
        w, h = int(rng.uniform(0.1, 0.4) * width), int(rng.uniform(0.1, 0.4) * height)
        x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        crop[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    if rng.random() < augmentation.blur:
        crop = cv2.GaussianBlur(crop, (0, 0), float(rng.uniform(0.5, 1.5))).astype(np.uint8)
    return crop


@lru_cache(maxsize=64)
def _picture(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise WardposeError("not a readable picture", where=str(path), mend="make the data set again")
    return np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8)
