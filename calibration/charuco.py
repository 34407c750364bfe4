"""Calibration from a ChArUco board laid centred on the mattress, its first row of squares toward the patient's left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.board import Board, BoardView, detect_board
from calibration.calibrator import Sight, best_of, takes_no_argument
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.posterior import Transform, model_covariance, scaled_focal, shifted_on_plane, solve_pose
from calibration.progress import Progress
from calibration.tags import CALIBRATION_HEIGHT_PX, LOOKS, TagSettings, picture_is_blurred

BED_BOARD = Board(7, 5, 0.11, 0.083)
WHERE = "ChArUco board"
FLAT_RMS_PX = 0.8  # photographs of a flat board reach 0.27 to 0.61 px; a bent one is pressed onto a wrong pose
FEWEST_CORNERS = 8


class CharucoCalibrator:
    """Finds the camera's pose in the bed frame from a picture of a board whose columns run from head to foot."""

    name = "charuco"
    looks = LOOKS
    target = True

    def __init__(self, board: Board = BED_BOARD, settings: TagSettings | None = None) -> None:
        self.board = board
        self.settings = settings if settings is not None else TagSettings(largest_rms_px=FLAT_RMS_PX)

    @classmethod
    def from_argument(cls, argument: str, bed: Bed) -> CharucoCalibrator:
        """For the board that is printed for every bed."""
        takes_no_argument(cls.name, argument)
        return cls()

    @property
    def width(self) -> float:
        """The board's extent along the bed, metres."""
        return self.board.squares_x * self.board.square_length

    @property
    def height(self) -> float:
        """The board's extent across the bed, metres."""
        return self.board.squares_y * self.board.square_length

    def calibrate(
        self, sights: Sequence[Sight], bed: Bed, progress: Progress | None = None
    ) -> tuple[CalibrationEstimate, Sight]:
        """The best estimate of the sights."""
        return best_of(lambda sight: self.estimate(sight.color, sight.camera, bed), sights, progress)

    def estimate(self, color: NDArray[np.uint8], camera: CameraModel, bed: Bed) -> CalibrationEstimate:
        """The estimate from color (H, W, 3) RGB or (H, W) grey, uint8, as the lens saw it; unconfirmed.

        Raises WardposeError with the reason when the picture cannot be trusted.
        """
        if color.shape[:2] != (camera.height, camera.width):
            raise WardposeError(
                f"the picture is {color.shape[1]}×{color.shape[0]}, the intrinsics are for "
                f"{camera.width}×{camera.height}",
                where=WHERE,
                mend="calibrate with pictures of the resolution the camera runs at",
            )
        view = self._read(color)
        points = self.on_bed(view.points)
        solution = solve_pose(points, view.pixels, camera)
        allowed = self.settings.largest_rms_px * camera.height / CALIBRATION_HEIGHT_PX
        if solution is None or solution.rms_px > allowed:
            missed = "" if solution is None else f" ({solution.rms_px:.1f} px off, {allowed:.1f} px is the most)"
            raise WardposeError(
                f"no camera pose explains the board's corners{missed}",
                where=WHERE,
                mend="flatten the board, check its measures and the intrinsics",
            )
        reference = solution.camera_from_points
        if (reference[:3, :3].T @ reference[:3, 3])[2] >= 0:
            raise WardposeError(
                "the camera comes out below the mattress: the picture is mirrored",
                where=WHERE,
                mend="turn the camera's mirror setting off",
            )
        covariance = solution.covariance(self.settings.corner_sigma_floor_px) + self._model_covariance(
            points, view.pixels, camera, reference
        )
        return CalibrationEstimate(
            camera=camera, bed=bed, camera_from_bed=reference, covariance=covariance,
            reprojection_px=solution.rms_px, method=self.name, made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            notes=(f"{len(points)} corners of the board read",),
        )  # fmt: skip

    def on_bed(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (N, 3) of the board (x right, y down, from its upper left corner) in the bed frame."""
        return np.column_stack([points[:, 0] - self.width / 2, self.height / 2 - points[:, 1], np.zeros(len(points))])

    def image(self, px_per_metre: float = 800.0) -> NDArray[np.uint8]:
        """The board as a grey picture: its left edge lies toward the head, its upper edge at the patient's left."""
        size = (round(self.width * px_per_metre), round(self.height * px_per_metre))
        return np.asarray(self.board.to_opencv().generateImage(size, marginSize=0, borderBits=1), np.uint8)

    def write_pdf(self, path: Path | str) -> int:
        """Write the board as a PDF of its full size with a ruler of 100 mm; returns the number of pages."""
        from calibration.pdf import fill_cells, write_pages

        size = (self.width, self.height)
        # A whole number of pixels a millimetre keeps every edge exact.
        black = self.image(1000.0) < 128
        hint = "the head lies at the left edge; ChArUco 5X5_100"
        return write_pages(
            Path(path),
            size,
            lambda canvas: fill_cells(canvas, black, (0.0, 0.0), size),
            "sheet",
            "wardpose board",
            hint,
        )

    def _read(self, color: NDArray[np.uint8]) -> BoardView:
        view = detect_board(color, self.board)
        if view is not None and len(view.ids) >= FEWEST_CORNERS:
            return view
        grey = np.asarray(color if color.ndim == 2 else cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), np.uint8)
        found = (
            f"{0 if view is None else len(view.ids)} of the board's corners can be read, {FEWEST_CORNERS} are needed"
        )
        if (grey >= 250).mean() > 0.35:
            raise WardposeError(f"the picture is over-exposed: {found}", where=WHERE, mend="lower the exposure")
        if detect_board(np.ascontiguousarray(grey[:, ::-1]), self.board) is not None:
            raise WardposeError("the picture is mirrored", where=WHERE, mend="turn the camera's mirror setting off")
        if picture_is_blurred(grey):
            raise WardposeError(f"the picture is blurred: {found}", where=WHERE, mend="hold the camera still")
        raise WardposeError(
            found, where=WHERE, mend="uncover the board, check that it is the right one, or raise the camera above 30°"
        )

    def _model_covariance(
        self, points: NDArray[np.float64], pixels: NDArray[np.float64], camera: CameraModel, reference: Transform
    ) -> NDArray[np.float64]:
        settings, half_length = self.settings, self.width / 2

        def refit(rng: np.random.Generator) -> Transform | None:
            scale = 1 + rng.normal(0.0, settings.scale_error)
            lens = scaled_focal(camera, 1 + rng.normal(0.0, settings.focal_error))
            bed_from_board = shifted_on_plane(rng, settings.placement_m, half_length)
            solution = solve_pose(points * scale, pixels, lens, start=reference)
            return None if solution is None else solution.camera_from_points @ np.linalg.inv(bed_from_board)

        return model_covariance(refit, reference, np.random.default_rng(settings.seed), settings.draws)
