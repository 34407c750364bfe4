"""Reading a data set to look at it: the pictures of a COCO file, their annotations as they are written, the pixels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """name: for headings. images: COCO's entries. by_image: the annotations of each image id that has some."""

    name: str
    folder: Path
    images: tuple[dict[str, Any], ...]
    by_image: dict[int, list[dict[str, Any]]]

    @property
    def people(self) -> list[dict[str, Any]]:
        """Every annotation."""
        return [annotation for group in self.by_image.values() for annotation in group]

    def spread(self, count: int) -> list[dict[str, Any]]:
        """Up to `count` images, evenly over the set."""
        last = len(self.images) - 1
        picked = np.unique(np.linspace(0, last, min(count, len(self.images))).round().astype(int))
        return [self.images[i] for i in picked]

    def picture(self, image: dict[str, Any]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; WardposeError where the file is no picture."""
        path = self.path(image)
        color = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        if color is None:
            raise WardposeError("is no picture", where=str(path), mend="make it again with --resume")
        return np.asarray(cv2.cvtColor(color, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def path(self, image: dict[str, Any]) -> Path:
        """COCO's file names are relative to the folder of pictures; some sets write them relative to the JSON file."""
        inside = self.folder / "images" / image["file_name"]
        return inside if inside.is_file() else self.folder / image["file_name"]


def read_labelled_set(place: Path) -> LabelledSet:
    """The set in the folder `place` (annotations.json, images/), or of the COCO file `place`.

    Raises WardposeError where the file is missing or no COCO file, and where a picture it names is missing.
    """
    path = place if place.suffix == ".json" else place / "annotations.json"
    try:
        content = json.loads(path.read_bytes())
        images = tuple(content["images"])
        by_image: dict[int, list[dict[str, Any]]] = {}
        for annotation in content["annotations"]:
            if not annotation.get("iscrowd"):
                by_image.setdefault(annotation["image_id"], []).append(annotation)
        for image in images:
            Path(image["file_name"]), int(image["width"]), int(image["height"])
    except (FileNotFoundError, NotADirectoryError):
        raise WardposeError(
            f"holds no {path.name}", where=str(path.parent), mend="finish the data set with --resume"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise WardposeError(f"is no COCO file: {error}", where=str(path), mend="make the data set again") from None
    if not images:
        raise WardposeError("names no pictures", where=str(path), mend="make the data set again")
    found = LabelledSet(path.parent.absolute().name, path.parent, images, by_image)
    missing = [image["file_name"] for image in images if not found.path(image).is_file()]
    if missing:
        raise WardposeError(
            f"{len(missing)} of {len(images)} pictures are missing, the first is {missing[0]}", where=str(path),
            mend="put them back, or go on with --resume",
        )  # fmt: skip
    return found
