"""Pictures with people's boxes as a detector's input, augmented: the runtime's own scaling, padding and numbers."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from runtime.capture.photograph import read_photograph
from runtime.detect import normalise
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture

_LEAST_AREA_PX2 = 64.0
_OUTWARD = np.array([-1.0, -1.0, 1.0, 1.0])


class DetectionAugmentation(BaseModel):
    """Chances and ranges. Scale 1 is the picture as the runtime would letterbox it.

    margin: rendered boxes end at the last pixel of a person, those that people draw on photographs a little outside.
    Without it a tuned model's boxes are too tight by about this much, on photographs of every kind.
    """

    model_config = ConfigDict(extra="forbid")

    margin: float = Field(default=0.015, title="Boxes widened by this part of their size on every side", ge=0, lt=0.5)
    flip: float = Field(default=0.5, title="Chance of a mirrored picture", ge=0, le=1)
    scale: tuple[float, float] = Field(default=(0.5, 1.25), title="Size over the letterboxed size, least and most")
    quarter_turn: float = Field(default=0.3, title="Chance of a picture turned by 90° to either side", ge=0, le=1)
    contrast: float = Field(default=0.3, title="Contrast varied by ± this part", ge=0, lt=1)
    brightness: float = Field(default=25.0, title="Brightness varied by ± this, of 0…255", ge=0, le=255)
    colour: float = Field(default=0.1, title="Each channel's gain varied by ± this part", ge=0, lt=1)

    @classmethod
    def only_flips(cls, chance: float) -> DetectionAugmentation:
        """Mirrored pictures, and nothing else."""
        return cls(margin=0, flip=chance, scale=(1, 1), quarter_turn=0, contrast=0, brightness=0, colour=0)


class DetectionSamples:
    """Training data of one sample a picture. What is random in it depends on (seed, epoch, index) alone.

    A batch: `images` (B, 3, height, width) float32 as `info` wants them; `boxes` (P, 4) float32 xyxy in input pixels,
    `picture` (P,) int64 whose they are, and `ignored` (P,) bool for COCO's crowds. Boxes are cut at the input's edges,
    and those of less than 64 px² left out.
    """

    def __init__(
        self, pictures: list[Picture], info: ModelInfo, *, seed: int, augmentation: DetectionAugmentation | None
    ) -> None:
        self._pictures, self._info = pictures, info
        self._seed, self._augmentation = seed, augmentation

    def __len__(self) -> int:
        return len(self._pictures)

    def batch(self, epoch: int, indices: list[int]) -> dict[str, Any]:
        images, boxes, ignored = zip(*(self.sample(epoch, index) for index in indices), strict=True)
        return {
            "images": normalise(np.stack(images), self._info),
            "boxes": np.concatenate(boxes).astype(np.float32),
            "picture": np.repeat(np.arange(len(indices)), [len(b) for b in boxes]),
            "ignored": np.concatenate(ignored),
        }

    def sample(self, epoch: int, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.bool_]]:
        """The input (height, width, 3) uint8 RGB, boxes (P, 4) in its pixels, and which of them are crowds."""
        picture = self._pictures[index]
        rng = np.random.default_rng((self._seed, epoch, index))
        color = read_photograph(picture.path)
        boxes: NDArray[np.floating] = picture.boxes
        augmentation = self._augmentation
        if augmentation:
            boxes = boxes + np.tile(boxes[:, 2:] - boxes[:, :2], 2) * (augmentation.margin * _OUTWARD)
        if augmentation and rng.random() < augmentation.quarter_turn:
            color, boxes = quarter_turned(color, boxes, 1 if rng.random() < 0.5 else -1)
        if augmentation and rng.random() < augmentation.flip:
            color, boxes = color[:, ::-1], _mirrored(boxes, color.shape[1])
        zoom = float(rng.uniform(*augmentation.scale)) if augmentation else 1.0
        place = rng.random(2) if augmentation else np.array([0.5, 0.5])
        color, boxes = placed(np.ascontiguousarray(color), boxes, self._info, zoom, place)
        if augmentation:
            color = _look(color, rng, augmentation)
        inside = np.clip(boxes, 0, np.array([self._info.width, self._info.height] * 2)).astype(np.float64)
        kept = (inside[:, 2:] - inside[:, :2]).prod(1) > _LEAST_AREA_PX2
        return color, inside[kept], picture.ignored[kept]


def placed(
    color: NDArray[np.uint8], boxes: NDArray[np.floating], info: ModelInfo, zoom: float, place: NDArray[np.floating]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The picture in the model's input, `zoom` times as large as the runtime letterboxes it, padded or cut; its boxes.

    place (2,): where it sits in x and y between one edge (0) and the other (1).
    """
    height, width = color.shape[:2]
    scale = min(info.width / width, info.height / height) * zoom
    room = np.array([info.width - width * scale, info.height - height * scale])
    offset = np.round(room * place)
    # Pixel centres lie at half numbers, as in the runtime's resizing; warpAffine counts them from whole ones.
    shift = offset + scale / 2 - 0.5
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    drawn = cv2.warpAffine(
        color, matrix, (info.width, info.height), flags=cv2.INTER_LINEAR, borderValue=(info.pad_value,) * 3
    )
    return drawn.astype(np.uint8), boxes * scale + np.tile(offset, 2)


def quarter_turned(
    color: NDArray[np.uint8], boxes: NDArray[np.floating], turns: int
) -> tuple[NDArray[np.uint8], NDArray[np.floating]]:
    """Picture and boxes (P, 4) turned by `turns` (1 or −1) quarters, counter-clockwise for 1."""
    height, width = color.shape[:2]
    left, top, right, bottom = boxes.T
    sides = (top, width - right, bottom, width - left) if turns == 1 else (height - bottom, left, height - top, right)
    return np.rot90(color, turns), np.stack(sides, 1)


def _mirrored(boxes: NDArray[np.floating], width: int) -> NDArray[np.floating]:
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)


def _look(color: NDArray[np.uint8], rng: np.random.Generator, augmentation: DetectionAugmentation) -> NDArray[np.uint8]:
    contrast = 1 + rng.uniform(-augmentation.contrast, augmentation.contrast)
    brightness = rng.uniform(-augmentation.brightness, augmentation.brightness)
    gain = 1 + rng.uniform(-augmentation.colour, augmentation.colour, 3)
    levels = np.arange(256, dtype=np.float64)[:, None]
    table = np.clip(((levels - 128) * contrast + 128 + brightness) * gain, 0, 255).astype(np.uint8)
    return cv2.LUT(color, table.reshape(256, 1, 3)).astype(np.uint8)
