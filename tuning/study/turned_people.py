"""The paper's set A: people of photographs, turned as if they lay. What is usually done instead of synthesis.

A turned box is the one around the ellipse that fills the upright box (Kalra et al. 2021): around its turned corners it
would be a good deal larger than the person.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.atomic import write_bytes
from calibration.progress import Progress
from runtime.capture.photograph import read_photograph
from synth.labels import CATEGORY
from synth.sensor import encode_jpeg
from tuning.coco_folder import Picture

LEAST_DEG, MOST_DEG = 70.0, 110.0
_QUALITY = 92
_BEYOND = (114, 114, 114)  # the grey that a detector's pictures are padded with


@dataclass(frozen=True, slots=True)
class Turn:
    """A rotation that keeps the whole picture. matrix (2, 3): pixels of the upright picture to those of the turned;
    width, height: of the turned picture, pixels; degrees: counter-clockwise as seen."""

    matrix: NDArray[np.float64]
    width: int
    height: int
    degrees: float

    def points(self, xy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Turned positions of (..., 2) positions in pixels."""
        turned: NDArray[np.float64] = xy @ self.matrix[:, :2].T + self.matrix[:, 2]
        return turned

    def boxes(self, xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """(P, 4) xyxy around the turned ellipses that fill (P, 4) boxes."""
        half = (xyxy[:, 2:] - xyxy[:, :2]) / 2
        reach = np.sqrt((half**2) @ (self.matrix[:, :2] ** 2).T)
        centre = self.points((xyxy[:, :2] + xyxy[:, 2:]) / 2)
        return np.concatenate([centre - reach, centre + reach], 1)


def turn_by(degrees: float, width: int, height: int) -> Turn:
    """The turn of a picture of this size, counter-clockwise, about its centre."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    new_width, new_height = (round(abs(a * width) + abs(b * height)) for a, b in ((cos, sin), (sin, cos)))
    turn = np.array([[cos, sin], [-sin, cos]])
    shift = (np.array([new_width, new_height]) - 1) / 2 - turn @ ((np.array([width, height]) - 1) / 2)
    return Turn(np.column_stack([turn, shift]), new_width, new_height, degrees)


def write_people(
    pictures: Sequence[Picture], out: Path, count: int, *, turned: bool, seed: int = 0, progress: Progress | None = None
) -> tuple[int, int]:
    """Write a COCO folder of `count` pictures drawn from those given; the answer counts them and their people.

    turned: by a random angle of 70 to 110 degrees to either side; otherwise as they are, and then no picture twice.
    Picture i depends on the pictures given, `seed` and i alone; what a killed run has written is kept.
    """
    rng = np.random.default_rng(seed)
    shown = [picture for picture in pictures if not picture.ignored.all()]
    count = count if turned else min(count, len(shown))
    order = np.concatenate([rng.permutation(len(shown)) for _ in range(-(-count // len(shown)))])[:count]
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    for number, place in enumerate(order):
        if progress:
            progress(number, count, "pictures")
        picture, own = shown[place], np.random.default_rng((seed, number))
        angle = float(own.choice([-1.0, 1.0]) * own.uniform(LEAST_DEG, MOST_DEG)) if turned else 0.0
        turn = turn_by(angle, picture.width, picture.height)
        name = f"{number:06d}.jpg"
        if not (out / "images" / name).is_file():
            write_bytes(out / "images" / name, encode_jpeg(_turned(read_photograph(picture.path), turn), _QUALITY))
        images.append({"id": number + 1, "file_name": name, "width": turn.width, "height": turn.height})
        for row in _labels(picture, turn):
            people.append({"id": len(people) + 1, "image_id": number + 1, "category_id": CATEGORY["id"], **row})
    content = {"images": images, "annotations": people, "categories": [CATEGORY]}
    write_bytes(out / "annotations.json", json.dumps(content).encode() + b"\n")
    return len(images), len(people)


def _turned(color: NDArray[np.uint8], turn: Turn) -> NDArray[np.uint8]:
    import cv2

    if not turn.degrees:
        return color
    size = turn.width, turn.height
    return np.asarray(
        cv2.warpAffine(color, turn.matrix, size, flags=cv2.INTER_LINEAR, borderValue=_BEYOND), dtype=np.uint8
    )


def _labels(picture: Picture, turn: Turn) -> list[dict[str, Any]]:
    """The people of a picture as they are once it is turned."""
    boxes = turn.boxes(picture.boxes) if turn.degrees else picture.boxes
    boxes = np.clip(boxes, 0, np.tile([turn.width, turn.height], 2))
    keypoints = picture.keypoints.copy()
    labelled = keypoints[..., 2] > 0
    keypoints[..., :2] = np.where(labelled[..., None], turn.points(keypoints[..., :2]), 0.0)
    return [
        {
            "bbox": [round(float(v), 2) for v in (*box[:2], *(box[2:] - box[:2]))],
            "area": float(area),
            "iscrowd": int(ignored),
            "keypoints": joints.round(2).ravel().tolist(),
            "num_keypoints": int((joints[:, 2] > 0).sum()),
        }
        for box, area, ignored, joints in zip(boxes, picture.areas, picture.ignored, keypoints, strict=True)
        if (box[2:] - box[:2] >= 1).all()
    ]
