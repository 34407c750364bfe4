"""Calibration from the tag sheet on the mattress: one picture, four tags, a pose and how well it is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from calibration.bed import Bed
from calibration.calibrator import Sight, best_of, takes_no_argument
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.posterior import PoseSolution, Transform, model_covariance, scaled_focal, shifted_on_plane, solve_pose
from calibration.progress import Progress
from calibration.tag_refine import RefinedTag, refine_tag
from calibration.tag_sheet import TagSheet

CALIBRATION_HEIGHT_PX = 720  # picture height for which pixel tolerances are stated
LARGEST_ENLARGED_PX = 1600  # taller pictures show flat tags well enough
OVERHANG_M = 0.05
LOOKS = 5


class TagSettings(BaseModel):
    """How the tag sheet is read and what is assumed about its errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fewest_tags: int = Field(default=3, ge=3, le=4, title="Fewest tags that must be read")
    placement_m: float = Field(default=0.01, ge=0, le=0.1, title="How well the sheet is centred (one σ, metres)")
    scale_error: float = Field(default=0.003, ge=0, le=0.05, title="Printed scale's error (one σ, share of the size)")
    focal_error: float = Field(default=0.002, ge=0, le=0.05, title="Focal length's error (one σ, share)")
    corner_sigma_floor_px: float = Field(default=0.03, gt=0, le=5, title="Least corner noise believed (one σ, pixels)")
    largest_rms_px: float = Field(
        default=2.0, gt=0, le=20, title="Largest reprojection error (RMS, pixels at 720 lines)"
    )
    largest_misfit: float = Field(
        default=0.2, gt=0, le=1, title="Most that a tag may differ from print (share of contrast)"
    )
    largest_blur_cells: float = Field(default=0.6, gt=0, le=2, title="Largest blur (one σ, in cells of a tag)")
    draws: int = Field(default=150, ge=50, le=5000, title="Monte-Carlo draws for the errors of the model")
    seed: int = Field(default=0, ge=0, title="Seed of those draws")


