"""A COCO annotation file, row by row: what a row says in any of the ways people write it, or which field is wrong.

A value that can mean only one thing is taken (`"12"` for 12, names as ids); what can't be told is a
fault that names the list, the row (from 1) and the field. Nothing is dropped without a word.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError
from calibration.foreign_file import foreign_bytes
from calibration.json_text import parse_json
from runtime.person_class import listed, person_classes
from runtime.skeleton import KEYPOINTS
from synth.coco_values import Id, area_of, box_of, identity, keypoints_of, shown, side, truth

Attributes = Mapping[str, str | int | float | bool]
LISTS = ("images", "annotations", "categories")
# What the fields of a picture and of its people say already.
_PICTURE_FIELDS = frozenset({"id", "file_name", "width", "height"})
_PERSON_FIELDS = frozenset({"id", "image_id", "category_id", "area", "iscrowd", "num_keypoints"})
_FARTHEST = 10  # times the picture's side: nobody's full extent reaches that far
_ROUNDING_PX = 1.0  # by which a box may leave its picture


class Fault(ValueError):
    """One wrong field. list: images, annotations or categories; row: from 1."""

    def __init__(self, list: str, row: int, field: str, what: str) -> None:
        self.list, self.row, self.field, self.what = list, row, field, what
        super().__init__(f"{list} row {row}, {field}: {what}")


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One picture; `number` is its own whole number: the id where the file's ids are numbers, else its row. said: the
    entry as it is written.
    """

    row: int
    number: int
    file_name: str
    width: int
    height: int
    about: Attributes
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PersonRow:
    """One person. box: x, y, width, height (px). keypoints: 51 numbers, None where it has no seventeen. area: px².
    said: the annotation as it is written.
    """

    row: int
    number: int
    box: tuple[float, float, float, float]
    keypoints: tuple[float, ...] | None
    area: float
    ignored: bool
    attributes: Attributes
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CocoFile:
    """The pictures in the file's order, each with its people."""

    pictures: tuple[tuple[ImageRow, tuple[PersonRow, ...]], ...]


def read_coco(path: Path, *, keypoints: bool = False) -> CocoFile:
    """The people of a COCO file. keypoints: whether they are wanted; then a person has COCO's seventeen or none.

    Raises WardposeError for a file that is no COCO JSON, knows no person, or has a row that does not hold: the first
    one, and how many there are.
    """
    where = str(path)
    found, faults = examine_coco(path, keypoints=keypoints)
    if faults:
        rows = len({(fault.list, fault.row) for fault in faults})
        more = f" ({rows} rows are wrong)" if rows > 1 else ""
        raise WardposeError(f"{faults[0]}{more}", where=where, mend="mend the file, or write it again")
    if not found.pictures:
        raise WardposeError("the COCO file lists no pictures", where=where, mend="make the data set again")
    return found


def examine_coco(path: Path, *, keypoints: bool = False) -> tuple[CocoFile, list[Fault]]:
    """What `read_coco` reads, of the rows that hold, and every fault of the others, in the file's order of lists.

    Raises WardposeError for a file that is no COCO JSON or knows no person.
    """
    where = str(path)
    content = _json(path)
    faults: list[Fault] = []
    categories = _rows(content, "categories", faults)
    people = _people(categories, faults, keypoints=keypoints)
    listed_images = _images(_rows(content, "images", faults), faults)
    found = _annotations(_rows(content, "annotations", faults), listed_images, people, faults, keypoints=keypoints)
    images = {key: image for key, image in listed_images.items() if image is not None}
    if not faults:
        faults += _misread(images, found)
    if not people and not faults:
        names = {row: str(each.get("name")) for row, each in categories}
        raise WardposeError(
            f"the COCO file has no category `person`, only {listed(names)}", where=where,
            mend="check which file this is, or name that category person",
        )  # fmt: skip
    return CocoFile(tuple((image, tuple(found.get(image.number, ()))) for image in images.values())), faults


def _json(path: Path) -> dict[str, Any]:
    where = str(path)
    try:
        content = parse_json(foreign_bytes(path))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise WardposeError("no such COCO file", where=where, mend="check the path") from None
    except OSError as error:
        raise WardposeError(f"cannot be read: {(error.strerror or str(error)).lower()}", where=where) from None
    except ValueError as error:
        raise WardposeError(f"not JSON ({error})", where=where, mend="write the file again") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in LISTS):
        raise WardposeError(
            "not a COCO file (lists of images, annotations and categories are wanted)", where=where,
            mend="check which file this is",
        )  # fmt: skip
    return content


