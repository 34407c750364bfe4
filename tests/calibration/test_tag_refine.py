"""Tag corners fitted to the picture, held against where the corners truly are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.sheet_pictures import KINECT_720P, picture_of_sheet
from calibration.tag_refine import refine_tag
from calibration.tag_sheet import TagSheet
from calibration.tags import detect_tags
from calibration.viewpoint import Viewpoint

SHEET = TagSheet()


def true_corners(view: Viewpoint, tag: int) -> np.ndarray:
    pose = view.camera_from_bed
    return KINECT_720P.project(SHEET.corners_bed[tag] @ pose[:3, :3].T + pose[:3, 3])


@pytest.mark.parametrize(
    ("view", "blur_px"),
    [
        (Viewpoint(0, 30, 3.0), 1.0),
        (Viewpoint(40, 25, 3.2), 1.0),
        (Viewpoint(-50, 40, 2.4), 2.0),
        (Viewpoint(0, 15, 3), 0.7),
    ],
)
def test_refined_corners_are_right_to_a_fifth_of_a_pixel(view: Viewpoint, blur_px: float) -> None:
    picture = picture_of_sheet(SHEET, KINECT_720P, view.camera_from_bed, np.random.default_rng(0), blur_px=blur_px)
    found = detect_tags(picture[..., 0], SHEET.ids)
    assert len(found) >= 3
    for tag, quad in found.items():
        fit = refine_tag(picture[..., 0], quad, tag, KINECT_720P)
        assert fit is not None
        assert np.abs(fit.corners - true_corners(view, tag)).max() < 0.2
        assert fit.misfit < 0.1


def test_shading_across_a_tag_moves_no_corner() -> None:
    view = Viewpoint(10, 40, 2.5)
    picture = picture_of_sheet(SHEET, KINECT_720P, view.camera_from_bed, np.random.default_rng(0), noise=1.0)[..., 0]
    shade = np.linspace(0.4, 1.2, 1280)[None] * np.linspace(1.1, 0.6, 720)[:, None]
    shaded = np.clip(picture * shade, 0, 255).astype(np.uint8)
    for tag, quad in detect_tags(shaded, SHEET.ids).items():
        fit = refine_tag(shaded, quad, tag, KINECT_720P)
        assert fit is not None
        assert np.abs(fit.corners - true_corners(view, tag)).max() < 0.15


def test_a_blurrier_picture_reads_as_blurrier() -> None:
    view, blurs = Viewpoint(10, 40, 2.5), []
    for blur_px in (0.7, 1.5, 2.2):
        picture = picture_of_sheet(SHEET, KINECT_720P, view.camera_from_bed, np.random.default_rng(0), blur_px=blur_px)
        fit = refine_tag(picture[..., 0], true_corners(view, 1), 1, KINECT_720P)
        assert fit is not None
        blurs.append(fit.blur_cells)
    assert blurs == sorted(blurs)
    assert blurs[2] / blurs[0] == pytest.approx(2.2 / 0.7, rel=0.15)


def test_the_wrong_tag_does_not_fit() -> None:
    view = Viewpoint(10, 40, 2.5)
    picture = picture_of_sheet(SHEET, KINECT_720P, view.camera_from_bed, np.random.default_rng(0))[..., 0]
    fit = refine_tag(picture, true_corners(view, 1), 77, KINECT_720P)
    assert fit is None or fit.misfit > 0.2


def test_a_half_covered_tag_does_not_fit() -> None:
    view = Viewpoint(10, 40, 2.5)
    picture = picture_of_sheet(SHEET, KINECT_720P, view.camera_from_bed, np.random.default_rng(0))[..., 0].copy()
    quad = true_corners(view, 1)
    half = np.array([quad[0], (quad[0] + quad[1]) / 2, (quad[2] + quad[3]) / 2, quad[3]])
    cv2.fillConvexPoly(picture, np.round(half).astype(np.int32), 120)
    fit = refine_tag(picture, quad, 1, KINECT_720P)
    assert fit is None or fit.misfit > 0.2


def test_a_tag_outside_the_picture_is_no_fit() -> None:
    quad = np.array([[-200.0, -200], [-150, -200], [-150, -150], [-200, -150]])
    assert refine_tag(np.full((720, 1280), 120, np.uint8), quad, 0, KINECT_720P) is None