class TagCalibrator:
    """Finds the camera's pose in the bed frame from a picture of the tag sheet laid centred on the mattress."""

    name = "tags"
    looks = LOOKS
    target = True

    def __init__(self, sheet: TagSheet | None = None, settings: TagSettings | None = None) -> None:
        """sheet: the one that was printed; by default the one for a 2.0 × 0.9 m mattress."""
        self.sheet = sheet if sheet is not None else TagSheet()
        self.settings = settings if settings is not None else TagSettings()

    @classmethod
    def from_argument(cls, argument: str, bed: Bed) -> TagCalibrator:
        """For the sheet of this bed."""
        takes_no_argument(cls.name, argument)
        return cls(TagSheet.for_bed(bed))

    def calibrate(
        self, sights: Sequence[Sight], bed: Bed, progress: Progress | None = None
    ) -> tuple[CalibrationEstimate, Sight]:
        """The best estimate of the sights."""
        return best_of(lambda sight: self.estimate(sight.color, sight.camera, bed), sights, progress)

    def estimate(self, color: NDArray[np.uint8], camera: CameraModel, bed: Bed) -> CalibrationEstimate:
        """The estimate from color (H, W, 3) RGB or (H, W) grey, uint8, as the lens saw it.

        The result is unconfirmed: whether the head mark lies at the head is for a person to say. Raises
        WardposeError with the reason when the picture cannot be trusted.
        """
        grey = _grey(color, camera)
        self._refuse_overhang(bed)
        corners = self._read_tags(grey, camera)
        points = np.concatenate([self.sheet.corners_bed[tag] for tag in corners])
        pixels = np.concatenate(list(corners.values()))
        solution = solve_pose(points, pixels, camera)
        if solution is None:
            raise WardposeError(
                "no camera pose in front of the sheet explains the tags",
                where="tag sheet",
                mend="check that the sheet's size and the camera's resolution are the ones set",
            )
        self._refuse_misfit(solution, camera)
        covariance = solution.covariance(self.settings.corner_sigma_floor_px) + self._model_covariance(
            solution, points, pixels, camera
        )
        return CalibrationEstimate(
            camera=camera, bed=bed, camera_from_bed=solution.camera_from_points, covariance=covariance,
            reprojection_px=solution.rms_px, method=self.name, made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            notes=self._notes(grey, corners),
        )  # fmt: skip

    def _model_covariance(
        self, solution: PoseSolution, points: NDArray[np.float64], pixels: NDArray[np.float64], camera: CameraModel
    ) -> NDArray[np.float64]:
        settings, half_length = self.settings, self.sheet.width / 2

        def refit(rng: np.random.Generator) -> Transform | None:
            scale = 1 + rng.normal(0.0, settings.scale_error)
            lens = scaled_focal(camera, 1 + rng.normal(0.0, settings.focal_error))
            bed_from_sheet = shifted_on_plane(rng, settings.placement_m, half_length)
            refitted = solve_pose(points * scale, pixels, lens, start=solution.camera_from_points)
            return None if refitted is None else refitted.camera_from_points @ np.linalg.inv(bed_from_sheet)

        return model_covariance(
            refit, solution.camera_from_points, np.random.default_rng(settings.seed), settings.draws
        )

    def _clear(
        self, grey: NDArray[np.uint8], quads: dict[int, NDArray[np.float64]], camera: CameraModel
    ) -> dict[int, RefinedTag]:
        """The tags among `quads` (4, 2) px whose picture is what was printed."""
        fits = {tag: refine_tag(grey, quad, tag, camera) for tag, quad in quads.items()}
        most = self.settings.largest_misfit
        return {tag: fit for tag, fit in fits.items() if fit is not None and fit.misfit <= most}

    def _expected(self, clear: dict[int, RefinedTag], camera: CameraModel) -> dict[int, NDArray[np.float64]]:
        """Where (4, 2) px the tags that are not `clear` must be, going by those that are."""
        sheet = self.sheet.corners_bed
        points = np.concatenate([sheet[tag] for tag in clear])
        pixels = np.concatenate([fit.corners for fit in clear.values()])
        solution = solve_pose(points, pixels, camera)
        if solution is None:
            return {}
        pose = solution.camera_from_points
        in_camera = {tag: corners @ pose[:3, :3].T + pose[:3, 3] for tag, corners in sheet.items() if tag not in clear}
        return {tag: camera.project(corners) for tag, corners in in_camera.items() if corners[:, 2].min() > 0.05}

    def _unreadable(self, grey: NDArray[np.uint8], readable: tuple[int, ...]) -> WardposeError:
        """Why too few tags were read, the likeliest reason first."""
        found = f"{len(readable)} of the sheet's 4 tags can be read, {self.settings.fewest_tags} are needed"
        if len(detect_tags(np.ascontiguousarray(grey[:, ::-1]), self.sheet.ids)) >= self.settings.fewest_tags:
            return WardposeError(
                "the picture is mirrored", where="tag sheet", mend="turn the camera's mirror setting off"
            )
        if (grey >= 250).mean() > 0.35:
            return WardposeError(
                f"the picture is over-exposed: {found}", where="tag sheet", mend="lower the exposure or dim the light"
            )
        if grey.mean() < 20:
            return WardposeError(
                f"the picture is too dark: {found}", where="tag sheet", mend="raise the exposure or switch a light on"
            )
        if picture_is_blurred(grey):
            return WardposeError(
                f"the picture is blurred: {found}", where="tag sheet", mend="clean the lens, hold the camera still"
            )
        missing = ", ".join(str(tag) for tag in self.sheet.ids if tag not in readable)
        return WardposeError(
            found,
            where="tag sheet",
            mend=f"uncover and bring into view the tags {missing}, flatten the sheet, or raise the camera",
        )

    def _refuse_overhang(self, bed: Bed) -> None:
        if self.sheet.width > bed.length + OVERHANG_M or self.sheet.height > bed.width + OVERHANG_M:
            raise WardposeError(
                f"a sheet of {self.sheet.width:g} × {self.sheet.height:g} m hangs over a mattress of "
                f"{bed.length:g} × {bed.width:g} m",
                where="tag sheet",
                mend="set the mattress's length and width, or print a sheet for this bed",
            )

    def _read_tags(self, grey: NDArray[np.uint8], camera: CameraModel) -> dict[int, NDArray[np.float64]]:
        """Refined corners (4, 2) px by tag id of every tag that can be trusted; refuses when they are too few."""
        clear = self._clear(grey, detect_tags(grey, self.sheet.ids), camera)
        decoded = tuple(clear.values())
        if 2 <= len(decoded) < len(self.sheet.ids):
            # A tag too flat to be decoded can still be fitted where the others say that it must be. With enough blur
            # a plain patch fits any tag, so it must be about as sharp as they are.
            blurriest = 1.5 * max(fit.blur_px for fit in decoded)
            fitted = self._clear(grey, self._expected(clear, camera), camera)
            clear |= {tag: fit for tag, fit in fitted.items() if fit.blur_px <= blurriest}
        if len(clear) < self.settings.fewest_tags:
            raise self._unreadable(grey, tuple(clear))
        blur = float(np.median([fit.blur_cells for fit in decoded]))
        if blur > self.settings.largest_blur_cells:
            raise WardposeError(
                f"the picture is blurred over {blur:.2f} of a tag's cell "
                f"({self.settings.largest_blur_cells} is the most)",
                where="tag sheet",
                mend="clean the lens, hold the camera still, add light",
            )
        return {tag: fit.corners for tag, fit in clear.items()}

    def _refuse_misfit(self, solution: PoseSolution, camera: CameraModel) -> None:
        allowed = self.settings.largest_rms_px * camera.height / CALIBRATION_HEIGHT_PX
        if solution.rms_px > allowed:
            raise WardposeError(
                f"the tags miss their places by {solution.rms_px:.1f} px, {allowed:.1f} px is the most",
                where="tag sheet",
                mend="flatten the sheet, and check that its size and the camera's resolution are the ones set",
            )
        pose = solution.camera_from_points
        if -(pose[:3, :3].T @ pose[:3, 3])[2] <= 0:
            raise WardposeError(
                "the camera comes out below the mattress", where="tag sheet", mend="lay the sheet with its print upward"
            )

    def _notes(self, grey: NDArray[np.uint8], corners: dict[int, NDArray[np.float64]]) -> tuple[str, ...]:
        notes = []
        if missing := [tag for tag in self.sheet.ids if tag not in corners]:
            notes.append(f"tag {', '.join(map(str, missing))} not read")
        inside = np.zeros(grey.shape, np.uint8)
        for quad in corners.values():
            cv2.fillConvexPoly(inside, np.round(quad).astype(np.int32), 255)
        if (grey[inside > 0] >= 254).mean() > 0.25:
            notes.append("the paper's white is clipped; a lower exposure is safer")
        return tuple(notes)


