"""A coarse estimate and a finer one of the same camera and bed, made into one: each weighs by what it knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import chi2

from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate, perturbed, turned_round
from calibration.posterior import pose_difference

CONTRADICTION = float(chi2.ppf(0.999, 6))


def refined(coarse: CalibrationEstimate, fine: CalibrationEstimate) -> CalibrationEstimate:
    """The information-weighted mean of two estimates whose errors are independent; unconfirmed.

    Which end is the head is taken from a confirmed `coarse`, else from `fine`. The mean is the maximum of the product
    of both Gaussian posteriors, to first order about `fine`. Raises WardposeError where the two are of different
    cameras or beds, or contradict each other beyond chance (1 in 1000).
    """
    if coarse.camera != fine.camera:
        raise WardposeError("the calibrations are of different cameras", where="refine", mend="calibrate anew")
    if (coarse.bed.length, coarse.bed.width) != (fine.bed.length, fine.bed.width):
        raise WardposeError("the calibrations are of beds of different sizes", where="refine", mend="calibrate anew")
    if fine.camera_from_bed[:3, 0] @ coarse.camera_from_bed[:3, 0] < 0:
        if coarse.confirmed:
            fine = turned_round(fine)
        else:
            coarse = turned_round(coarse)
    apart = pose_difference(coarse.camera_from_bed, fine.camera_from_bed)
    both = coarse.covariance + fine.covariance
    if apart @ np.linalg.solve(both, apart) > CONTRADICTION:
        raise WardposeError(
            f"the calibrations by {coarse.method} and by {fine.method} contradict each other: "
            f"{np.degrees(np.linalg.norm(apart[:3])):.1f}° and {1e3 * np.linalg.norm(apart[3:]):.0f} mm apart",
            where="refine",
            mend="the camera or the bed has moved since, or one of them is wrong: calibrate anew",
        )
    gain = fine.covariance @ np.linalg.inv(both)
    covariance = fine.covariance - gain @ fine.covariance
    return replace(
        fine,
        camera_from_bed=perturbed(fine.camera_from_bed, gain @ apart),
        covariance=(covariance + covariance.T) / 2,
        confirmed=False,
        notes=(*fine.notes, f"combined with the calibration by {coarse.method} of {coarse.made_at}"),
    )
