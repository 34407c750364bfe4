"""Trials of each calibration method: a camera whose place is known, what a person does wrong, and the estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.depth_scenes import BedScene, cast, time_of_flight
from benchmarks.sheet_pictures import KINECT_720P, picture_of_sheet
from calibration.bed import Bed
from calibration.charuco import CharucoCalibrator
from calibration.corners import BED_SIZE_SIGMA_M, calibrate_corners
from calibration.depth import DepthCalibrator
from calibration.estimate import CalibrationEstimate
from calibration.manual import TapeMeasure, calibrate_manual
from calibration.posterior import scaled_focal, shifted_on_plane
from calibration.tags import TagCalibrator, TagSettings
from calibration.viewpoint import Viewpoint
from synth.simulated_camera import KINECT_COLOR_FROM_DEPTH, KINECT_DEPTH

Trial = tuple[NDArray[np.float64], CalibrationEstimate]
Span = tuple[float, float]
# Where a depth camera sees the whole bed: nearer and higher than colour needs to be.
DEPTH_VIEW: dict[str, Span] = {"azimuth": (-95.0, 95.0), "elevation": (28.0, 48.0), "distance": (2.2, 2.9)}


@dataclass(frozen=True)
class Condition:
    """Trials of one method under stated errors; table: rotation (degrees) and camera place (mm) of an earlier study."""

    method: str
    name: str
    simulate: Callable[[np.random.Generator], Trial]
    table: tuple[float, float] | None = None


def view(
    rng: np.random.Generator, azimuth: Span = (-60, 60), elevation: Span = (20, 45), distance: Span = (2.4, 3.4)
) -> Viewpoint:
    """A camera at the foot end or a side, as clinics mount it."""
    return Viewpoint(
        azimuth_deg=rng.uniform(*azimuth), elevation_deg=rng.uniform(*elevation), distance=rng.uniform(*distance),
        roll_deg=rng.uniform(-3, 3), look_at=(rng.uniform(-0.15, 0.15), rng.uniform(-0.08, 0.08), 0.0),
    )  # fmt: skip


def _tags(rng: np.random.Generator, settings: TagSettings, elevation: Span = (20, 45)) -> Trial:
    calibrator = TagCalibrator(settings=settings)
    truth = view(rng, elevation=elevation).camera_from_bed
    bed_from_sheet = shifted_on_plane(rng, settings.placement_m, calibrator.sheet.width / 2)
    lens = scaled_focal(KINECT_720P, 1 + rng.normal(0.0, settings.focal_error))
    scale = 1 + rng.normal(0.0, settings.scale_error)
    picture = picture_of_sheet(calibrator.sheet, KINECT_720P, truth @ bed_from_sheet, rng, scale=scale)
    return truth, calibrator.estimate(picture, lens, Bed())


def _charuco(rng: np.random.Generator, settings: TagSettings) -> Trial:
    calibrator = CharucoCalibrator(settings=settings)
    truth = view(rng, elevation=(40, 60), distance=(2.4, 2.6)).camera_from_bed
    bed_from_board = shifted_on_plane(rng, settings.placement_m, calibrator.width / 2)
    lens = scaled_focal(KINECT_720P, 1 + rng.normal(0.0, settings.focal_error))
    scale = 1 + rng.normal(0.0, settings.scale_error)
    picture = picture_of_sheet(calibrator, KINECT_720P, truth @ bed_from_board, rng, scale=scale)
    return truth, calibrator.estimate(picture, lens, Bed())


def _corners(
    rng: np.random.Generator, click_px: float, bed_size_m: float, place: dict[str, Span] | None = None
) -> Trial:
    bed, size_error = Bed(), rng.normal(0.0, 1.0, 2) * bed_size_m
    while True:
        truth = view(rng, **(place or {})).camera_from_bed
        corners = bed.corners * np.array([1 + size_error[0] / bed.length, 1 + size_error[1] / bed.width, 1.0])
        pixels = KINECT_720P.project(corners @ truth[:3, :3].T + truth[:3, 3])
        if (pixels > 2).all() and (pixels < [KINECT_720P.width - 3, KINECT_720P.height - 3]).all():
            break
    pixels = pixels + rng.normal(0.0, click_px, pixels.shape)
    focal = 0.002
    lens = scaled_focal(KINECT_720P, 1 + rng.normal(0.0, focal))
    return truth, calibrate_corners(pixels, lens, bed, click_px, bed_size_sigma_m=bed_size_m, focal_error=focal)


def _depth(
    rng: np.random.Generator, place: dict[str, Span] | None = None, **scene: bool | tuple[int, ...] | float
) -> Trial:
    """Without a scene of its own: any bed, with or without patient, blanket, rails and a raised backrest."""
    calibrator = DepthCalibrator()
    sigma = calibrator.settings.bed_size_error_m
    bed = Bed(height=rng.uniform(0.5, 0.7))
    real = Bed(bed.length + rng.normal(0.0, sigma), bed.width + rng.normal(0.0, sigma), bed.height)
    if not scene:
        rails = [(), (), (-1,), (1,), (-1, 1)][int(rng.integers(5))]
        scene = {
            "patient": bool(rng.random() < 0.7), "blanket": bool(rng.random() < 0.5), "rails": rails,
            "boards": bool(rng.random() < 0.8), "backrest_deg": float(rng.choice([0.0, 0.0, 20.0, 40.0])),
        }  # fmt: skip
    standing = BedScene(
        real, board_gap=rng.uniform(0, 0.05), board_thickness=rng.uniform(0.02, 0.06), rail_gap=rng.uniform(0, 0.04),
        **scene,  # type: ignore[arg-type]
    )  # fmt: skip
    truth = view(rng, **(place or DEPTH_VIEW)).camera_from_bed
    depths = depth_pictures(standing, truth, rng)
    return truth, calibrator.estimate_depth(depths, KINECT_DEPTH, KINECT_COLOR_FROM_DEPTH, KINECT_720P, bed)


def depth_pictures(
    scene: BedScene, camera_from_bed: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Three pictures (3, h, w) of the Kinect's depth camera, millimetres, its colour camera at camera_from_bed."""
    metres = cast(scene, KINECT_DEPTH, np.linalg.inv(KINECT_COLOR_FROM_DEPTH) @ camera_from_bed)
    return time_of_flight(metres, rng, 3)


