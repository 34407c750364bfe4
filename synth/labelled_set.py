"""Reading a data set to look at it: the pictures of a COCO file, their annotations as they are written, the pixels."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.capture.photograph import read_photograph
from synth.coco_file import ImageRow, PersonRow, read_coco

_NUMBERS = frozenset({"age", "bmi", "blanket_coverage"})


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
        return read_photograph(self.path(image))

    def path(self, image: dict[str, Any]) -> Path:
        """COCO's file names are relative to the folder of pictures; some sets write them relative to the JSON file."""
        inside = self.folder / "images" / image["file_name"]
        return inside if inside.is_file() else self.folder / image["file_name"]


def read_labelled_set(place: Path) -> LabelledSet:
    """The set in the folder `place` (annotations.json, images/), or of the COCO file `place`.

    Raises WardposeError where the file is missing or no COCO file, and where a picture it names is missing.
    """
    path = place if place.suffix == ".json" else place / "annotations.json"
    if not path.is_file():
        raise WardposeError(f"holds no {path.name}", where=str(path.parent), mend="finish the data set with --resume")
    rows = read_coco(path).pictures
    images = tuple(_entry(image) for image, _ in rows)
    by_image = {
        image.number: shown
        for image, people in rows
        if (shown := [_annotation(image, person) for person in people if not person.ignored])
    }
    found = LabelledSet(path.parent.absolute().name, path.parent, images, by_image)
    missing = [image["file_name"] for image in images if not found.path(image).is_file()]
    if missing:
        raise WardposeError(
            f"{len(missing)} of {len(images)} pictures are missing, the first is {missing[0]}", where=str(path),
            mend="put them back, or go on with --resume",
        )  # fmt: skip
    return found


def _entry(image: ImageRow) -> dict[str, Any]:
    """What is shown of a picture: what the file says in COCO's way, and of ours where its camera stood."""
    shown: dict[str, Any] = dict(image.about) | {
        "id": image.number, "file_name": image.file_name, "width": image.width, "height": image.height,
    }  # fmt: skip
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        pose = np.array(image.said.get("camera_from_bed"), dtype=np.float64)
        if pose.shape == (4, 4) and np.isfinite(pose).all():
            shown["camera_from_bed"] = pose
    return shown


def _annotation(image: ImageRow, person: PersonRow) -> dict[str, Any]:
    """What is shown of a person: what the file says in COCO's way, and of ours what is of the kind we write."""
    shown = dict(person.attributes) | {"image_id": image.number, "bbox": list(person.box)}
    for name in _NUMBERS & shown.keys():
        if isinstance(shown[name], str):
            del shown[name]
    if person.keypoints is not None:
        shown["keypoints"] = list(person.keypoints)
    whole, outline = person.said.get("full_bbox"), person.said.get("segmentation")
    if isinstance(whole, list) and len(whole) == 4 and all(isinstance(each, int | float) for each in whole):
        shown["full_bbox"] = whole
    if isinstance(outline, dict) and _is_outline(outline.get("counts"), image):
        shown["segmentation"] = {"counts": outline["counts"], "size": [image.height, image.width]}
    return shown


def _is_outline(counts: Any, image: ImageRow) -> bool:
    """Whether they are COCO's run lengths of a mask of the picture."""
    if not isinstance(counts, list) or not all(type(each) is int and each >= 0 for each in counts):
        return False
    return sum(counts) == image.width * image.height
