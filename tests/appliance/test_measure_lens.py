"""A camera's lens from photographs of a board, through the command's own function, and read back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.bedside.calibrate import camera_of, measure_lens
from benchmarks.sheet_pictures import picture_of_sheet
from calibration.camera import CameraModel
from calibration.charuco import CharucoCalibrator
from calibration.errors import WardposeError
from calibration.viewpoint import Viewpoint
from runtime.frames import Frame

LENS = CameraModel(640, 360, 420.0, 421.0, 322.0, 178.0)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, paths = tmp_path_factory.mktemp("board"), []
    for number, azimuth in enumerate(range(0, 360, 45)):
        view = Viewpoint(azimuth, 50 + 4 * (number % 3), 1.15, 10 * (number % 2), (0.05 * (number % 3 - 1), 0.0, 0.0))
        seen = picture_of_sheet(
            CharucoCalibrator(), LENS, view.camera_from_bed, np.random.default_rng(number), blur_px=0.6, noise=2.0
        )
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), seen)
    return paths


def frame(width: int = 640, height: int = 360) -> Frame:
    return Frame(np.zeros((height, width, 3), np.uint8), 0.0, 0, "video")


def test_the_lens_is_found_and_used_by_the_other_methods(photographs: list[Path], tmp_path: Path) -> None:
    fit = measure_lens(photographs, tmp_path / "lens.json", squares=(7, 5), square_m=0.11, marker_m=0.083)
    assert fit.views >= 6
    assert fit.camera.fx == pytest.approx(LENS.fx, rel=0.03)
    assert camera_of(frame(), tmp_path / "lens.json") == fit.camera
    with pytest.raises(WardposeError, match="measured at 640×360"):
        camera_of(frame(1280, 720), tmp_path / "lens.json")


def test_a_file_that_is_no_picture_is_refused_by_name(photographs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(WardposeError, match=r"text\.png: is no picture"):
        measure_lens([tmp_path / "text.png"], tmp_path / "lens.json", squares=(7, 5), square_m=0.11, marker_m=0.083)
    assert not (tmp_path / "lens.json").exists()


def test_a_board_in_millimetres_the_wrong_way_round_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="markers must be smaller"):
        measure_lens([], tmp_path / "lens.json", squares=(7, 5), square_m=0.08, marker_m=0.11)
