"""Reading a COCO annotation file: people, boxes, keypoints, and the pictures they belong to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError

Attributes = Mapping[str, str | int | float | bool]
# What the fields of a picture and of its people say already.
_PICTURE_FIELDS = frozenset({"id", "file_name", "width", "height"})
_PERSON_FIELDS = frozenset({"id", "image_id", "category_id", "area", "iscrowd", "num_keypoints"})


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture and its people: row k of every array, and `attributes[k]`, belong to the annotation `ids[k]`.

    id: the image's in the file. ids: (P,) int64, the annotations'; one of a kind in the whole file, so that what a
    model shows on a person is compared by it. boxes: (P, 4) float64 xyxy pixels. keypoints: (P, 17, 3) float64 x, y,
    visibility, all zero where unlabelled. areas: (P,) outlined area in pixels², as keypoint figures want it; ignored:
    (P,) bool, COCO's crowd regions. attributes: what else the file says of each person in a word or a number (posture,
    age, …); about: the same of the picture (split, …).
    """

    id: int
    path: Path
    width: int
    height: int
    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    keypoints: NDArray[np.float64]
    areas: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    attributes: tuple[Attributes, ...]
    about: Attributes

    def __post_init__(self) -> None:
        people = {len(rows) for rows in (self.boxes, self.keypoints, self.areas, self.ignored, self.attributes)}
        if people != {len(self.ids)}:
            raise ValueError(f"picture {self.id}: {len(self.ids)} annotations, but rows for {sorted(people)} people")

    @property
    def postures(self) -> tuple[str, ...]:
        """(P,) how each person lies, sits or stands, where the file knows it, else empty words."""
        return tuple(str(said.get("posture") or "") for said in self.attributes)


def read_people(annotations: Path, images_dir: Path | None = None) -> list[Picture]:
    """The pictures of a COCO file with their people, in the file's order.

    images_dir: where the pictures lie. Without it `file_name` is taken as relative to the file's folder, then to
    `images/` there. WardposeError for a file that is no COCO JSON, whose images or annotations have no id of their own,
    a box that is not four finite numbers, or a picture that is not there.
    """
    where = str(annotations)
    content = _read(annotations)
    folders = [images_dir, images_dir.parent] if images_dir else [annotations.parent / "images", annotations.parent]
    people = {c["id"] for c in content["categories"] if c.get("name") == "person"}
    if not people:
        raise WardposeError("the COCO file has no category `person`", where=where, mend="check which file this is")
    for kind in ("images", "annotations"):
        _check_ids(content[kind], kind, where)
    by_image: dict[int, list[dict[str, Any]]] = {}
    for annotation in content["annotations"]:
        if annotation.get("category_id") in people:
            by_image.setdefault(annotation.get("image_id"), []).append(annotation)
    pictures, missing = [], []
    for image in content["images"]:
        try:
            path = _locate(str(image["file_name"]), folders)
            size = int(image["width"]), int(image["height"])
            found = by_image.get(image["id"], [])
            boxes = np.array([a["bbox"] for a in found], np.float64).reshape(len(found), 4)
            areas = np.array([_area(a) for a in found], np.float64)
            keypoints = np.array([_keypoints(a) for a in found], np.float64).reshape(len(found), 17, 3)
        except (KeyError, TypeError, ValueError) as error:
            raise WardposeError(
                f"image {image.get('id') if isinstance(image, dict) else image!r} or its people do not hold ({error})",
                where=where,
                mend="write the file again",
            ) from None
        if not (np.isfinite(boxes).all() and np.isfinite(keypoints).all()):
            raise WardposeError(
                f"a box or keypoint of image {image['id']} is not finite", where=where, mend="write the file again"
            )
        if path is None:
            missing.append(image["file_name"])
            continue
        boxes[:, 2:] = boxes[:, :2] + np.maximum(boxes[:, 2:], 0)
        ignored = np.array([bool(a.get("iscrowd", 0)) for a in found], bool)
        ids = np.array([a["id"] for a in found], np.int64)
        pictures.append(
            Picture(
                image["id"], path, *size, ids, boxes, keypoints, areas, ignored,
                tuple(_attributes(a, _PERSON_FIELDS) for a in found), _attributes(image, _PICTURE_FIELDS),
            )
        )  # fmt: skip
    if missing:
        raise WardposeError(
            f"{len(missing)} of {len(content['images'])} pictures are missing, first {missing[0]!r}",
            where=str(images_dir or annotations.parent),
            mend="copy the pictures beside the annotations, or give their folder",
        )
    return pictures


def scenes_of(pictures: Sequence[Picture]) -> dict[int, Hashable]:
    """The scene each person was seen in, by annotation id: pictures of one scene show the same people in the same
    poses. Where the file does not say, every picture is a scene of its own."""
    return {
        person: picture.about.get("scene", f"picture {picture.id}")
        for picture in pictures
        for person in picture.ids.tolist()
    }


def _locate(file_name: str, folders: list[Path]) -> Path | None:
    relative = Path(file_name)
    if relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"file_name {file_name!r} leads out of the folder")
    return next((folder / relative for folder in folders if (folder / relative).is_file()), None)


def _check_ids(rows: list[Any], kind: str, where: str) -> None:
    """Raise WardposeError unless each has a whole number of its own: by it a person is known from file to figures."""
    found = [row.get("id") if isinstance(row, dict) else None for row in rows]
    if odd := [i for i in found if type(i) is not int]:
        raise WardposeError(
            f"{kind} want a whole number as id, got {odd[0]!r}", where=where, mend="write the file again"
        )
    if twice := [i for i, times in Counter(found).items() if times > 1]:
        raise WardposeError(
            f"{len(twice)} ids of {kind} are there more than once, first {twice[0]}", where=where,
            mend="number them afresh",
        )  # fmt: skip


def _attributes(said: Mapping[str, Any], known: frozenset[str]) -> Attributes:
    return {name: value for name, value in said.items() if name not in known and isinstance(value, str | int | float)}


def _area(annotation: dict[str, Any]) -> float:
    if annotation.get("area"):
        return float(annotation["area"])
    # Where no outline is known: a person fills about half of their box.
    return 0.53 * annotation["bbox"][2] * annotation["bbox"][3]


def _keypoints(annotation: dict[str, Any]) -> NDArray[np.float64]:
    values = annotation.get("keypoints") or [0.0] * 51
    return np.array(values, np.float64).reshape(17, 3)


def _read(annotations: Path) -> dict[str, Any]:
    where = str(annotations)
    try:
        content = json.loads(annotations.read_bytes())
    except (FileNotFoundError, IsADirectoryError):
        raise WardposeError("no such COCO file", where=where, mend="check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WardposeError(f"not JSON ({error})", where=where, mend="write the file again") from None
    if not isinstance(content, dict) or not all(
        isinstance(content.get(k), list) for k in ("images", "annotations", "categories")
    ):
        raise WardposeError(
            "not a COCO file (images, annotations and categories are wanted)", where=where, mend="check the file"
        )
    if not content["images"]:
        raise WardposeError("the COCO file lists no pictures", where=where, mend="make the data set again")
    return content