def _manual(rng: np.random.Generator) -> Trial:
    tape, stated = TapeMeasure(), view(rng)
    return tape.draw(stated, rng).camera_from_bed, calibrate_manual(stated, KINECT_720P, Bed(), tape)


def _around(azimuth: float, elevation: float, distance: float) -> dict[str, Span]:
    return {
        "azimuth": (azimuth - 8, azimuth + 8),
        "elevation": (elevation - 4, elevation + 4),
        "distance": (distance - 0.1, distance + 0.1),
    }


SIDE, FOOT, OBLIQUE = _around(90, 45, 2.3), _around(25, 35, 2.8), _around(60, 35, 2.8)
EXACT_SHEET = TagSettings(placement_m=0.0, scale_error=0.0, focal_error=0.0)
# The first condition of a method is its headline.
CONDITIONS = (
    Condition("tags", "sheet laid 1 cm off", partial(_tags, settings=TagSettings())),
    Condition("tags", "sheet exact", partial(_tags, settings=EXACT_SHEET, elevation=(15, 40)), (0.11, 2.7)),
    Condition("corners", "2 px, bed 3 cm off", partial(_corners, click_px=2.0, bed_size_m=BED_SIZE_SIGMA_M)),
    Condition("corners", "2 px, bed exact", partial(_corners, click_px=2.0, bed_size_m=0.0, place=FOOT), (0.73, 35)),
    Condition("corners", "5 px, bed exact", partial(_corners, click_px=5.0, bed_size_m=0.0, place=FOOT), (1.8, 87)),
    Condition("corners", "5 px, 3 cm off", partial(_corners, click_px=5.0, bed_size_m=0.03, place=FOOT), (1.8, 117)),
    Condition("depth", "any bed, 3 cm off", _depth),
    Condition("depth", "empty, from the side", partial(_depth, place=SIDE, patient=False), (0.3, 40)),
    Condition("depth", "patient, from the foot end", partial(_depth, place=FOOT, patient=True), (0.5, 68)),
    Condition("depth", "patient, both rails", partial(_depth, place=FOOT, patient=True, rails=(-1, 1)), (4.1, 68)),
    Condition("depth", "patient, no boards", partial(_depth, place=OBLIQUE, patient=True, boards=False), (7.0, 68)),
    Condition("depth", "patient, backrest 40°", partial(_depth, place=OBLIQUE, patient=True, backrest_deg=40.0)),
    Condition("charuco", "board laid 1 cm off", partial(_charuco, settings=TagSettings())),
    Condition("charuco", "board exact", partial(_charuco, settings=EXACT_SHEET), (0.17, 7.0)),
    Condition("manual", "tape measure", _manual),
)
