"""A contact sheet and a card tell a person what a data set holds; a broken set is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from calibration.errors import WardposeError
from synth.card import data_card, write_card
from synth.card_plots import plot_distributions, plot_features
from synth.contact_sheet import contact_sheet
from synth.labelled_set import read_labelled_set
from synth.labels import run_lengths


def write_set(folder: Path, count: int = 5) -> dict[str, Any]:
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    mask = np.zeros((90, 160), bool)
    mask[30:60, 40:100] = True
    for number in range(count):
        name = f"{number:06d}.jpg"
        cv2.imwrite(str(folder / "images" / name), np.full((90, 160, 3), 40 * number, np.uint8))
        images.append({"id": number + 1, "file_name": name, "width": 160, "height": 90})
        keypoints = [v for k in range(17) for v in (20 + 5 * k, 45, k % 3)]
        annotations.append(
            {
                "id": number + 1, "image_id": number + 1, "category_id": 1, "bbox": [20, 20, 100, 50], "area": 5000,
                "full_bbox": [20, 20, 100, 65], "segmentation": run_lengths(mask),
                "keypoints": keypoints, "posture": "supine" if number else "prone", "skin_tone": 1 + 2 * number,
                "age": 40.0 + number, "bmi": 20.0, "sex": "female", "blanket_coverage": 0.5 * (number > 2),
            }
        )  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return content


def first_tile(sheet: Path) -> np.ndarray:
    """The first picture of a sheet, drawn at 2.5 times."""
    return cv2.imread(str(sheet))[6:231, 6:406]


def test_the_sheet_shows_the_pictures_with_their_boxes(tmp_path: Path) -> None:
    write_set(tmp_path)
    path = contact_sheet(tmp_path, tmp_path / "sheet.png", count=4)
    assert cv2.imread(str(path)).shape[1] == 4 * 406 + 6
    first = first_tile(path)
    assert (first[50, 60:290] != first[0, 0]).any(axis=1).mean() > 0.9, "the visible box is drawn through"
    below = (first[212, 60:290] != first[0, 0]).any(axis=1).mean()
    assert 0.3 < below < 0.8, "the whole person's box is dashed"


def test_the_sheet_outlines_people_and_leaves_them_their_colours(tmp_path: Path) -> None:
    content = write_set(tmp_path)
    outlined = first_tile(contact_sheet(tmp_path, tmp_path / "sheet.png", count=4))
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    changed = (outlined != first_tile(contact_sheet(tmp_path, tmp_path / "sheet.png", count=4))).any(axis=2)
    assert not changed[140, 240], "within the mask"
    assert 0.005 < changed.mean() < 0.1, "along its rim"


def test_a_set_smaller_than_the_sheet_is_shown_whole(tmp_path: Path) -> None:
    write_set(tmp_path, count=2)
    assert cv2.imread(str(contact_sheet(tmp_path, tmp_path / "sheet.png"))).shape[1] == 2 * 406 + 6


def test_the_card_counts_what_is_there(tmp_path: Path) -> None:
    write_set(tmp_path)
    card = data_card(read_labelled_set(tmp_path))
    assert (card["images"], card["people"], card["under_a_blanket"]) == (5, 5, 2)
    assert card["postures"] == {"prone": 1, "supine": 4}
    assert card["skin_tones"] == {"1": 1, "3": 1, "5": 1, "7": 1, "9": 1}
    assert card["keypoints"] == {"visible": 25, "hidden": 30, "outside": 30}


def test_the_card_is_one_page_with_its_pictures_and_the_target_beside(tmp_path: Path) -> None:
    write_set(tmp_path / "made")
    write_set(tmp_path / "ward", count=3)
    sets = [read_labelled_set(tmp_path / "made"), read_labelled_set(tmp_path / "ward" / "annotations.json")]
    plot = plot_distributions(sets, tmp_path / "distributions.png")
    assert cv2.imread(str(plot)).std() > 10
    card = write_card(sets[0], tmp_path, {"Distributions": plot}, sets[1])
    assert json.loads((tmp_path / "card.json").read_text()) == card
    assert (card["set"]["images"], card["target"]["images"]) == (5, 3)
    page = (tmp_path / "card.html").read_text()
    assert "supine: 4" in page and "data:image/png;base64," in page and "http" not in page


def test_a_set_without_traits_is_plotted_as_far_as_it_goes(tmp_path: Path) -> None:
    content = write_set(tmp_path)
    for annotation in content["annotations"]:
        for key in ("posture", "skin_tone", "age", "bmi", "blanket_coverage", "keypoints", "full_bbox"):
            del annotation[key]
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    assert plot_distributions([read_labelled_set(tmp_path)], tmp_path / "plots.png").stat().st_size > 10_000


def test_features_are_plotted_by_set(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(40, 2))
    groups = np.arange(40) % 2
    drawn = plot_features(["made", "ward"], groups, points, np.array([0.5, 0.3]), points, tmp_path / "features.png")
    assert cv2.imread(str(drawn)).std() > 10


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
        read_labelled_set(tmp_path)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match=r"no annotations.json"):
        read_labelled_set(tmp_path)
