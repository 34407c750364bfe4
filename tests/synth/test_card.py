"""A contact sheet and a card tell a person what a data set holds; a broken set is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from calibration.errors import WardposeError
from synth.card import contact_sheet, data_card, write_card


def write_set(folder: Path, count: int = 5) -> dict[str, Any]:
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        name = f"{number:06d}.jpg"
        cv2.imwrite(str(folder / "images" / name), np.full((90, 160, 3), 40 * number, np.uint8))
        images.append({"id": number + 1, "file_name": name, "width": 160, "height": 90})
        keypoints = [v for k in range(17) for v in (20 + 5 * k, 45, k % 3)]
        annotations.append(
            {
                "id": number + 1, "image_id": number + 1, "category_id": 1, "bbox": [20, 20, 100, 50], "area": 5000,
                "keypoints": keypoints, "posture": "supine" if number else "prone", "skin_tone": 1 + 2 * number,
                "age": 40.0 + number, "bmi": 20.0, "sex": "female", "blanket_coverage": 0.5 * (number > 2),
            }
        )  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return content


def test_the_sheet_shows_the_pictures_with_their_boxes(tmp_path: Path) -> None:
    write_set(tmp_path)
    sheet = cv2.imread(str(contact_sheet(tmp_path, tmp_path / "sheet.png", count=4)))
    assert sheet.shape[1] == 4 * 406 + 6
    first = sheet[6:231, 6:406]
    assert (first[50, 60:290] != first[0, 0]).any(axis=1).mean() > 0.9, "the box's upper edge is drawn at 2.5 times"


def test_a_set_smaller_than_the_sheet_is_shown_whole(tmp_path: Path) -> None:
    write_set(tmp_path, count=2)
    assert cv2.imread(str(contact_sheet(tmp_path, tmp_path / "sheet.png"))).shape[1] == 2 * 406 + 6


def test_the_card_counts_what_is_there(tmp_path: Path) -> None:
    write_set(tmp_path)
    card = data_card(tmp_path)
    assert (card["images"], card["people"], card["under_a_blanket"]) == (5, 5, 2)
    assert card["postures"] == {"prone": 1, "supine": 4}
    assert card["skin_tones"] == {"1": 1, "3": 1, "5": 1, "7": 1, "9": 1}
    assert card["keypoints"] == {"visible": 25, "hidden": 30, "outside": 30}
    assert "supine: 4" in write_card(tmp_path).read_text()


def test_missing_pictures_are_counted_and_one_is_named(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "images" / "000003.jpg").unlink()
    with pytest.raises(WardposeError, match=r"1 of 5 pictures are missing, the first is 000003.jpg"):
        contact_sheet(tmp_path, tmp_path / "sheet.png")


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "images" / "000000.jpg").write_bytes(b"not a picture")
    with pytest.raises(WardposeError, match=r"000000.jpg"):
        contact_sheet(tmp_path, tmp_path / "sheet.png")


@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}', '{"images": [], "annotations": []}'])
def test_a_file_that_is_no_coco_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(WardposeError, match=r"annotations.json"):
        data_card(tmp_path)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match=r"no annotations.json"):
        data_card(tmp_path)