def detect_tags(grey: NDArray[np.uint8], ids: tuple[int, ...]) -> dict[int, NDArray[np.float64]]:
    """Outer corners (4, 2) px by tag id, in the order of `TagSheet.corners_bed`; tags of other ids are left out.

    The corners are the detector's, good to a few pixels; `refine_tag` makes them exact. Tags missing at first are
    looked for once more in the picture enlarged, where those seen at a flat angle show. A tag seen twice raises
    WardposeError: two sheets in view cannot be told apart.
    """
    corners = _detect_once(grey, ids)
    if len(corners) < len(ids) and grey.shape[0] <= LARGEST_ENLARGED_PX:
        larger = cv2.resize(grey, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        enlarged = _detect_once(np.asarray(larger, dtype=np.uint8), ids)
        corners = {tag: (quad + 0.5) / 2 - 0.5 for tag, quad in enlarged.items()} | corners
    return dict(sorted(corners.items()))


def _detect_once(grey: NDArray[np.uint8], ids: tuple[int, ...]) -> dict[int, NDArray[np.float64]]:
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    parameters.minMarkerPerimeterRate = 0.02
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11), parameters)
    quads, found, _ = detector.detectMarkers(grey)
    if found is None:
        return {}
    tags = [int(tag) for tag in np.ravel(found)]
    twice = [tag for tag, count in Counter(tags).items() if count > 1 and tag in ids]
    if twice:
        raise WardposeError(
            f"tag {twice[0]} is in the picture more than once", where="tag sheet", mend="leave one sheet in view"
        )
    return {
        tag: np.asarray(quad, dtype=np.float64).reshape(4, 2)
        for tag, quad in zip(tags, quads, strict=True)
        if tag in ids
    }


def picture_is_blurred(grey: NDArray[np.uint8]) -> bool:
    """True when fine detail is absent: blurring the picture a little more changes its gradients hardly at all."""
    small = cv2.resize(
        grey,
        None,
        fx=CALIBRATION_HEIGHT_PX / grey.shape[0],
        fy=CALIBRATION_HEIGHT_PX / grey.shape[0],
        interpolation=cv2.INTER_AREA,
    )
    smooth = cv2.GaussianBlur(small, (0, 0), 1.5).astype(np.float32)  # first, so that sensor noise is no detail
    strength = [
        float(np.percentile(np.hypot(cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)), 99.5))
        for image in (smooth, cv2.GaussianBlur(smooth, (0, 0), 3.0))
    ]
    return strength[1] > 0.72 * strength[0]


def _grey(color: NDArray[np.uint8], camera: CameraModel) -> NDArray[np.uint8]:
    if color.dtype != np.uint8 or color.ndim not in (2, 3) or (color.ndim == 3 and color.shape[2] != 3):
        raise ValueError(f"color must be (H, W, 3) or (H, W) uint8, got {color.shape} {color.dtype}")
    if color.shape[:2] != (camera.height, camera.width):
        raise WardposeError(
            f"the picture is {color.shape[1]}×{color.shape[0]}, "
            f"the camera's intrinsics are for {camera.width}×{camera.height}",
            where="calibration",
            mend="calibrate with pictures of the resolution the camera runs at",
        )
    return np.ascontiguousarray(color if color.ndim == 2 else cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
