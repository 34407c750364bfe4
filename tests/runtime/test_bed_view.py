"""What a calibration says of somebody in the bed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.estimate import CalibrationEstimate
from calibration.files import save_estimate
from runtime.bed_view import BedView

CAMERA = CameraModel(1280, 720, 600, 600, 639.5, 359.5)
# Straight above, the head end on the picture's left.
ABOVE = np.array([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 2.0], [0, 0, 0, 1]])
IN_BED, BESIDE = (500.0, 300.0, 780.0, 420.0), (600.0, 640.0, 700.0, 715.0)


@pytest.mark.parametrize("zoom", [1.0, 0.5, 1.5])
def test_who_lies_in_the_bed_is_upright_when_turned_by_its_axis_whatever_the_pictures_size(zoom: float) -> None:
    turns = BedView(CAMERA, ABOVE, Bed()).turns(
        np.array([IN_BED, BESIDE]) * zoom, round(1280 * zoom), round(720 * zoom)
    )
    np.testing.assert_allclose(turns, [-np.pi / 2, np.nan], atol=1e-6)


def test_a_picture_of_other_proportions_is_not_the_calibrated_one() -> None:
    assert np.isnan(BedView(CAMERA, ABOVE, Bed()).turns(np.array([IN_BED]), 1280, 960)).all()


def test_it_is_read_from_a_calibration(tmp_path: Path) -> None:
    save_estimate(CalibrationEstimate(CAMERA, Bed(), ABOVE, np.eye(6) * 1e-6, 0.3, "manual"), tmp_path / "c.json")
    view = BedView.load(tmp_path / "c.json")
    assert view.turns(np.array([IN_BED]), 1280, 720)[0] == pytest.approx(-np.pi / 2)
