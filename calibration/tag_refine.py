"""Tag corners by fitting the whole tag's picture, not its four corners alone.

A blurred corner is rounded, and a corner finder reads it up to a pixel inside the tag, which puts the camera too far
away. Every cell edge of the tag carries the same geometry, so the tag's known pattern is fitted to the grey values
around it: four corners, one blur, and a shade of black and of white that may slope across the tag.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.tag_sheet import CELLS, tag_cells

RIM = 0.6  # cells of the quiet zone that are compared; what lies beyond it is unknown
LARGEST_MOVE_CELLS = 0.6
ITERATIONS, SETTLED_PX = 12, 0.01
SAMPLES, COARSE_CELL_PX = 2, 9.0  # points a pixel, each way; where cells are larger than this, one is enough


@dataclass(frozen=True, slots=True)
class RefinedTag:
    """corners: (4, 2) px, in the detector's order. blur_px, blur_cells: the picture's blur (one σ), in pixels and in
    this tag's cells where they are narrowest.
    misfit: root mean square of what the fit leaves, as a share of the contrast between black and white."""

    corners: NDArray[np.float64]
    blur_px: float
    blur_cells: float
    misfit: float


def refine_tag(
    grey: NDArray[np.uint8], quad: NDArray[np.float64], tag_id: int, camera: CameraModel
) -> RefinedTag | None:
    """Tag `tag_id` near the corners `quad` (4, 2) px, or None where the fit does not settle.

    Gauss–Newton with damping over the corners (on the undistorted picture, where the tag's picture is a homography)
    and the blur; the shades are solved exactly in every step.
    """
    centre = quad.mean(axis=0)
    if not ((centre > 0) & (centre < [camera.width, camera.height])).all():
        return None
    fit = _TagFit(grey, quad, tag_id, camera)
    if fit.weight.sum() < 60:
        return None
    parameters = np.concatenate([fit.straight(quad).ravel(), [math.log(0.8 * max(1.0, camera.height / 1500))]])
    residual = fit.residual(parameters)
    damping, steps = 1e-3, np.array([0.02 / fit.focal] * 8 + [0.05])
    for _ in range(ITERATIONS):
        columns = []
        for index, step in enumerate(steps):
            moved = parameters.copy()
            moved[index] += step
            columns.append((fit.residual(moved) - residual) / step)
        jacobian = np.stack(columns, axis=1)
        normal, gradient = jacobian.T @ jacobian, jacobian.T @ residual
        change = np.linalg.solve(normal + damping * np.diag(np.diag(normal)) + 1e-12 * np.eye(9), -gradient)
        trial = parameters + change
        trial[8] = np.clip(trial[8], math.log(0.2), math.log(12.0))
        outcome = fit.residual(trial)
        if outcome @ outcome < residual @ residual:
            settled = float(np.abs(trial[:8] - parameters[:8]).max()) * fit.focal < SETTLED_PX
            parameters, residual, damping = trial, outcome, max(damping / 5, 1e-6)
            if settled:
                break
        else:
            damping *= 8
            if damping > 1e4:
                break
    corners = fit.bent(parameters[:8].reshape(4, 2))
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    moved_px = float(np.linalg.norm(corners - quad, axis=1).max())
    # The detector misses a small tag's corners by pixels, so the least that may be mended does not shrink with the tag.
    if not np.isfinite(corners).all() or moved_px > max(4.0, LARGEST_MOVE_CELLS * float(sides.max()) / CELLS):
        return None
    blur_px = math.exp(parameters[8])
    misfit = float(np.sqrt(np.mean(residual**2))) / max(fit.contrast(parameters), 1.0)
    return RefinedTag(corners, blur_px, blur_px * CELLS / float(sides.min()), misfit)


class _TagFit:
    """The part of the picture around one tag, and the difference from it for given corners and blur."""

    def __init__(self, grey: NDArray[np.uint8], quad: NDArray[np.float64], tag_id: int, camera: CameraModel) -> None:
        self.camera, self.focal = camera, (camera.fx + camera.fy) / 2
        centre = quad.mean(axis=0)
        reach = np.abs(quad - centre).max(axis=0) * (1 + 2 * (RIM + 0.4) / CELLS) + 4
        left, top = np.maximum(np.floor(centre - reach), 0).astype(int).tolist()
        right, bottom = (
            np.minimum(np.ceil(centre + reach), [camera.width - 1, camera.height - 1]).astype(int) + 1
        ).tolist()
        self.shape = (bottom - top, right - left)
        columns, rows = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
        pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64)
        rays = camera.unproject(pixels)[:, :2].reshape(*self.shape, 2)
        along, down = np.gradient(rays, axis=1), np.gradient(rays, axis=0)
        cell_px = float(np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1).min()) / CELLS
        count = SAMPLES if cell_px < COARSE_CELL_PX else 1
        offsets = (np.arange(count) + 0.5) / count - 0.5
        # Rays through several points of every pixel: (count², rows, columns, 2).
        self.rays = np.stack([rays + u * along + v * down for v in offsets for u in offsets])
        # One ring of white around the tag, so that a point beyond the quiet zone reads as paper.
        self.cells = np.ones((CELLS + 2, CELLS + 2))
        self.cells[1:-1, 1:-1] = ~tag_cells(tag_id)
        u, v = self._in_cells(self.straight(quad), rays)
        inside = (np.minimum(u, v) > -RIM) & (np.maximum(u, v) < CELLS + RIM)
        self.weight = inside.astype(np.float64)
        across, along_rows = u[inside] / CELLS - 0.5, v[inside] / CELLS - 0.5
        self.slopes = np.stack([np.ones_like(across), across, along_rows], axis=1)
        self.inside = inside
        # What one of those points stands for, in cells: edges become ramps this wide, so that the difference is smooth.
        self.ramp_u, self.ramp_v = (
            max(float(sum(np.abs(np.gradient(cells, axis=axis)).mean() for axis in (0, 1))) / count, 1e-3)
            for cells in (u, v)
        )
        self.seen = grey[top:bottom, left:right][inside].astype(np.float64)

    def straight(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (N, 2) on z = 1 of pixels (N, 2)."""
        return self.camera.unproject(pixels)[:, :2]

    def bent(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (N, 2) of points (N, 2) on z = 1."""
        return self.camera.project(np.column_stack([points, np.ones(len(points))]))

    def residual(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seen minus expected grey (M,) after the best shades of black and white."""
        shades, solution = self._shades(parameters)
        return np.asarray(self.seen - shades @ solution, dtype=np.float64)

    def contrast(self, parameters: NDArray[np.float64]) -> float:
        """White minus black in grey values, in the tag's middle."""
        return float(self._shades(parameters)[1][3])

    def _shades(self, parameters: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The six shades (M, 6): black and its slopes, white over black and its slopes; and their best weights (6,)."""
        u, v = self._in_cells(parameters[:8].reshape(4, 2), self.rays)
        column, right = _ramped(u, self.ramp_u)
        row, lower = _ramped(v, self.ramp_v)
        place = row * (CELLS + 2) + column
        upper_left, upper_right, lower_left, lower_right = (
            self.cells.take(place + step) for step in (0, 1, CELLS + 2, CELLS + 3)
        )
        upper = upper_left + right * (upper_right - upper_left)
        white = (upper + lower * (lower_left + right * (lower_right - lower_left) - upper)).mean(axis=0)
        white = cv2.GaussianBlur(white, (0, 0), float(np.exp(parameters[8])), borderType=cv2.BORDER_REPLICATE)[
            self.inside
        ]
        shades = np.concatenate([self.slopes, self.slopes * white[:, None]], axis=1)
        return shades, np.linalg.lstsq(shades, self.seen, rcond=None)[0]

    @staticmethod
    def _in_cells(
        corners: NDArray[np.float64], points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where points (…, 2) on z = 1 lie on the tag whose corners are (4, 2), in cells from its upper left corner."""
        square = np.array([[0, 0], [CELLS, 0], [CELLS, CELLS], [0, CELLS]], np.float64)
        middle, scale = corners.mean(axis=0), float(np.ptp(corners))
        homography = _homography((corners - middle) / scale, square)
        local = (points - middle) / scale
        x, y = local[..., 0], local[..., 1]
        depth = homography[2, 0] * x + homography[2, 1] * y + homography[2, 2]
        u = (homography[0, 0] * x + homography[0, 1] * y + homography[0, 2]) / depth
        v = (homography[1, 0] * x + homography[1, 1] * y + homography[1, 2]) / depth
        return u, v


def _ramped(cells: NDArray[np.float64], ramp: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The cell (one ring added) before the nearest edge, and how far past that edge a point lies, from 0 to 1."""
    before = np.clip(np.floor(cells - 0.5), -1, CELLS - 1)
    past = np.clip((cells - before - 1) / ramp + 0.5, 0, 1)
    return before.astype(np.intp) + 1, past


def _homography(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 3×3 that maps four points onto four, its last entry 1."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(values)), 1.0).reshape(3, 3)
