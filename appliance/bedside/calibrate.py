"""Calibrating this site: takes pictures of its camera and keeps none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.bedside.camera_access import take_pictures
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from calibration.atomic import disk_error
from calibration.errors import WardposeError
from calibration.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calibration.bed import Bed
    from calibration.calibrator import Calibrator
    from calibration.camera import CameraModel
    from calibration.estimate import CalibrationEstimate
    from calibration.intrinsics import IntrinsicsFit
    from runtime.frames import Frame

OnBetter = Callable[["Frame", "CalibrationEstimate"], None]


def site_bed(site: SiteFolder) -> Bed:
    """The bed of `site.toml`."""
    from calibration.bed import Bed

    return Bed(**load_settings(site).bed.model_dump())


def print_tag_sheet(site: SiteFolder, path: Path, *, paper: str = "sheet", board: str = "sheet") -> int:
    """Write the tag sheet for this site's bed, or the ChArUco board, as a PDF; returns the number of pages."""
    from calibration.charuco import CharucoCalibrator
    from calibration.tag_sheet import TagSheet

    try:
        if board == "charuco":
            return CharucoCalibrator().write_pdf(path)
        return TagSheet.for_bed(site_bed(site)).write_pdf(path, paper=paper)  # type: ignore[arg-type]
    except OSError as error:
        raise disk_error(error, path) from error


def calibrate(
    site: SiteFolder, method: str | Calibrator, *, source: str | None = None, intrinsics: Path | None = None,
    progress: Progress | None = None, on_better: OnBetter | None = None,
) -> CalibrationEstimate:  # fmt: skip
    """The estimate of any method, from as many pictures as it wants, none of which is kept.

    method: one made already, or the name of a registered one with its argument, `name:argument`. on_better: told the
    picture that the estimate goes best with, for a person to see the bed drawn on it. Raises `WardposeError` with the
    reason where no picture would do.
    """
    from calibration.calibrator import Sight
    from calibration.plugins import load_plugin

    bed = site_bed(site)
    if isinstance(method, str):
        name, _, argument = method.partition(":")
        calibrator: Calibrator = load_plugin("calibrators", name).from_argument(argument, bed)
    else:
        calibrator = method
    spec = tag_source(site, source) if calibrator.target else source or load_settings(site).camera.source
    frames = take_pictures(site, spec, calibrator.looks)
    up = _up(frames)
    sights = [
        Sight(frame.color, camera_of(frame, intrinsics), frame.depth, frame.depth_camera, frame.color_from_depth, up)
        for frame in frames
    ]
    estimate, shown = calibrator.calibrate(sights, bed, progress)
    if on_better is not None:
        on_better(next(frame for frame, sight in zip(frames, sights, strict=True) if sight is shown), estimate)
    return estimate


def calibrate_tags(
    site: SiteFolder, *, source: str | None = None, intrinsics: Path | None = None, progress: Progress | None = None,
    on_better: OnBetter | None = None, board: str = "sheet",
) -> CalibrationEstimate:  # fmt: skip
    """`calibrate` by the tag sheet on the empty bed, or by the ChArUco board: board "sheet" or "charuco"."""
    method = "charuco" if board == "charuco" else "tags"
    return calibrate(site, method, source=source, intrinsics=intrinsics, progress=progress, on_better=on_better)


def calibrate_by_depth(
    site: SiteFolder, *, source: str | None = None, intrinsics: Path | None = None, progress: Progress | None = None,
    on_better: OnBetter | None = None,
) -> CalibrationEstimate:  # fmt: skip
    """`calibrate` by some depth pictures of the bed as it is, without any target."""
    return calibrate(site, "depth", source=source, intrinsics=intrinsics, progress=progress, on_better=on_better)


def _up(frames: Sequence[Frame]) -> NDArray[np.float64] | None:
    """The direction against gravity (3,) in colour-camera coordinates; None for a camera that can't feel it."""
    from runtime.capture.gravity import up_in_color

    try:
        return up_in_color(frames).up
    except WardposeError:
        return None


def calibrate_by_corners(
    site: SiteFolder,
    corners_px: Sequence[tuple[float, float]],
    *,
    source: str | None = None,
    intrinsics: Path | None = None,
    on_better: OnBetter | None = None,
) -> CalibrationEstimate:
    """`calibrate` by four clicked mattress corners, in the order of `Bed.corners`."""
    from calibration.corners import CornerCalibrator

    return calibrate(site, CornerCalibrator(corners_px), source=source, intrinsics=intrinsics, on_better=on_better)


def calibrate_by_hand(
    site: SiteFolder, *, azimuth_deg: float, elevation_deg: float, distance: float, roll_deg: float = 0.0,
    look_at: tuple[float, float, float] = (0.0, 0.0, 0.0), source: str | None = None, intrinsics: Path | None = None,
    on_better: OnBetter | None = None,
) -> CalibrationEstimate:  # fmt: skip
    """`calibrate` by measures taken with a tape."""
    from calibration.manual import ManualCalibrator
    from calibration.viewpoint import Viewpoint

    try:
        view = Viewpoint(azimuth_deg, elevation_deg, distance, roll_deg, look_at)
    except ValueError as error:
        raise WardposeError(str(error), where="calibrate manual", mend="measure again") from None
    return calibrate(site, ManualCalibrator(view), source=source, intrinsics=intrinsics, on_better=on_better)


def measure_lens(
    pictures: Sequence[Path], out: Path, *, squares: tuple[int, int], square_m: float, marker_m: float
) -> IntrinsicsFit:
    """A camera's intrinsics from photographs of a ChArUco board, written to `out` for `camera_of` to read."""
    from calibration.atomic import write_text
    from calibration.board import Board
    from calibration.intrinsics import calibrate_intrinsics
    from calibration.lens_file import lens_text
    from runtime.capture.photograph import read_photograph

    try:
        board = Board(*squares, square_m, marker_m)
    except ValueError as error:
        raise WardposeError(str(error), where="calibrate intrinsics", mend="measure the board again") from None
    images = []
    for path in pictures:
        images.append(read_photograph(path))
    fit = calibrate_intrinsics(images, board)
    try:
        write_text(out, lens_text(fit.camera))
    except OSError as error:
        raise disk_error(error, out) from error
    return fit


def camera_of(frame: Frame, intrinsics: Path | None) -> CameraModel:
    """The lens a frame was taken with: read from `intrinsics` when given, else what the source itself knows."""
    height, width = frame.color.shape[:2]
    if intrinsics is None:
        if frame.camera is None:
            raise WardposeError(
                "the source does not know its lens",
                where=frame.source,
                mend="give it with --intrinsics calibration.json",
            )
        return frame.camera
    from calibration.lens_file import read_lens

    return read_lens(intrinsics, (width, height))


def tag_source(site: SiteFolder, source: str | None = None) -> str:
    """The source whose bed bears the tag sheet: `source`, or the site's camera."""
    from runtime.capture.source import with_target

    return with_target(source or load_settings(site).camera.source)
