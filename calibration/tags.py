"""Calibration from the tag sheet on the mattress: one picture, four tags, a pose and how well it is known."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.posterior import PoseSolution, Transform, model_covariance, scaled_focal, shifted_on_plane, solve_pose
from calibration.tag_sheet import CELLS, TagSheet

CALIBRATION_HEIGHT_PX = 720  # picture height for which pixel tolerances are stated


class TagSettings(BaseModel):
    """How the tag sheet is read and what is assumed about its errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fewest_tags: int = Field(default=3, ge=3, le=4, title="Fewest tags that must be read")
    placement_m: float = Field(default=0.005, ge=0, le=0.1, title="How well the sheet is centred (one σ, metres)")
    scale_error: float = Field(default=0.003, ge=0, le=0.05, title="Printed scale's error (one σ, share of the size)")
    focal_error: float = Field(default=0.002, ge=0, le=0.05, title="Focal length's error (one σ, share)")
    corner_sigma_floor_px: float = Field(default=0.1, gt=0, le=5, title="Least corner noise believed (one σ, pixels)")
    largest_rms_px: float = Field(
        default=2.0, gt=0, le=20, title="Largest reprojection error (RMS, pixels at 720 lines)"
    )
    largest_blur_cells: float = Field(default=0.5, gt=0, le=2, title="Largest blur (one σ, in cells of a tag)")
    draws: int = Field(default=150, ge=50, le=5000, title="Monte-Carlo draws for the errors of the model")
    seed: int = Field(default=0, ge=0, title="Seed of those draws")


class TagCalibrator:
    """Finds the camera's pose in the bed frame from a picture of the tag sheet laid centred on the mattress."""

    name = "tags"

    def __init__(self, sheet: TagSheet | None = None, settings: TagSettings | None = None) -> None:
        """sheet: the one that was printed; by default the one for a 2.0 × 0.9 m mattress."""
        self.sheet = sheet if sheet is not None else TagSheet()
        self.settings = settings if settings is not None else TagSettings()

    def estimate(self, color: NDArray[np.uint8], camera: CameraModel, bed: Bed) -> CalibrationEstimate:
        """The estimate from color (H, W, 3) RGB or (H, W) grey, uint8, as the lens saw it.

        The result is unconfirmed: whether the head mark lies at the head is for a person to say. Raises
        WardposeError with the reason when the picture cannot be trusted.
        """
        grey = _grey(color, camera)
        corners = detect_tags(grey, self.sheet.ids)
        if len(corners) < self.settings.fewest_tags:
            raise self._unreadable(grey, corners)
        self._refuse_blur(grey, corners)
        points = np.concatenate([self.sheet.corners_bed[tag] for tag in corners])
        pixels = np.concatenate(list(corners.values()))
        solution = solve_pose(points, pixels, camera)
        if solution is None:
            raise WardposeError(
                "no camera pose in front of the sheet explains the tags", where="tag sheet",
                mend="check that the sheet's size and the camera's resolution are the ones set",
            )  # fmt: skip
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

    def _unreadable(self, grey: NDArray[np.uint8], corners: dict[int, NDArray[np.float64]]) -> WardposeError:
        """Why too few tags were read, the likeliest reason first."""
        found = f"{len(corners)} of the sheet's 4 tags can be read, {self.settings.fewest_tags} are needed"
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
        missing = ", ".join(str(tag) for tag in self.sheet.ids if tag not in corners)
        return WardposeError(
            found, where="tag sheet",
            mend=f"uncover and bring into view the tags {missing}, flatten the sheet, or raise the camera",
        )  # fmt: skip

    def _refuse_blur(self, grey: NDArray[np.uint8], corners: dict[int, NDArray[np.float64]]) -> None:
        blurs = [edge_blur(grey, quad) for quad in corners.values()]
        if (worst := float(np.median(blurs))) > self.settings.largest_blur_cells:
            raise WardposeError(
                f"the tags are blurred over {worst:.2f} of a cell, {self.settings.largest_blur_cells} is the most",
                where="tag sheet", mend="clean the lens, hold the camera still, add light",
            )  # fmt: skip

    def _refuse_misfit(self, solution: PoseSolution, camera: CameraModel) -> None:
        allowed = self.settings.largest_rms_px * camera.height / CALIBRATION_HEIGHT_PX
        if solution.rms_px > allowed:
            raise WardposeError(
                f"the tags miss their places by {solution.rms_px:.1f} px, {allowed:.1f} px is the most",
                where="tag sheet",
                mend="flatten the sheet, and check that its size and the camera's resolution are the ones set",
            )  # fmt: skip
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

    A tag seen twice raises WardposeError: two sheets in view cannot be told apart.
    """
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    parameters.cornerRefinementWinSize = max(4, round(4 * grey.shape[0] / CALIBRATION_HEIGHT_PX))
    parameters.cornerRefinementMinAccuracy = 0.01
    parameters.minMarkerPerimeterRate = 0.02
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11), parameters)
    quads, found, _ = detector.detectMarkers(grey)
    if found is None:
        return {}
    pairs = [
        (int(tag), np.asarray(quad, dtype=np.float64).reshape(4, 2))
        for tag, quad in zip(np.ravel(found), quads, strict=True)
        if int(tag) in ids
    ]
    twice = [tag for tag, count in Counter(tag for tag, _ in pairs).items() if count > 1]
    if twice:
        raise WardposeError(
            f"tag {twice[0]} is in the picture more than once", where="tag sheet", mend="leave one sheet in view"
        )
    return dict(sorted(pairs))


def edge_blur(grey: NDArray[np.uint8], quad: NDArray[np.float64]) -> float:
    """Blur (one σ) of a tag's outer edges in cells of that tag, the sharper direction left out.

    The grey profile across an edge, averaged along it, is a blurred step; the spread of its derivative is the blur.
    """
    spreads = []
    along = np.linspace(0.15, 0.85, 15)[:, None]
    across = np.linspace(-0.9, 0.9, 37)
    centre = quad.mean(axis=0)
    for start, end in zip(quad, np.roll(quad, -1, axis=0), strict=True):
        on_edge = start + along * (end - start)
        inward = (centre - on_edge) * (2 / CELLS)  # one cell toward the tag's middle, perspective aside
        samples = on_edge[:, None] + across[None, :, None] * inward[:, None]
        profile = cv2.remap(
            grey, samples[..., 0].astype(np.float32), samples[..., 1].astype(np.float32), cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float64).mean(axis=0)  # fmt: skip
        slope = np.clip(-np.diff(profile), 0, None)
        weight = slope.sum()
        middle = (across[1:] + across[:-1]) / 2
        if weight < 8:
            spreads.append(1.0)
            continue
        mean = (slope * middle).sum() / weight
        spreads.append(float(np.sqrt((slope * (middle - mean) ** 2).sum() / weight)))
    return max(spreads)


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
            where="calibration", mend="calibrate with pictures of the resolution the camera runs at",
        )  # fmt: skip
    return np.ascontiguousarray(color if color.ndim == 2 else cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
