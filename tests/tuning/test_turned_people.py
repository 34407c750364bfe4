"""The paper's set A: photographs turned by 70…110° to either side, and their labels with them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.tuning.drawn import draw_people
from tuning.coco_folder import read_people
from tuning.study.turned_people import turn_by, write_people


@given(st.floats(-180, 180), st.integers(16, 300), st.integers(16, 300))
def test_a_turn_keeps_the_whole_picture_and_every_distance(degrees: float, width: int, height: int) -> None:
    turn = turn_by(degrees, width, height)
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], float)
    turned = turn.points(corners)
    assert turned.min() > -1.5 and (turned.max(0) < np.array([turn.width, turn.height]) + 0.5).all()
    assert np.isclose(np.linalg.norm(turned[0] - turned[3]), np.hypot(width - 1, height - 1))


@given(st.floats(-110, 110), st.floats(5, 60), st.floats(5, 60))
def test_a_turned_box_holds_the_ellipse_and_touches_it(degrees: float, width: float, height: float) -> None:
    turn = turn_by(degrees, 200, 150)
    angle = np.linspace(0, 2 * np.pi, 4000)
    ellipse = np.stack([100 + width / 2 * np.cos(angle), 70 + height / 2 * np.sin(angle)], 1)
    box = np.array([[100 - width / 2, 70 - height / 2, 100 + width / 2, 70 + height / 2]])
    outline = turn.points(ellipse)
    np.testing.assert_allclose(turn.boxes(box)[0], [*outline.min(0), *outline.max(0)], atol=0.01)


def test_people_lie_where_their_labels_say(tmp_path: Path) -> None:
    """The nose is drawn as a disc: it is found again at its turned label."""
    pictures = read_people(draw_people(tmp_path / "upright", 4) / "annotations.json", keypoints=True)
    out = tmp_path / "A"
    assert write_people(pictures, out, 6, turned=True, seed=3) == (6, 6)
    turned = read_people(out / "annotations.json", keypoints=True)
    for picture in turned:
        width, height = (picture.boxes[:, 2:] - picture.boxes[:, :2])[0]
        assert width > height, "upright figures lie"
        x, y = picture.keypoints[0, 0, :2].round().astype(int)
        blue, green, red = cv2.imread(str(picture.path))[y, x].astype(int)
        assert red > 150 > green and red > 150 > blue
        assert picture.keypoints[0, :, 2].all()


def test_a_killed_run_goes_on_with_the_same_pictures_and_untouched_ones_come_once(tmp_path: Path) -> None:
    pictures = read_people(draw_people(tmp_path / "upright", 3) / "annotations.json", keypoints=True)
    write_people(pictures, tmp_path / "A", 5, turned=True)
    before = {path.name: path.read_bytes() for path in (tmp_path / "A" / "images").iterdir()}
    (tmp_path / "A" / "images" / "000003.jpg").unlink()
    (tmp_path / "A" / "annotations.json").unlink()
    write_people(pictures, tmp_path / "A", 5, turned=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "A" / "images").iterdir()} == before
    assert write_people(pictures, tmp_path / "upright again", 5, turned=False) == (3, 3)
    labels = json.loads((tmp_path / "upright again" / "annotations.json").read_bytes())
    boxes = sorted([v for a in labels["annotations"] for v in a["bbox"]])
    original = sorted(v for p in pictures for box in p.boxes for v in (*box[:2], *(box[2:] - box[:2])))
    np.testing.assert_allclose(boxes, original, atol=0.01)
