"""The tag sheet on paper and in pictures whose camera is known."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.sheet_pictures import KINECT_720P, picture_of_sheet
from calibration.bed import Bed
from calibration.errors import WardposeError
from calibration.posterior import pose_difference, shifted_on_plane
from calibration.tag_sheet import TagSheet
from calibration.tags import TagCalibrator, TagSettings, detect_tags
from calibration.viewpoint import Viewpoint
from tests.calibration.printed import POINTS_PER_METRE, filled_rectangles, pdf_objects

SHEET = TagSheet()
MEDIA_BOX = re.compile(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]")
WINDOW = re.compile(rb"([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) re W\*? n\s1 0 0 1 (-?[\d.]+) (-?[\d.]+) cm")
VIEW = Viewpoint(20, 32, 2.7)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return picture_of_sheet(SHEET, KINECT_720P, VIEW.camera_from_bed, np.random.default_rng(1))


def found_on_sheet(raster: np.ndarray) -> dict[int, np.ndarray]:
    """Corners in the bed frame as OpenCV finds them on a raster of the sheet."""
    padded = cv2.copyMakeBorder(raster, 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=255)
    corners = detect_tags(padded, SHEET.ids)
    scale = raster.shape[1] / SHEET.width
    return {
        tag: np.column_stack(
            [
                (quad[:, 0] - 20 + 0.5) / scale - SHEET.width / 2,
                SHEET.height / 2 - (quad[:, 1] - 20 + 0.5) / scale,
                np.zeros(4),
            ]
        )
        for tag, quad in corners.items()
    }


def test_a_detector_finds_each_corner_where_the_sheet_says() -> None:
    found = found_on_sheet(SHEET.image(500))
    assert set(found) == set(SHEET.ids)
    for tag, corners in SHEET.corners_bed.items():
        np.testing.assert_allclose(found[tag], corners, atol=2e-3)


def test_the_first_tag_lies_at_the_head_on_the_patients_left() -> None:
    x, y = SHEET.centres[SHEET.ids[0]]
    assert x < 0 < y


def test_the_picture_has_the_sheets_size_and_a_white_rim() -> None:
    image = SHEET.image(300)
    assert image.dtype == np.uint8
    assert image.shape == (round(SHEET.height * 300), round(SHEET.width * 300))
    assert image[:5].min() == 255
    assert image[:, -5:].min() == 255


@settings(max_examples=25, deadline=None)
@given(st.floats(1.2, 2.4), st.floats(0.7, 1.4))
def test_a_sheet_for_any_bed_fits_on_it(length: float, width: float) -> None:
    sheet = TagSheet.for_bed(Bed(length, width))
    corners = np.concatenate(list(sheet.corners_bed.values()))
    assert sheet.width < length
    assert sheet.height < width
    assert np.abs(corners[:, 0]).max() <= sheet.width / 2 - sheet.quiet_zone + 1e-9
    assert np.abs(corners[:, 1]).max() <= sheet.height / 2 - sheet.quiet_zone + 1e-9


@pytest.mark.parametrize(
    "change", [{"ids": (0, 0, 1, 2)}, {"tag_size": 0.5}, {"quiet_zone": 0.01}, {"ids": (0, 1, 2, 600)}]
)
def test_an_impossible_sheet_is_refused(change: dict) -> None:
    with pytest.raises(ValueError):
        TagSheet(**change)


def test_the_printed_rectangles_are_tags_of_the_true_size(tmp_path: Path) -> None:
    assert SHEET.write_pdf(tmp_path / "sheet.pdf") == 1
    objects = pdf_objects(tmp_path / "sheet.pdf")
    form = next(body for body in objects.values() if b"/Subtype /Form" in body)
    scale = 500
    raster = np.full((round(SHEET.height * scale), round(SHEET.width * scale)), 255, np.uint8)
    for x, y, width, height in filled_rectangles(form).tolist():
        rows = slice(round((SHEET.height - y - height) * scale), round((SHEET.height - y) * scale))
        raster[rows, round(x * scale) : round((x + width) * scale)] = 0
    found = found_on_sheet(raster)
    assert set(found) == set(SHEET.ids)
    for tag, corners in SHEET.corners_bed.items():
        np.testing.assert_allclose(found[tag], corners, atol=3e-3)


@pytest.mark.parametrize(("paper", "width_mm", "height_mm"), [("a4", 297, 210), ("a3", 420, 297)])
def test_tiles_cover_the_whole_sheet(tmp_path: Path, paper: str, width_mm: int, height_mm: int) -> None:
    pages = SHEET.write_pdf(tmp_path / "tiles.pdf", paper=paper)  # type: ignore[arg-type]
    objects = pdf_objects(tmp_path / "tiles.pdf")
    boxes = [found.groups() for body in objects.values() if (found := MEDIA_BOX.search(body))]
    assert len(boxes) == pages
    np.testing.assert_allclose(np.array(boxes[0], float) / 72 * 25.4, [width_mm, height_mm], atol=0.01)
    covered = np.zeros((88, 198), bool)  # one cell a centimetre
    for body in objects.values():
        window = WINDOW.search(body)
        if window:
            left, bottom, wide, high, dx, dy = (float(number) / POINTS_PER_METRE * 100 for number in window.groups())
            x0, y0 = left - dx, bottom - dy
            columns, rows = np.arange(198) + 0.5, np.arange(88) + 0.5
            covered |= ((rows > y0) & (rows < y0 + high))[:, None] & ((columns > x0) & (columns < x0 + wide))[None]
    assert covered.all()


def test_every_page_carries_a_ruler_of_100_mm(tmp_path: Path) -> None:
    pages = SHEET.write_pdf(tmp_path / "tiles.pdf", paper="a3")
    bodies = [body for body in pdf_objects(tmp_path / "tiles.pdf").values() if b"100 mm" in body]
    assert len(bodies) == pages
    x0, x1 = map(float, re.search(rb"([\d.]+) [\d.]+ m ([\d.]+) [\d.]+ l S", bodies[0]).groups())
    assert (x1 - x0) / 72 * 25.4 == pytest.approx(100, abs=0.01)


def test_the_same_sheet_is_the_same_file_and_is_printed_as_it_is(tmp_path: Path) -> None:
    for name in ("one", "two"):
        SHEET.write_pdf(tmp_path / name, paper="a4")
    document = (tmp_path / "one").read_bytes()
    assert document == (tmp_path / "two").read_bytes()
    assert b"/PrintScaling /None" in document  # a reader that fits it to the page would change the tags' size


def test_a_known_camera_is_found_to_millimetres(picture: np.ndarray) -> None:
    estimate = TagCalibrator().estimate(picture, KINECT_720P, Bed())
    delta = pose_difference(VIEW.camera_from_bed, estimate.camera_from_bed)
    assert np.degrees(np.linalg.norm(delta[:3])) < 0.15
    assert np.linalg.norm(estimate.viewpoint.centre - VIEW.centre) < 0.008
    assert not estimate.confirmed
    assert estimate.method == "tags"


def test_the_posterior_is_wider_than_the_corners_alone_say(picture: np.ndarray) -> None:
    exact = TagSettings(placement_m=0, scale_error=0, focal_error=0)
    alone = TagCalibrator(settings=exact).estimate(picture, KINECT_720P, Bed())
    real = TagCalibrator().estimate(picture, KINECT_720P, Bed())
    assert real.centre_sigma_mm > 1.5 * alone.centre_sigma_mm
    assert real.rotation_sigma_deg > alone.rotation_sigma_deg


def test_the_same_picture_gives_the_same_estimate(picture: np.ndarray) -> None:
    first, second = (TagCalibrator().estimate(picture, KINECT_720P, Bed()) for _ in range(2))
    np.testing.assert_array_equal(first.covariance, second.covariance)


def test_the_posterior_covers_misplaced_sheets() -> None:
    inside, trials = 0, 8
    for trial in range(trials):
        rng = np.random.default_rng([7, trial])
        shift = shifted_on_plane(rng, 0.005, SHEET.width / 2)
        photo = picture_of_sheet(SHEET, KINECT_720P, VIEW.camera_from_bed @ shift, rng, subsamples=2)
        estimate = TagCalibrator().estimate(photo, KINECT_720P, Bed())
        delta = pose_difference(VIEW.camera_from_bed, estimate.camera_from_bed)
        inside += delta @ np.linalg.solve(estimate.covariance, delta) <= 12.59  # 95 % of chi² in six dimensions
    assert inside >= trials - 2


def test_three_tags_are_enough_and_said(picture: np.ndarray) -> None:
    hidden = picture.copy()
    quad = detect_tags(picture[..., 0], SHEET.ids)[0]
    cv2.fillConvexPoly(hidden, np.round(quad).astype(np.int32), (120, 120, 120))
    estimate = TagCalibrator().estimate(hidden, KINECT_720P, Bed())
    assert estimate.notes == ("tag 0 not read",)
    assert np.linalg.norm(estimate.viewpoint.centre - VIEW.centre) < 0.02


def test_tags_too_flat_to_decode_are_fitted_where_the_others_put_them() -> None:
    view = Viewpoint(0, 14, 3.0)
    photo = picture_of_sheet(SHEET, KINECT_720P, view.camera_from_bed, np.random.default_rng(2))
    assert len(detect_tags(photo[..., 0], SHEET.ids)) < 3
    estimate = TagCalibrator().estimate(photo, KINECT_720P, Bed())
    assert np.linalg.norm(estimate.viewpoint.centre - view.centre) < 0.01


def refusal(picture: np.ndarray, sheet: TagSheet = SHEET) -> str:
    with pytest.raises(WardposeError) as caught:
        TagCalibrator(sheet).estimate(picture, KINECT_720P, Bed())
    assert caught.value.mend
    return str(caught.value)


def test_two_covered_tags_are_refused_by_name(picture: np.ndarray) -> None:
    hidden = picture.copy()
    for tag, quad in detect_tags(picture[..., 0], SHEET.ids).items():
        if tag in (1, 2):
            cv2.fillConvexPoly(hidden, np.round(quad).astype(np.int32), (120, 120, 120))
    assert "2 of the sheet's 4 tags" in refusal(hidden)
    assert "1, 2" in refusal(hidden)


def test_a_mirrored_picture_is_refused(picture: np.ndarray) -> None:
    assert "mirrored" in refusal(np.ascontiguousarray(picture[:, ::-1]))


def test_a_blurred_picture_is_refused(picture: np.ndarray) -> None:
    assert "blurred" in refusal(cv2.GaussianBlur(picture, (0, 0), 6))


def test_an_over_exposed_picture_is_refused(picture: np.ndarray) -> None:
    assert "over-exposed" in refusal(np.clip(picture.astype(int) * 8, 0, 255).astype(np.uint8))


def test_a_dark_picture_is_refused(picture: np.ndarray) -> None:
    assert "dark" in refusal((picture // 64).astype(np.uint8))


def test_an_empty_picture_is_refused() -> None:
    noise = np.random.default_rng(0).integers(90, 130, (720, 1280, 3)).astype(np.uint8)
    assert "0 of the sheet's 4 tags" in refusal(noise)


def test_another_sheet_than_the_one_set_is_refused(picture: np.ndarray) -> None:
    assert "miss their places" in refusal(picture, TagSheet(width=1.6))


def test_a_sheet_larger_than_the_mattress_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(WardposeError, match="hangs over"):
        TagCalibrator().estimate(picture, KINECT_720P, Bed(1.6, 0.8))


def test_a_second_sheet_in_view_is_refused() -> None:
    raster = cv2.resize(SHEET.image(300), None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    canvas = np.full((720, 1280, 3), 255, np.uint8)
    for top in (40, 400):
        canvas[top : top + raster.shape[0], 100 : 100 + raster.shape[1]] = raster[..., None]
    assert "more than once" in refusal(canvas)


def test_a_picture_of_another_size_is_refused(picture: np.ndarray) -> None:
    assert "640×360" in refusal(cv2.resize(picture, (640, 360)))
