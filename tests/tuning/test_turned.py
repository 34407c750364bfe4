"""The paper's set A: people turned to either side, with labels that turn with them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.errors import WardposeError
from runtime.capture.photograph import read_photograph
from tests.tuning.drawn import draw_people
from tuning.coco_folder import read_people
from tuning.data_check import check_data
from tuning.turned import TurnSettings, turn_data, turn_matrix, turned_box


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A drawn set, and the set made of it."""
    place = tmp_path_factory.mktemp("turned")
    data = draw_people(place / "data", 8)
    turn_data(data / "annotations.json", None, place / "turned", TurnSettings(count=12, seed=3))
    return data, place / "turned"


def test_every_turn_lies_within_its_bounds_to_both_sides(turned: tuple[Path, Path]) -> None:
    images = json.loads((turned[1] / "annotations.json").read_bytes())["images"]
    turns = np.array([image["turned_deg"] for image in images])
    assert len(turns) == 12 and ((np.abs(turns) >= 70) & (np.abs(turns) <= 110)).all()
    assert (turns < 0).any() and (turns > 0).any()


def test_the_set_has_no_fault(turned: tuple[Path, Path]) -> None:
    report = check_data(turned[1])
    assert report.ok, report.faults
    assert report.images == report.people == report.with_keypoints == 12


def test_labels_lie_on_what_they_lay_on_before(turned: tuple[Path, Path]) -> None:
    """The drawn head is the one reddish disc of a picture; its joint is the nose."""
    for picture in read_people(turned[1] / "annotations.json"):
        color = read_photograph(picture.path).astype(int)
        red = (color[..., 0] - color[..., 1] > 90) & (color[..., 0] > 150)
        rows, columns = np.nonzero(red)
        nose = picture.keypoints[0, 0, :2]
        np.testing.assert_allclose([columns.mean(), rows.mean()], nose, atol=1.5)
        x1, y1, x2, y2 = picture.boxes[0]
        joints = picture.keypoints[0, :, :2]
        assert (joints >= (x1 - 1, y1 - 1)).all() and (joints <= (x2 + 1, y2 + 1)).all()


def test_the_same_seed_makes_the_same_set(turned: tuple[Path, Path], tmp_path: Path) -> None:
    data, first = turned
    turn_data(data / "annotations.json", None, tmp_path / "again", TurnSettings(count=12, seed=3))
    for path in sorted(first.rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(first)).read_bytes()


@given(
    degrees=st.floats(-180, 180), width=st.integers(20, 900), height=st.integers(20, 900),
    x=st.floats(0, 1), y=st.floats(0, 1), side=st.floats(0.05, 1),
)  # fmt: skip
def test_a_turned_box_holds_its_ellipse_and_stays_in_the_picture(
    degrees: float, width: int, height: int, x: float, y: float, side: float
) -> None:
    matrix, (wide, high) = turn_matrix(width, height, degrees)
    size = np.array([width, height]) * side
    first = (np.array([width, height]) - size) * (x, y) - 0.5
    box = turned_box(np.concatenate([first, first + size]), matrix, np.empty((0, 2)))
    around = np.linspace(0, 2 * np.pi, 90)
    ellipse = first + size / 2 + np.column_stack([np.cos(around), np.sin(around)]) * size / 2
    points = ellipse @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose([*points.min(0), *points.max(0)], box, atol=0.01 * max(width, height))
    assert (points > -0.51).all() and (points < np.array([wide, high]) - 0.49).all()
    np.testing.assert_allclose(np.linalg.det(matrix[:, :2]), 1)


def test_a_quarter_is_numpys_quarter(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (30, 50, 3), np.uint8)
    matrix, size = turn_matrix(50, 30, 90.0)
    assert size == (30, 50)
    actual = cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(actual, np.rot90(picture, -1))


def test_what_cannot_be_made_is_told_and_leaves_nothing(turned: tuple[Path, Path], tmp_path: Path) -> None:
    data, done = turned
    with pytest.raises(WardposeError, match="something is here already"):
        turn_data(data / "annotations.json", None, done, TurnSettings())
    empty = json.loads((data / "annotations.json").read_bytes()) | {"annotations": []}
    (tmp_path / "annotations.json").write_text(json.dumps(empty))
    with pytest.raises(WardposeError, match="shows nobody"):
        turn_data(tmp_path / "annotations.json", data / "images", tmp_path / "out", TurnSettings())
    assert not (tmp_path / "out").exists()
