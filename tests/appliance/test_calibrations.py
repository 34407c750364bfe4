"""Confirming a calibration says whether the view has left what images were sampled from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.deeds import Deeds
from appliance.live.addresses import calibration_in_use
from appliance.live.plan import page_bed
from appliance.site import calibrations
from appliance.site.folder import SiteFolder
from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.estimate import CalibrationEstimate, perturbed
from calibration.viewpoint import Viewpoint

FIRST = CalibrationEstimate(
    CameraModel(1280, 720, 610.0, 610.0, 639.5, 359.5), Bed(), Viewpoint(60.0, 35.0, 2.5).camera_from_bed,
    np.diag([1e-5] * 3 + [1e-4] * 3), 0.3, "tags", confirmed=True,
)  # fmt: skip


def bumped(degrees: float) -> CalibrationEstimate:
    turn = np.array([0.0, np.radians(degrees), 0.0, 0.0, 0.0, 0.0])
    return replace(FIRST, camera_from_bed=perturbed(FIRST.camera_from_bed, turn))


def test_the_first_calibration_has_nothing_to_leave(site: SiteFolder) -> None:
    assert calibrations.leaves_earlier_view(site, calibrations.keep(site, FIRST)) is None


@pytest.mark.parametrize(("degrees", "left"), [(0.1, False), (3.0, True)])
def test_only_a_view_outside_the_earlier_posterior_asks_for_new_tuning(
    site: SiteFolder, degrees: float, left: bool
) -> None:
    calibrations.keep(site, FIRST)
    calibrations.keep(site, replace(bumped(20.0), confirmed=False))  # never used, so nothing was sampled from it
    assert calibrations.leaves_earlier_view(site, calibrations.keep(site, bumped(degrees))) is left


def test_a_confirmed_calibration_is_the_one_whose_bed_the_page_draws(calibrated: SiteFolder) -> None:
    deeds = Deeds(calibrated)
    assert page_bed(calibrated, "another:camera") == []
    assert page_bed(calibrated, "simulated") == ["--calibration", str(calibration_in_use(calibrated))]
    first = calibration_in_use(calibrated).read_bytes()
    row = deeds.ask("calibrations.confirm", id=None, turned=True, reason="seen in the picture")
    now = calibration_in_use(calibrated).read_bytes()
    assert now != first and now == calibrated.resolve(row["file"]).read_bytes()
