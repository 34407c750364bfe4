"""COCO files as people write them: right people, or the row and the field that is wrong; never nobody as a success."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from calibration.errors import WardposeError
from synth.labelled_set import read_labelled_set
from tests.fuzz import broken_bytes, damaged
from tuning.coco_folder import Picture, read_people

Coco = dict[str, Any]
SIZES = {11: (60, 40), 12: (60, 40), 15: (32, 48)}
PLAIN: Coco = {
    "images": [{"id": key, "file_name": f"{key}.png", "width": w, "height": h} for key, (w, h) in SIZES.items()],
    "annotations": [
        {"id": 3, "image_id": 11, "category_id": 1, "bbox": [5.5, 4, 20, 30], "area": 300, "iscrowd": 0},
        {"id": 4, "image_id": 11, "category_id": 1, "bbox": [30, 0, 10, 20], "area": 120, "iscrowd": 0},
        {"id": 7, "image_id": 12, "category_id": 1, "bbox": [0, 0, 60, 40], "area": 2000, "iscrowd": 1},
        {"id": 9, "image_id": 15, "category_id": 1, "bbox": [2, 2, 20, 40], "area": 500, "iscrowd": 0},
    ],
    "categories": [{"id": 1, "name": "person"}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures that the file speaks of."""
    made = tmp_path_factory.mktemp("coco")
    (made / "images").mkdir()
    for key, size in SIZES.items():
        Image.new("RGB", size, (90, 80, 70)).save(made / "images" / f"{key}.png")
    return made


def read(folder: Path, content: Any, **options: Any) -> list[Picture]:
    path = folder / "coco.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_people(path, **options)


def edited(change: Callable[[Coco], None]) -> Coco:
    content = copy.deepcopy(PLAIN)
    change(content)
    return content


def each(kind: str, field: str, value: Callable[[Any], Any]) -> Callable[[Coco], None]:
    def change(content: Coco) -> None:
        for row in content[kind]:
            row[field] = value(row[field])

    return change


def both(*changes: Callable[[Coco], None]) -> Callable[[Coco], None]:
    def change(content: Coco) -> None:
        for one in changes:
            one(content)

    return change


SAME_PEOPLE: dict[str, Callable[[Coco], None]] = {
    "annotations' image ids are text": each("annotations", "image_id", str),  # cocodataset/cocoapi#299
    "all ids are text with zeros before": both(
        each("images", "id", "{:012d}".format), each("annotations", "image_id", "{:012d}".format)
    ),
    "ids are names": both(  # MiXaiLL76/faster_coco_eval#58
        each("images", "id", "ward_{}".format), each("annotations", "image_id", "ward_{}".format)
    ),
    "ids are real numbers": both(each("images", "id", float), each("annotations", "image_id", float)),
    "annotation ids are names": each("annotations", "id", "a{}".format),
    "category ids are text": each("annotations", "category_id", str),
    "iscrowd is a truth value": each("annotations", "iscrowd", bool),
    "iscrowd is a real number": each("annotations", "iscrowd", float),
    "areas are null": each("annotations", "area", lambda _: None),
    "boxes are text": each("annotations", "bbox", lambda box: [str(value) for value in box]),
    "thirteen keypoints": lambda content: [row.update(keypoints=[1.0] * 39) for row in content["annotations"]] and None,
    "the category is called Person": each("categories", "name", str.title),
    "the category is called pedestrian": each("categories", "name", lambda _: "Pedestrian"),
    "a class of people above it": lambda content: content["categories"].insert(0, {"id": 0, "name": "people-xyz"}),
    "names of Windows": each("images", "file_name", "images\\{}".format),
}


@pytest.mark.parametrize("name", SAME_PEOPLE)
def test_the_same_people_in_another_spelling(folder: Path, name: str) -> None:
    """As in cocodataset/cocoapi#299, MiXaiLL76/faster_coco_eval#58."""
    expected, found = read(folder, PLAIN), read(folder, edited(SAME_PEOPLE[name]))
    assert [picture.path.name for picture in found] == [picture.path.name for picture in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.ignored, other.ignored)


def first(kind: str, **fields: Any) -> Callable[[Coco], None]:
    return lambda content: content[kind][0].update(fields)


