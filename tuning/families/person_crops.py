"""People cut out of COCO pictures for a top-down pose model, as the runtime cuts them, and varied for training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from runtime.capture.photograph import read_photograph
from runtime.skeleton import MIRRORED
from tuning.coco_folder import Picture

PADDING = 1.25
_FEWEST_KEYPOINTS = 3
_TRUNK = (5, 6, 11, 12)  # shoulders and hips
# A trunk seen from its end has no direction in the picture: its length over the larger of its two breadths.
_SHORTEST_TRUNK = 0.7
_WRONG_FROM_DEG = 80.0


class PoseAugmentation(BaseModel):
    """Chances and ranges. Patients lie at any angle to the camera, so that rotations are large."""

    model_config = ConfigDict(extra="forbid")

    flip: float = Field(default=0.5, title="Chance of a mirrored crop", ge=0, le=1)
    body: float = Field(default=0.0, title="Chance of a crop turned so that the trunk stands upright", ge=0, le=1)
    body_spread_deg: float = Field(default=45.0, title="Such a crop's further turn (± degrees)", ge=0, le=90)
    wrong: float = Field(
        default=0.0, title="Chance that a crop is turned wrong, to be told from a right one", ge=0, le=1
    )
    rotate: float = Field(default=0.7, title="Chance of a rotated crop, of the others", ge=0, le=1)
    rotation_deg: float = Field(default=60.0, title="Largest rotation (degrees)", ge=0, le=180)
    any_angle: float = Field(default=0.15, title="Chance of any rotation at all", ge=0, le=1)
    scale: float = Field(default=0.3, title="Crop size varied by ± this part", ge=0, lt=1)
    shift: float = Field(default=0.12, title="Crop moved by ± this part of its size", ge=0, le=0.5)
    colour: float = Field(default=0.35, title="Gain, contrast and hue varied by ± this part", ge=0, lt=1)
    hide: float = Field(default=0.3, title="Chance of a grey patch over the person", ge=0, le=1)
    blur: float = Field(default=0.2, title="Chance of blur", ge=0, le=1)
    coarse: float = Field(default=0.0, title="Chance of a crop seen from further away", ge=0, le=1)

    @classmethod
    def only_flips(cls, chance: float) -> PoseAugmentation:
        """Mirrored crops, and nothing else."""
        still: dict[str, float] = dict.fromkeys(("rotate", "any_angle", "scale", "shift", "colour", "hide", "blur"), 0)
        return cls(flip=chance, **still)


@dataclass(frozen=True, slots=True)
class PersonCrop:
    """color (H, W, 3) uint8 RGB; keypoints (17, 3) in its pixels; right: whether the body stands in it as the runtime
    would turn it (False: turned wrong on purpose)."""

    color: NDArray[np.uint8]
    keypoints: NDArray[np.float64]
    right: bool


class PersonCrops:
    """One crop a person with at least three labelled keypoints.

    What is random in a crop depends on (seed, epoch, index) alone. Without `augmentation` it is the runtime's own.
    """

    def __init__(
        self,
        pictures: list[Picture],
        *,
        width: int,
        height: int,
        seed: int,
        augmentation: PoseAugmentation | None,
        padding: float = PADDING,
        unit_lengths: bool = False,
    ) -> None:
        self._people = [
            (picture, person)
            for picture in pictures
            for person in range(len(picture.boxes))
            if not picture.ignored[person]
            and (picture.keypoints[person, :, 2] > 0).sum() >= _FEWEST_KEYPOINTS
            and (picture.boxes[person, 2:] - picture.boxes[person, :2]).min() > 2
        ]
        self._size, self._padding, self._unit_lengths = (width, height), padding, unit_lengths
        self._seed, self._augmentation = seed, augmentation

    def __len__(self) -> int:
        return len(self._people)

    def crop(self, epoch: int, index: int) -> PersonCrop:
        picture, person = self._people[index]
        rng = np.random.default_rng((self._seed, epoch, index))
        augmentation = self._augmentation
        box, keypoints = picture.boxes[person], picture.keypoints[person].copy()
        centre, extent = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * self._padding
        turn_deg, mirrored, right = 0.0, False, True
        if augmentation:
            extent = extent * (1 + rng.uniform(-augmentation.scale, augmentation.scale))
            centre = centre + rng.uniform(-augmentation.shift, augmentation.shift, 2) * extent
            turn_deg, right = _turn(rng, augmentation, keypoints)
            mirrored = bool(rng.random() < augmentation.flip)
        matrix = affine(centre, extent, turn_deg, mirrored, self._size, unit_lengths=self._unit_lengths)
        color = _picture(picture.path)
        crop = cv2.warpAffine(color, matrix, self._size, flags=cv2.INTER_LINEAR).astype(np.uint8)
        keypoints[:, :2] = keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        if mirrored:
            keypoints = keypoints[list(MIRRORED)]
        if augmentation:
            crop = _look(crop, rng, augmentation)
        return PersonCrop(crop, keypoints, right)


def affine(
    centre: NDArray[np.floating],
    extent: NDArray[np.floating],
    turn_deg: float,
    mirrored: bool,
    size: tuple[int, int],
    *,
    unit_lengths: bool = False,
) -> NDArray[np.float64]:
    """(2, 3): picture pixels to the pixels of a crop `size` = (width, height).

    The crop shows the box of `extent` (2,) about `centre` (2,), widened to the crop's aspect, its content turned
    clockwise by `turn_deg` and then mirrored. Of a box that is turned the crop holds the ellipse in it, as the
    runtime's does: a body fills its box less than the corners say. unit_lengths: as in `runtime.crop.crop_matrix`.
    """
    width, height = size
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    bounds = np.hypot(turn[:, 0] * extent[0], turn[:, 1] * extent[1])
    zoom = min(width / bounds[0], height / bounds[1])
    linear = zoom * turn
    # mmpose's convention, like the runtime's: `size` pixels span the crop's whole width.
    matrix = np.column_stack([linear, np.array([width / 2, height / 2]) - linear @ centre])
    if unit_lengths:
        matrix = np.diag([(width - 1) / width, (height - 1) / height]) @ matrix
    if mirrored:
        matrix = np.diag([-1.0, 1.0]) @ matrix + np.array([[0, 0, width - 1], [0, 0, 0]])
    return matrix


def upright_turn_deg(keypoints: NDArray[np.floating]) -> float | None:
    """By how much a picture is turned clockwise for this trunk (17, 3) to stand upright in it, −180…180 degrees.

    None where a shoulder or hip is not labelled, or the trunk is seen from its end.
    """
    if not (keypoints[_TRUNK, 2] > 0).all():
        return None
    left_shoulder, right_shoulder, left_hip, right_hip = keypoints[_TRUNK, :2]
    down = (left_hip + right_hip - left_shoulder - right_shoulder) / 2
    breadth = max(np.hypot(*(left_shoulder - right_shoulder)), np.hypot(*(left_hip - right_hip)))
    if np.hypot(*down) < _SHORTEST_TRUNK * breadth:
        return None
    return float(np.rad2deg(np.arctan2(down[0], down[1])))


def _turn(
    rng: np.random.Generator, augmentation: PoseAugmentation, keypoints: NDArray[np.floating]
) -> tuple[float, bool]:
    """Degrees by which a crop is turned, and whether that is a right turn for the body."""
    upright = upright_turn_deg(keypoints) if augmentation.body or augmentation.wrong else None
    if upright is not None and rng.random() < augmentation.wrong:
        return upright + float(rng.choice([-1.0, 1.0]) * rng.uniform(_WRONG_FROM_DEG, 180)), False
    if rng.random() < augmentation.body:
        return (upright or 0.0) + float(rng.uniform(-1, 1) * augmentation.body_spread_deg), True
    if rng.random() < augmentation.any_angle:
        return float(rng.uniform(-180, 180)), True
    if rng.random() < augmentation.rotate:
        drawn = rng.normal(0, augmentation.rotation_deg / 2)
        return float(np.clip(drawn, -augmentation.rotation_deg, augmentation.rotation_deg)), True
    return 0.0, True


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
    if augmentation.coarse and rng.random() < augmentation.coarse:
        part = float(rng.uniform(0.3, 0.8))
        small = cv2.resize(crop, (int(width * part), int(height * part)), interpolation=cv2.INTER_AREA)
        crop = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    return crop


@lru_cache(maxsize=64)
def _picture(path: Path) -> NDArray[np.uint8]:
    return read_photograph(path)
