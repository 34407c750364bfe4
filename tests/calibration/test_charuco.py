"""The camera's pose from a ChArUco board on the bed, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.sheet_pictures import KINECT_720P, picture_of_sheet
from calibration.bed import Bed
from calibration.board import Board, detect_board
from calibration.charuco import CharucoCalibrator
from calibration.errors import WardposeError
from calibration.posterior import pose_difference
from calibration.viewpoint import Viewpoint
from tests.calibration.printed import filled_rectangles, pdf_objects

VIEW = Viewpoint(20, 50, 2.5)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return picture_of_sheet(CharucoCalibrator(), KINECT_720P, VIEW.camera_from_bed, np.random.default_rng(1))


def refusal(picture: np.ndarray, calibrator: CharucoCalibrator | None = None) -> str:
    with pytest.raises(WardposeError) as caught:
        (calibrator or CharucoCalibrator()).estimate(picture, KINECT_720P, Bed())
    assert caught.value.mend
    return str(caught.value)


def test_a_known_camera_is_found(picture: np.ndarray) -> None:
    found = CharucoCalibrator().estimate(picture, KINECT_720P, Bed())
    delta = pose_difference(VIEW.camera_from_bed, found.camera_from_bed)
    assert np.degrees(np.linalg.norm(delta[:3])) < 0.4
    assert np.linalg.norm(found.viewpoint.centre - VIEW.centre) < 0.02
    assert delta @ np.linalg.solve(found.covariance, delta) < 16.8
    assert not found.confirmed


def test_a_mirrored_picture_is_refused(picture: np.ndarray) -> None:
    assert "mirrored" in refusal(np.ascontiguousarray(picture[:, ::-1]))


def test_a_blurred_picture_is_refused(picture: np.ndarray) -> None:
    assert "blurred" in refusal(cv2.GaussianBlur(picture, (0, 0), 8))


def test_an_over_exposed_picture_is_refused(picture: np.ndarray) -> None:
    assert "over-exposed" in refusal(np.clip(picture.astype(int) * 9, 0, 255).astype(np.uint8))


def test_a_board_mostly_covered_is_refused(picture: np.ndarray) -> None:
    covered = picture.copy()
    covered[:, :690] = 120
    assert "of the board's corners can be read" in refusal(covered)


def test_another_board_is_refused(picture: np.ndarray) -> None:
    other = CharucoCalibrator(Board(7, 5, 0.11, 0.083, cv2.aruco.DICT_4X4_50))
    assert "of the board's corners can be read" in refusal(picture, other)


def test_a_picture_of_another_size_is_refused(picture: np.ndarray) -> None:
    assert "640×360" in refusal(cv2.resize(picture, (640, 360)))


def test_the_printed_rectangles_are_the_board_at_its_true_size(tmp_path: Path) -> None:
    calibrator = CharucoCalibrator()
    assert calibrator.write_pdf(tmp_path / "board.pdf") == 1
    form = next(body for body in pdf_objects(tmp_path / "board.pdf").values() if b"/Subtype /Form" in body)
    raster = np.full((round(calibrator.height * 1000), round(calibrator.width * 1000)), 255, np.uint8)
    for x, y, width, height in (1000 * filled_rectangles(form)).tolist():
        top = calibrator.height * 1000 - y - height
        raster[round(top) : round(top + height), round(x) : round(x + width)] = 0
    found = detect_board(cv2.copyMakeBorder(raster, 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=255), calibrator.board)
    assert found is not None
    assert len(found.ids) == 24
    np.testing.assert_allclose(found.pixels - 20, found.points[:, :2] * 1000, atol=1.5)