def _rows(content: Mapping[str, Any], name: str, faults: list[Fault]) -> list[tuple[int, dict[str, Any]]]:
    rows = list(enumerate(content[name], start=1))
    faults += [Fault(name, row, "the row", f"is {json.dumps(each)[:60]}, no object") for row, each in rows
               if not isinstance(each, dict)]  # fmt: skip
    return [(row, each) for row, each in rows if isinstance(each, dict)]


def _people(rows: Sequence[tuple[int, dict[str, Any]]], faults: list[Fault], *, keypoints: bool) -> dict[Id, bool]:
    """Every category's id, and whether it is the person."""
    ids: dict[Id, int] = {}
    names: dict[Id, str] = {}
    points: dict[Id, Any] = {}
    for row, each in rows:
        try:
            key, name = identity(each.get("id")), each.get("name")
            if key in ids:
                raise ValueError(("id", f"{shown(each['id'])} is that of row {ids[key]} too"))
            if not isinstance(name, str):
                raise ValueError(("name", f"is {shown(name)}, no text"))
        except ValueError as error:
            faults.append(_fault("categories", row, "id", error))
            continue
        ids[key], names[key], points[key] = row, name, each.get("keypoints")
    people = person_classes(names)
    for key in people:
        order = points[key]
        if keypoints and isinstance(order, list) and order and _plain(order) != list(KEYPOINTS):
            odd = next((a for a, b in zip(_plain(order), KEYPOINTS, strict=False) if a != b), f"{len(order)} of them")
            faults.append(
                Fault("categories", ids[key], "keypoints", f"are not COCO's seventeen in their order ({odd})")
            )
    return {} if not people else {key: key in people for key in ids}


def _plain(names: list[Any]) -> list[str]:
    return [str(name).strip().casefold().replace(" ", "_").replace("-", "_") for name in names]


def _images(rows: Sequence[tuple[int, dict[str, Any]]], faults: list[Fault]) -> dict[Id, ImageRow | None]:
    """The pictures by their ids as they are written; None for one whose row does not hold."""
    keys = _keys(rows, "images", faults)
    found: dict[Id, ImageRow | None] = {}
    files: dict[str, int] = {}
    for (row, each), key in zip(rows, keys, strict=True):
        try:
            name: Any = each.get("file_name")
            if not _is_file_name(name):
                raise ValueError(("file_name", f"is {shown(name)}, no file's name"))
            if name in files:
                raise ValueError(("file_name", f"{name!r} is listed twice, in row {files[name]} too"))
            files[name] = row
            width, height = (side(each.get(field), field) for field in ("width", "height"))
        except ValueError as error:
            faults.append(_fault("images", row, "file_name", error))
            if key is not None:
                found.setdefault(key, None)
            continue
        if key is not None:
            number = key if isinstance(key, int) else row
            found[key] = ImageRow(row, number, name, width, height, _attributes(each, _PICTURE_FIELDS), each)
    if any(isinstance(key, str) for key in found):  # names: every picture is known by its row
        found = {key: image and _numbered(image) for key, image in found.items()}
    return found


def _is_file_name(name: Any) -> bool:
    """Whether a file of this name can be: half a surrogate pair, a NUL and more than 255 bytes a part cannot."""
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        return False
    parts = name.encode(errors="replace").split(b"/")
    return name.encode(errors="ignore") == b"/".join(parts) and max(map(len, parts)) <= 255 and len(name) < 2000


def _numbered(image: ImageRow) -> ImageRow:
    return replace(image, number=image.row)


def _annotations(
    rows: Sequence[tuple[int, dict[str, Any]]], images: Mapping[Id, ImageRow | None], people: Mapping[Id, bool],
    faults: list[Fault], *, keypoints: bool,
) -> dict[int, list[PersonRow]]:  # fmt: skip
    """The people by their pictures' numbers."""
    if not people:
        return {}
    keys = _keys(rows, "annotations", faults)
    named = any(isinstance(key, str) for key in keys)
    found: dict[int, list[PersonRow]] = {}
    for (row, each), key in zip(rows, keys, strict=True):
        try:
            category = _field(each, "category_id", identity)
            if category not in people:
                raise ValueError(("category_id", f"{shown(each['category_id'])} is no category of the file"))
            if not people[category]:
                continue
            image = _field(each, "image_id", identity)
            if image not in images:
                raise ValueError(("image_id", f"{shown(each['image_id'])} is no picture of the file"))
            wrong = _wrong(each, keypoints=keypoints)
            faults += [_fault("annotations", row, "bbox", error) for error in wrong]
            picture = images[image]
            if wrong or picture is None:
                continue
            person = _person(row, row if named or not isinstance(key, int) else key, each, keypoints=keypoints)
            _inside(person, picture)
        except ValueError as error:
            faults.append(_fault("annotations", row, "bbox", error))
            continue
        found.setdefault(picture.number, []).append(person)
    return found


