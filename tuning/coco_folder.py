"""Reading a COCO annotation file: people, boxes, keypoints, and the pictures they belong to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture and its people.

    boxes: (P, 4) float64 xyxy pixels. keypoints: (P, 17, 3) float64 x, y, visibility, all zero where unlabelled.
    areas: (P,) outlined area in pixels²,
    as keypoint figures want it; ignored: (P,) bool, COCO's crowd regions. postures: (P,) how each person lies, sits or
    stands, where the file knows it, else empty words.
    """

    id: int
    path: Path
    width: int
    height: int
    boxes: NDArray[np.float64]
    keypoints: NDArray[np.float64]
    areas: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    postures: tuple[str, ...] = ()


def read_people(annotations: Path, images_dir: Path | None = None) -> list[Picture]:
    """The pictures of a COCO file with their people, in the file's order.

    images_dir: where the pictures lie. Without it `file_name` is taken as relative to the file's folder, then to
    `images/` there. WardposeError for a file that is no COCO
    JSON, a box that is not four finite numbers, or a picture that is not there.
    """
    where = str(annotations)
    content = _read(annotations)
    folders = [images_dir, images_dir.parent] if images_dir else [annotations.parent / "images", annotations.parent]
    people = {c["id"] for c in content["categories"] if c.get("name") == "person"}
    if not people:
        raise WardposeError("the COCO file has no category `person`", where=where, mend="check which file this is")
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
        postures = tuple(str(a.get("posture") or "") for a in found)
        pictures.append(Picture(int(image["id"]), path, *size, boxes, keypoints, areas, ignored, postures))
    if missing:
        raise WardposeError(
            f"{len(missing)} of {len(content['images'])} pictures are missing, first {missing[0]!r}",
            where=str(images_dir or annotations.parent),
            mend="copy the pictures beside the annotations, or give their folder",
        )
    return pictures


def _locate(file_name: str, folders: list[Path]) -> Path | None:
    relative = Path(file_name)
    if relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"file_name {file_name!r} leads out of the folder")
    return next((folder / relative for folder in folders if (folder / relative).is_file()), None)


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
