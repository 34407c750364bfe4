"""A COCO folder whose people are turned: the paper's set A, conventional augmentation as a data set of its own.

People on photographs stand; from beside a bed they lie. So its first scenario's baseline is COCO's people turned by a
random 70…110° to either side. Picture i depends on (seed, i) alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from calibration.atomic import whole_folder, write_bytes
from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.capture.photograph import read_photograph
from runtime.skeleton import KEYPOINTS
from tuning.coco_folder import Picture, read_people

_QUALITY = 95
_LEAST_SIDE_PX = 1.0


class TurnSettings(BaseModel):
    """By how much pictures are turned, to either side, and which of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_deg: float = Field(default=70.0, title="Smallest turn (degrees)", ge=0, le=180)
    most_deg: float = Field(default=110.0, title="Largest turn (degrees)", ge=0, le=180)
    count: int | None = Field(default=None, title="Pictures, drawn from those with people (default: each once)", ge=1)
    seed: int = Field(default=0, title="Seed", ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> TurnSettings:
        if self.least_deg > self.most_deg:
            raise ValueError("the smallest turn is larger than the largest")
        return self


def turn_data(
    annotations: Path, images_dir: Path | None, out: Path, settings: TurnSettings, progress: Progress | None = None
) -> int:
    """Write the COCO folder `out` (annotations.json, images/) of turned pictures; returns how many they are.

    A picture grows so that nothing of it is cut off. A person's box holds the turned joints where they are labelled,
    and the ellipse in the turned box: its corners would say too much. Crowds stay crowds. Raises WardposeError where
    nobody is shown, or `out` is there already; an unfinished one leaves nothing behind.
    """
    pictures = [picture for picture in read_people(annotations, images_dir) if (~picture.ignored).any()]
    if not pictures:
        raise WardposeError("the data set shows nobody", where=str(annotations), mend="give one with people in it")
    if out.exists():
        raise WardposeError("something is here already", where=str(out), mend="choose another folder")
    count = settings.count or len(pictures)
    rows: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    with whole_folder(out) as workplace:
        (workplace / "images").mkdir()
        for number in range(count):
            rng = np.random.default_rng((settings.seed, number))
            picture = pictures[number if settings.count is None else int(rng.integers(len(pictures)))]
            degrees = float(rng.uniform(settings.least_deg, settings.most_deg) * rng.choice([-1.0, 1.0]))
            color, people = _turned(picture, degrees)
            name = f"{number:06d}.jpg"
            encoded = cv2.imencode(".jpg", color[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
            write_bytes(workplace / "images" / name, encoded.tobytes())
            height, width = color.shape[:2]
            about = {"source": picture.path.name, "turned_deg": round(degrees, 3), "scene": f"picture {picture.id}"}
            images.append({"id": number + 1, "file_name": name, "width": width, "height": height, **about})
            rows += [row | {"id": len(rows) + place + 1, "image_id": number + 1} for place, row in enumerate(people)]
            if progress:
                progress(number + 1, count, f"{degrees:+.0f}°")
        made = {
            "description": "people turned as in the paper's set A", "settings": settings.model_dump(mode="json"),
            "source": annotations.parent.name,
        }  # fmt: skip
        category = {"id": 1, "name": "person", "keypoints": list(KEYPOINTS), "skeleton": []}
        content = {"info": made, "images": images, "annotations": rows, "categories": [category]}
        write_bytes(workplace / "annotations.json", json.dumps(content).encode())
    return count


def _turned(picture: Picture, degrees: float) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    """The picture (H, W, 3) uint8 RGB turned clockwise, and its people's rows."""
    matrix, (width, height) = turn_matrix(picture.width, picture.height, degrees)
    color = cv2.warpAffine(
        read_photograph(picture.path), matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(114, 114, 114)
    ).astype(np.uint8)
    people = []
    for place, box in enumerate(picture.boxes):
        keypoints = picture.keypoints[place].copy()
        labelled = keypoints[:, 2] > 0
        keypoints[labelled, :2] = keypoints[labelled, :2] @ matrix[:, :2].T + matrix[:, 2]
        # Pixel centres lie at whole numbers; edges of boxes half a pixel before them.
        corners = turned_box(box - 0.5, matrix, keypoints[labelled, :2]) + 0.5
        corners = np.clip(corners, 0, [width, height, width, height])
        size = corners[2:] - corners[:2]
        if size.min() < _LEAST_SIDE_PX:
            continue
        row = {"category_id": 1, "bbox": [*corners[:2].tolist(), *size.tolist()], "area": float(picture.areas[place]),
               "iscrowd": int(picture.ignored[place])}  # fmt: skip
        if labelled.any():
            row |= {"keypoints": keypoints.ravel().tolist(), "num_keypoints": int(labelled.sum())}
        people.append(row)
    return color, people


def turn_matrix(width: int, height: int, degrees: float) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """The (2, 3) map that turns a picture clockwise about its centre into one that holds all of it, and that one's
    width and height."""
    angle = np.deg2rad(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    size = np.ceil(np.abs(turn) @ [width, height] - 1e-6).astype(int)
    centre, middle = np.array([width - 1, height - 1]) / 2, (size - 1) / 2
    return np.column_stack([turn, middle - turn @ centre]), (int(size[0]), int(size[1]))


def turned_box(
    box: NDArray[np.floating], matrix: NDArray[np.float64], joints: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(4,) xyxy about the turned ellipse in a box (4,), widened to the turned joints (K, 2)."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    middle = matrix[:, :2] @ centre + matrix[:, 2]
    reach = np.hypot(matrix[:, 0] * half[0], matrix[:, 1] * half[1])
    first, last = middle - reach, middle + reach
    if len(joints):
        first, last = np.minimum(first, joints.min(0)), np.maximum(last, joints.max(0))
    return np.concatenate([first, last])