def _keys(rows: Sequence[tuple[int, dict[str, Any]]], name: str, faults: list[Fault]) -> list[Id | None]:
    """Each row's id, None where it is a fault; by it a person is known from file to figures."""
    found: list[Id | None] = []
    for row, each in rows:
        try:
            found.append(_field(each, "id", identity))
        except ValueError as error:
            faults.append(_fault(name, row, "id", error))
            found.append(None)
    first: dict[Id, int] = {}
    for (row, _), key in zip(rows, found, strict=True):
        if key is not None and first.setdefault(key, row) != row:
            faults.append(Fault(name, row, "id", f"{key!r} is that of row {first[key]} too"))
    return found


def _wrong(each: Mapping[str, Any], *, keypoints: bool) -> list[ValueError]:
    """What is wrong with each field of a person's row by itself."""
    wrong: list[ValueError] = []
    fields: tuple[tuple[str, Callable[[Any], Any]], ...] = (("bbox", box_of), ("iscrowd", truth), ("area", area_of))
    for field, read in fields:
        try:
            _field(each, field, read)
        except ValueError as error:
            wrong.append(error)
    try:
        keypoints_of(each.get("keypoints"), wanted=keypoints)
    except ValueError as error:
        wrong.append(error)
    return wrong


def _person(row: int, number: int, each: Mapping[str, Any], *, keypoints: bool) -> PersonRow:
    _, _, width, height = box = box_of(each.get("bbox"))
    ignored = _field(each, "iscrowd", truth)
    if not ignored and not (width and height):
        raise ValueError(("bbox", f"{list(box)} is empty"))
    # Where no outline is known: a person fills about half of their box.
    area = _field(each, "area", area_of) or 0.53 * width * height
    points = keypoints_of(each.get("keypoints"), wanted=keypoints)
    return PersonRow(row, number, box, points, area, ignored, _attributes(each, _PERSON_FIELDS), each)


def _inside(person: PersonRow, image: ImageRow) -> None:
    x, y, width, height = person.box
    if width > _FARTHEST * image.width or height > _FARTHEST * image.height:
        raise ValueError(("bbox", f"{list(person.box)} is {_FARTHEST} times as large as the picture"))
    if not person.ignored and person.area > 2 * width * height + 16:
        raise ValueError(("area", f"is {person.area:g}, more than its box has"))
    if not person.ignored and (x >= image.width or y >= image.height or x + width <= 0 or y + height <= 0):
        raise ValueError(("bbox", f"{list(person.box)} lies outside the picture of {image.width}×{image.height}"))


def _misread(images: Mapping[Id, ImageRow], people: Mapping[int, Sequence[PersonRow]]) -> list[Fault]:
    """Boxes that hold as numbers, and are plainly not x, y, width, height in pixels."""
    rows = [(person, image) for image in images.values() for person in people.get(image.number, ())]
    if not rows:
        return []
    first = rows[0][0].row
    if all(max(person.box) <= 1 for person, _ in rows):
        return [Fault("annotations", first, "bbox", "is in parts of the picture, as every box is; pixels are wanted")]
    corners = all(
        w > x and h > y and w <= image.width + _ROUNDING_PX and h <= image.height + _ROUNDING_PX
        for (x, y, w, h), image in ((person.box, image) for person, image in rows)
    )
    leaving = [
        person for person, image in rows
        if person.box[0] + person.box[2] > image.width + _ROUNDING_PX
        or person.box[1] + person.box[3] > image.height + _ROUNDING_PX
    ]  # fmt: skip
    if corners and leaving:
        return [Fault("annotations", leaving[0].row, "bbox",
                      "leaves its picture: the boxes are two corners; x, y, width and height are wanted")]  # fmt: skip
    return []


def _field(each: Mapping[str, Any], field: str, read: Callable[[Any], Any]) -> Any:
    try:
        return read(each.get(field))
    except ValueError as error:
        if isinstance(error.args[0], tuple):
            raise
        raise ValueError((field, str(error))) from None


def _fault(name: str, row: int, field: str, error: ValueError) -> Fault:
    said = error.args[0]
    field, what = said if isinstance(said, tuple) else (field, str(said))
    return Fault(name, row, field, what)


def _attributes(said: Mapping[str, Any], known: frozenset[str]) -> Attributes:
    return {name: value for name, value in said.items() if name not in known and isinstance(value, str | int | float)}
