"""The page that shows a posterior."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.sheet_pictures import KINECT_720P
from calibration.bed import Bed
from calibration.manual import calibrate_manual
from calibration.posterior_page import write_posterior_page
from calibration.viewpoint import Viewpoint


@pytest.mark.parametrize("azimuth", [25.0, 179.5])
def test_the_page_is_a_picture_of_its_own_and_shows_the_one_given(tmp_path: Path, azimuth: float) -> None:
    estimate = calibrate_manual(Viewpoint(azimuth, 35, 2.8), KINECT_720P, Bed())
    red = np.full((720, 1280, 3), (200, 10, 10), np.uint8)
    for name, color in (("bare", None), ("seen", red)):
        write_posterior_page(estimate, tmp_path / f"{name}.png", samples=100, color=color)
    bare, seen = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("bare", "seen"))
    assert bare.shape == seen.shape
    changed = (np.abs(bare.astype(int) - seen) > 40).any(axis=2).mean()
    assert 0.03 < changed < 0.2  # the one panel with the picture