REFUSED: dict[str, tuple[Callable[[Coco], None], str]] = {
    "every picture has the id 0": (
        both(each("images", "id", lambda _: 0), each("annotations", "image_id", lambda _: 0)),
        r"images row 2, id: 0 is that of row 1 too \(2 rows are wrong\)",
    ),
    "every picture is listed twice": (
        lambda content: content["images"].extend(copy.deepcopy(content["images"])),
        "images row 4, id: 11 is that of row 1 too",
    ),
    "a picture is listed twice with ids of its own": (
        lambda content: content["images"].append(content["images"][0] | {"id": 99}), "images row 4, file_name.* twice",
    ),
    "ids are lists": (each("images", "id", lambda key: [key]), r"images row 1, id: is \[11\]"),
    "an annotation is null": (lambda content: content["annotations"].append(None), "annotations row 5, .* is null"),
    "a category without id": (lambda content: content["categories"][0].pop("id"), "categories row 1, id: is missing"),
    "a person of no picture": (first("annotations", image_id=77), "annotations row 1, image_id: 77 is no picture"),
    "a person of no category": (first("annotations", category_id=5), "annotations row 1, category_id: 5 is no categ"),
    "no person": (first("categories", name="licence plate"), "no category `person`, only 'licence plate'"),
    "iscrowd is text": (each("annotations", "iscrowd", str), 'annotations row 1, iscrowd: is "0", neither 0 nor 1'),
    "iscrowd is two": (first("annotations", iscrowd=2), "annotations row 1, iscrowd: is 2"),
    "an empty box": (first("annotations", bbox=[10, 10, 0, 0], area=0), "annotations row 1, bbox: .* is empty"),
    "no box": (first("annotations", bbox=[]), r"annotations row 1, bbox: is \[\]"),
    "a box outside": (first("annotations", bbox=[-50, -50, 20, 20], area=9), "annotations row 1, bbox: .* outside"),
    "a box that is not finite": (first("annotations", bbox=[1, float("nan"), 2, 2]), "row 1, bbox: .* not finite"),
    "boxes are corners": (
        each("annotations", "bbox", lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]), "boxes are two corners",
    ),
    "boxes are parts of one": (
        both(each("annotations", "bbox", lambda b: [v / 64 for v in b]), each("annotations", "area", lambda _: 0)),
        "annotations row 1, bbox: is in parts of the picture",
    ),
    "another size": (first("images", width=120, height=80), "images row 1, width, height: .* is 60×40, .* says 120×80"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_told_is_named_with_its_row_and_field(folder: Path, name: str) -> None:
    change, says = REFUSED[name]
    with pytest.raises(WardposeError, match=says):
        read(folder, edited(change))


def test_a_file_of_captions_is_no_set_of_people(folder: Path) -> None:
    """As in google/automl#160: COCO's captions have images and annotations, and no categories."""
    captions = {"images": PLAIN["images"], "annotations": [{"id": 1, "image_id": 11, "caption": "a bed"}]}
    with pytest.raises(WardposeError, match="lists of images, annotations and categories are wanted"):
        read(folder, captions)
    with pytest.raises(WardposeError, match="annotations row 1, category_id: is missing"):
        read(folder, captions | {"categories": PLAIN["categories"]})  # as in Ghy0501/HiDe-LLaVA#9


def test_people_without_an_area_are_people(folder: Path) -> None:
    """As in zylo117/Yet-Another-EfficientDet-Pytorch#311: no area, no iscrowd. A box then counts for about half."""
    content = copy.deepcopy(PLAIN)
    for row in content["annotations"]:
        del row["area"], row["iscrowd"]
    pictures = read(folder, content)
    assert sum(len(picture.ids) for picture in pictures) == 4 and not any(picture.ignored.any() for picture in pictures)
    assert pictures[0].areas.tolist() == pytest.approx([0.53 * 600, 0.53 * 200])


def test_keypoints_of_another_kind_are_refused_where_they_are_wanted(folder: Path) -> None:
    with pytest.raises(WardposeError, match="annotations row 1, keypoints: are 13, not COCO's 17"):
        read(folder, edited(first("annotations", keypoints=[1] * 39)), keypoints=True)
    with pytest.raises(WardposeError, match="categories row 1, keypoints: are not COCO's"):
        read(folder, edited(first("categories", keypoints=["head"] * 17)), keypoints=True)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_photograph_that_its_tag_turns_is_labelled_upright_or_refused(tmp_path: Path, orientation: int) -> None:
    """As in HumanSignal/label-studio#6608 and voxel51/fiftyone#3778: sizes swapped, boxes as the pixels are stored."""
    (tmp_path / "images").mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (60, 40)).save(tmp_path / "images/a.jpg", exif=exif)
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 30]}

    def labelled(width: int, height: int) -> Coco:
        image = {"id": 1, "file_name": "a.jpg", "width": width, "height": height}
        return {"images": [image], "annotations": [row], "categories": PLAIN["categories"]}

    if orientation >= 5:  # it lies on its side
        assert len(read(tmp_path, labelled(40, 60))) == 1
        with pytest.raises(WardposeError, match="is 40×60, the file says 60×40: it was labelled as it is stored"):
            read(tmp_path, labelled(60, 40))
    else:
        with pytest.raises(WardposeError, match="cannot be told whether it was labelled before or after"):
            read(tmp_path, labelled(60, 40))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=damaged(PLAIN))
def test_a_damaged_file_gives_everybody_or_one_line(folder: Path, content: Coco) -> None:
    try:
        pictures = read(folder, content)
    except WardposeError:
        return
    # Somebody who was taken out, with their row, is the one thing that nobody can notice.
    assert len(pictures) <= 3
    assert sum(len(picture.ids) for picture in pictures) == len(content["annotations"])
    for picture in pictures:
        assert np.isfinite(picture.boxes).all() and np.isfinite(picture.areas).all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=broken_bytes(json.dumps(PLAIN).encode()))
def test_a_broken_file_gives_everybody_or_one_line(folder: Path, content: bytes) -> None:
    try:
        pictures = read(folder, content)
    except WardposeError:
        return
    assert sum(len(picture.ids) for picture in pictures) >= 3


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=damaged(PLAIN), keypoints=st.booleans())
def test_a_set_to_look_at_is_read_by_the_same_rules(folder: Path, content: Coco, keypoints: bool) -> None:
    (folder / "annotations.json").write_text(json.dumps(content))
    try:
        found = read_labelled_set(folder)
    except WardposeError:
        return
    assert sum(len(people) for people in found.by_image.values()) == len(found.people)
    for image in found.images:
        assert found.picture(image).shape[2] == 3
