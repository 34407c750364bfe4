"""Two estimates of one camera made into one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.sheet_pictures import KINECT_720P
from calibration.bed import Bed
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate, perturbed, turned_round
from calibration.manual import calibrate_manual
from calibration.posterior import pose_difference
from calibration.refine import refined
from calibration.viewpoint import Viewpoint

COARSE = calibrate_manual(Viewpoint(25, 35, 2.8), KINECT_720P, Bed())
SHARP = np.diag([np.radians(0.3) ** 2] * 3 + [0.01**2] * 3)


def fine(offset_deg: float = 0.5) -> CalibrationEstimate:
    delta = np.array([np.radians(offset_deg), 0, 0, 0.01, 0, 0])
    return replace(COARSE, camera_from_bed=perturbed(COARSE.camera_from_bed, delta), covariance=SHARP, method="corners")


def test_the_mean_lies_nearer_the_one_that_knows_more_and_knows_more_than_either() -> None:
    mean = refined(COARSE, fine())
    to_fine = np.linalg.norm(pose_difference(mean.camera_from_bed, fine().camera_from_bed))
    to_coarse = np.linalg.norm(pose_difference(mean.camera_from_bed, COARSE.camera_from_bed))
    assert to_fine < 0.5 * to_coarse
    assert (np.linalg.eigvalsh(fine().covariance - mean.covariance) > -1e-12).all()
    assert not mean.confirmed


def test_the_order_hardly_matters() -> None:
    one, other = refined(COARSE, fine()), refined(fine(), COARSE)
    assert np.linalg.norm(pose_difference(one.camera_from_bed, other.camera_from_bed)) < 1e-3
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=0.05, atol=1e-9)


def test_the_posterior_of_many_means_covers_the_truth() -> None:
    rng, inside = np.random.default_rng(4), 0
    truth, wide = COARSE.camera_from_bed, 9 * SHARP
    for _ in range(200):
        first, second = (
            replace(COARSE, covariance=c, camera_from_bed=perturbed(truth, rng.multivariate_normal(np.zeros(6), c)))
            for c in (wide, SHARP)
        )
        mean = refined(first, second)
        delta = pose_difference(truth, mean.camera_from_bed)
        inside += delta @ np.linalg.solve(mean.covariance, delta) <= 12.59
    assert 180 <= inside <= 199


def test_a_confirmed_head_end_is_kept() -> None:
    mean = refined(replace(COARSE, confirmed=True), turned_round(fine()))
    assert mean.camera_from_bed[:3, 0] @ COARSE.camera_from_bed[:3, 0] > 0.9


@pytest.mark.parametrize(
    ("coarse", "reason"),
    [
        (replace(fine(20.0)), "contradict"),
        (replace(COARSE, camera=KINECT_720P.resized(640, 360)), "different cameras"),
        (replace(COARSE, bed=Bed(1.8)), "different sizes"),
    ],
)
def test_what_cannot_be_one_is_refused(coarse: CalibrationEstimate, reason: str) -> None:
    with pytest.raises(WardposeError, match=reason):
        refined(coarse, fine())
