"""Calibration from depth alone, with no target: the floor, the mattress above it, and the bed's known size.

Works on the empty bed and with a patient in it. Which end is the head is only proposed: a person confirms it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from calibration.bed import Bed
from calibration.calibrator import Sight, takes_no_argument
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.estimate import CalibrationEstimate
from calibration.footprint import (
    CELL_M,
    OUTWARD,
    SIDES,
    WALL_SIGMA_M,
    Edges,
    Evidence,
    Rectangle,
    find_edges,
    fit_rectangle,
    rough_rectangle,
    wide_enough,
)
from calibration.posterior import Transform, model_covariance
from calibration.progress import Progress
from calibration.surfaces import Plane, find_floor, fit_plane, on_an_edge, surface_normals

WHERE = "calibrate depth"
ON_M, BELOW_M, HIGH_M, TALLEST_M = 0.03, 0.04, 0.15, 0.75
KEPT_POINTS = 1500
END_M, RAISED_END_M = 0.2, 0.5
MEASURE = "measure the mattress's length and width and set them in site.toml, or let the rails down"
CAMERA = np.zeros(2)  # where the plane's axes begin


class DepthSettings(BaseModel):
    """What is looked for in depth, and what is assumed about its errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lowest_m: float = Field(default=0.30, ge=0.1, le=1, title="Lowest mattress top above the floor (metres)")
    highest_m: float = Field(default=1.05, ge=0.3, le=1.5, title="Highest mattress top above the floor (metres)")
    scale_error: float = Field(default=0.001, ge=0, le=0.05, title="Depth's error in scale (one σ, share)")
    offset_error_m: float = Field(default=0.004, ge=0, le=0.1, title="Depth's constant error (one σ, metres)")
    focal_error: float = Field(default=0.001, ge=0, le=0.05, title="Focal length's error (one σ, share)")
    edge_error_m: float = Field(
        default=0.015, ge=0, le=0.1, title="How far a whole side may be off where it is seen (one σ, metres)"
    )
    top_error_m: float = Field(default=0.009, ge=0, le=0.1, title="Mattress top's error in height (one σ, metres)")
    level_error_deg: float = Field(default=0.1, ge=0, le=5, title="Floor's unevenness (one σ, degrees)")
    bed_size_error_m: float = Field(default=0.03, ge=0, le=0.2, title="Bed's length and width error (one σ, metres)")
    largest_misfit_m: float = Field(default=0.05, gt=0, le=0.3, title="Most that the edges may miss the bed (metres)")
    largest_rotation_sigma_deg: float = Field(default=3.0, gt=0, le=20, title="Least certain rotation accepted")
    draws: int = Field(default=200, ge=50, le=5000, title="Monte-Carlo draws")
    seed: int = Field(default=0, ge=0, title="Seed of those draws")


@dataclass(frozen=True)
class _Seen:
    """What the pose is made of, all in depth-camera coordinates: floor points, mattress points, rays to the edges."""

    floor: NDArray[np.float64]
    top: NDArray[np.float64]
    edge_rays: NDArray[np.float64]
    edges: Edges
    start: Rectangle
    up: NDArray[np.float64]


class DepthCalibrator:
    """Finds the camera's pose in the bed frame from depth pictures, without any target."""

    name = "depth"
    looks = 9  # their median is used
    target = False

    def __init__(self, settings: DepthSettings | None = None) -> None:
        self.settings = settings if settings is not None else DepthSettings()

    @classmethod
    def from_argument(cls, argument: str, bed: Bed) -> DepthCalibrator:
        takes_no_argument(cls.name, argument)
        return cls()

    def calibrate(
        self, sights: Sequence[Sight], bed: Bed, progress: Progress | None = None
    ) -> tuple[CalibrationEstimate, Sight]:
        """The estimate from the depth of all sights."""
        first = sights[0]
        depths = [sight.depth for sight in sights if sight.depth is not None]
        if progress is not None:
            progress(1, 2, f"{len(depths)} depth pictures")
        if not depths or first.depth_camera is None or first.color_from_depth is None:
            raise _refusal("the camera gives no depth", "use the tag sheet: wardpose calibrate tags")
        up = None if first.up is None else first.color_from_depth[:3, :3].T @ first.up
        lenses = first.depth_camera, first.color_from_depth, first.camera
        return self.estimate_depth(np.stack(depths), *lenses, bed, up=up), first

    def estimate_depth(
        self, depths: Sequence[NDArray[np.uint16]] | NDArray[np.uint16], depth_camera: CameraModel,
        color_from_depth: NDArray[np.float64], camera: CameraModel, bed: Bed, *,
        up: NDArray[np.float64] | None = None,
    ) -> CalibrationEstimate:  # fmt: skip
        """The estimate of the *colour* camera's pose from depth pictures (N, h, w) uint16 millimetres, 0 = none.

        color_from_depth (4, 4): the factory's. up: the direction against gravity (3,) in depth-camera coordinates,
        where it is known. The result is unconfirmed. Raises WardposeError with the reason where no bed of the given
        size can be trusted to be where it seems.
        """
        rng = np.random.default_rng(self.settings.seed)
        depth_m = median_depth(depths, depth_camera)
        points = depth_m[..., None] * _pixel_rays(depth_camera)
        floor, top, evidence, axes = self._surfaces(points, depth_m, up, rng)
        found = rough_rectangle(evidence, bed.length, bed.width)
        if found is None:
            raise _refusal("nothing between 0.3 and 1 m above the floor is as large as a bed", "aim the camera at it")
        rough, blob = found
        edges = find_edges(evidence, rough, CAMERA)
        self._refuse_hidden(edges, bed)
        fitted, _ = fit_rectangle(edges, rough)
        edges = find_edges(evidence, fitted, CAMERA)
        self._refuse_hidden(edges, bed)
        fitted, residual = fit_rectangle(edges, fitted)
        self._refuse_misfit(edges, residual, bed)
        self._refuse_other_size(evidence, fitted, blob, edges)
        head_at_other_end, certain = _head_is_turned(fitted, points[depth_m > 0], top, axes)
        if head_at_other_end:
            fitted, edges = fitted.turned_round(), edges.turned_round()
        seen = _Seen(
            _some(points[np.abs(floor.heights(points)) < 0.03], rng),
            _some(points[(np.abs(top.heights(points)) < 0.02) & (depth_m > 0)], rng),
            edges.places @ axes - top.offset * top.normal, edges, fitted, floor.normal,
        )  # fmt: skip
        pose = self._pose(seen, bed, None)
        covariance = model_covariance(
            lambda draw: self._pose(seen, bed, draw), pose, np.random.default_rng(self.settings.seed),
            self.settings.draws,
        )  # fmt: skip
        estimate = CalibrationEstimate(
            camera=camera, bed=bed, camera_from_bed=color_from_depth @ pose,
            covariance=_carried(covariance, color_from_depth),
            reprojection_px=_miss_px(residual, pose, depth_camera),
            method=self.name, made_at=datetime.now(UTC).isoformat(timespec="seconds"), notes=_notes(edges, certain),
        )  # fmt: skip
        if estimate.rotation_sigma_deg > self.settings.largest_rotation_sigma_deg:
            raise _refusal(
                f"the bed's direction is known to ± {estimate.rotation_sigma_deg:.1f}° only",
                "let a side rail down, or use the tag sheet",
            )
        return estimate

    def _surfaces(
        self, points: NDArray[np.float64], depth_m: NDArray[np.float64], up: NDArray[np.float64] | None,
        rng: np.random.Generator,
    ) -> tuple[Plane, Plane, Evidence, NDArray[np.float64]]:  # fmt: skip
        """The floor, the mattress's top parallel to it, the evidence on it, and the plane's axes (2, 3)."""
        read = depth_m > 0
        floor = find_floor(points[read], rng, up)
        if floor is None:
            raise _refusal("no floor is in view", "aim the camera so that floor beside the bed is in the picture")
        heights = np.where(read, floor.heights(points), np.nan)
        facing = np.abs(surface_normals(np.where(read[..., None], points, np.nan)) @ floor.normal)
        height = self._mattress_height(heights, facing)
        top = floor.raised(height)
        above = heights - height
        # A quiet, clear pixel: beside a jump of depth a reading may lie anywhere between two surfaces.
        clear = read & ~on_an_edge(depth_m)
        axes = _plane_axes(floor.normal)
        on = clear & (np.abs(above) < ON_M) & (facing > 0.85)
        lying = clear & (above >= ON_M) & (above < TALLEST_M) & (facing > 0.4)
        below = clear & (above < -BELOW_M)
        steep = clear & (above > 0.02) & (above < TALLEST_M) & (facing < 0.2)
        past = top.crossing(points[below])
        lying_on, tall = points[lying] @ axes.T, above[lying] > HIGH_M
        wide = wide_enough(lying_on)
        bed = np.concatenate([points[on] @ axes.T, lying_on[wide & ~tall]])
        past = past[np.isfinite(past).all(axis=1)]
        evidence = Evidence(bed, lying_on[wide & tall], past @ axes.T, points[steep] @ axes.T)
        return floor, top, evidence, axes

    def _mattress_height(self, heights: NDArray[np.float64], facing: NDArray[np.float64]) -> float:
        low, high = self.settings.lowest_m, self.settings.highest_m
        flat = heights[(heights > low - 0.05) & (heights < high + 0.05) & (facing > 0.9)]
        if len(flat) < 400:
            raise _refusal(
                f"nothing faces upward between {low:g} and {high:g} m above the floor", "aim the camera at the bed"
            )
        counts, borders = np.histogram(flat, bins=np.arange(low - 0.05, high + 0.06, 0.01))
        counts = np.convolve(counts, np.ones(3), "same")
        height = float(borders[int(counts.argmax())]) + 0.005
        for band in (0.05, 0.03, 0.02):
            height = float(np.median(flat[np.abs(flat - height) < band]))
        return height

    def _refuse_hidden(self, edges: Edges, bed: Bed) -> None:
        head, foot, right, left = (edges.span(side) for side in range(4))
        if max(right, left) < 0.25 * bed.length:
            raise _refusal(
                f"only {max(right, left):.1f} m of the bed's longer sides can be seen",
                "let a side rail down, or take the picture from higher up",
            )
        if max(head, foot) < 0.2 * bed.width:
            raise _refusal(
                "neither the head end nor the foot end of the mattress can be seen",
                "take the blanket off the foot end, or use the tag sheet",
            )

    def _refuse_misfit(self, edges: Edges, residual: NDArray[np.float64], bed: Bed) -> None:
        medians = [
            float(np.median(residual[edges.sides == side])) if (edges.sides == side).any() else 0.0 for side in range(4)
        ]
        worst = int(np.argmax(np.abs(medians)))
        allowed = self.settings.largest_misfit_m + 2 * self.settings.bed_size_error_m
        if abs(medians[worst]) > allowed:
            raise _refusal(
                f"a mattress of {bed.length:g} × {bed.width:g} m misses its {SIDES[worst]} edge by "
                f"{100 * abs(medians[worst]):.0f} cm ({100 * allowed:.0f} cm is the most)",
                MEASURE,
            )

    def _refuse_other_size(
        self, evidence: Evidence, fitted: Rectangle, blob: NDArray[np.float64], edges: Edges
    ) -> None:
        """Refuse where bed and rectangle don't cover each other."""
        half = np.array([fitted.length, fitted.width]) / 2
        occupied = np.concatenate([evidence.bed, evidence.high])
        bed, beside = (np.abs(fitted.local(places)) - half for places in (occupied, evidence.beside))
        inside, empty = (int((places < -0.04).all(axis=1).sum()) for places in (bed, beside))
        what = f"a mattress of {fitted.length:g} × {fitted.width:g} m"
        if empty > 0.15 * (inside + empty):
            raise _refusal(f"{100 * empty / (inside + empty):.0f} % of {what} would be empty air", MEASURE)
        over = float((np.abs(fitted.local(blob)) - half > 0.08).any(axis=1).mean())
        if over > 0.15:
            raise _refusal(f"{100 * over:.0f} % of what is seen of the bed lies beside {what}", MEASURE)
        for side, sign in ((0, -1.0), (1, 1.0)):
            # A raised backrest ends short of the mattress's own end.
            ends = (occupied, END_M), (evidence.steep, END_M), (evidence.high, RAISED_END_M)
            seen = sum(_cells_near(fitted, places, sign, reach) for places, reach in ends)
            if edges.span(side) == 0 and seen * CELL_M**2 < 0.1 * END_M * fitted.width:
                raise _refusal(f"nothing shows that {what} reaches its {SIDES[side]} end", MEASURE)

    def _pose(self, seen: _Seen, bed: Bed, rng: np.random.Generator | None) -> Transform:
        """depth_from_bed (4, 4); with a generator, as it would have come out under one draw of the errors."""
        settings, edges, start = self.settings, seen.edges, seen.start
        floor_points, top_points, rays = seen.floor, seen.top, seen.edge_rays
        shift, raised, level = np.zeros((len(rays), 2)), 0.0, np.zeros(3)
        if rng is not None:
            scale, offset = 1 + rng.normal(0.0, settings.scale_error), rng.normal(0.0, settings.offset_error_m)
            lens = np.array([1 + rng.normal(0.0, settings.focal_error)] * 2 + [1.0])
            floor_points, top_points = (
                points * (scale + offset / points[:, 2:]) * lens for points in (floor_points, top_points)
            )
            rays = rays * lens
            raised, level = (
                rng.normal(0.0, settings.top_error_m),
                rng.normal(0.0, np.radians(settings.level_error_deg), 3),
            )
            start = replace(
                start, length=bed.length + rng.normal(0.0, settings.bed_size_error_m),
                width=bed.width + rng.normal(0.0, settings.bed_size_error_m),
            )  # fmt: skip
            shift = _edge_shifts(edges, start, rng, settings.edge_error_m)
        normal = fit_plane(floor_points, seen.up).normal + level
        normal = normal / np.linalg.norm(normal)
        top = Plane(normal, -float(np.median(top_points @ normal)) - raised)
        axes = _plane_axes(normal)
        places = top.crossing(rays) @ axes.T + shift
        fitted, _ = fit_rectangle(replace(edges, places=places), start)
        x = np.cos(fitted.heading) * axes[0] + np.sin(fitted.heading) * axes[1]
        pose = np.eye(4)
        pose[:3, :3] = np.stack([x, np.cross(normal, x), normal], axis=1)
        pose[:3, 3] = fitted.x * axes[0] + fitted.y * axes[1] - top.offset * normal
        return pose


def median_depth(depths: Sequence[NDArray[np.uint16]] | NDArray[np.uint16], camera: CameraModel) -> NDArray[np.float64]:
    """Metres (H, W) from pictures (N, H, W) uint16 millimetres: the median of what was read, 0 where less than half
    of them have a reading. Raises WardposeError where there is hardly any depth at all."""
    stack = np.asarray(depths)
    if stack.ndim != 3 or stack.dtype != np.uint16 or stack.shape[1:] != (camera.height, camera.width):
        raise ValueError(f"depths must be (N, {camera.height}, {camera.width}) uint16, got {stack.shape} {stack.dtype}")
    if not stack.any():
        raise _refusal(
            "every depth reading is zero", "see that nothing covers the camera and that depth is switched on"
        )
    read = stack > 0
    often = read.sum(axis=0) * 2 > len(stack)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels that nothing was ever read at
        metres = np.nanmedian(np.where(read, stack, np.nan), axis=0) / 1e3
    metres = np.where(often, metres, 0.0)
    share = float((metres > 0).mean())
    if share < 0.15:
        raise _refusal(
            f"{100 * share:.0f} % of the depth picture has a reading",
            "move what reflects or covers the camera, or bring the camera nearer to the bed",
        )
    return np.asarray(metres, dtype=np.float64)


def _refusal(what: str, mend: str) -> WardposeError:
    return WardposeError(what, where=WHERE, mend=mend)


@lru_cache(maxsize=2)
def _pixel_rays(camera: CameraModel) -> NDArray[np.float64]:
    """Rays (H, W, 3) with z = 1; zero where the lens model can't be inverted."""
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = camera.unproject(np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64))
    rays = np.where(np.isfinite(rays), rays, 0.0).reshape(camera.height, camera.width, 3)
    rays.setflags(write=False)
    return rays


def _plane_axes(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two directions (2, 3) along a plane: the camera's x as far as it lies in the plane, then normal × that."""
    first = np.array([1.0, 0.0, 0.0]) - normal[0] * normal
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first)])


def _some(points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """At most `KEPT_POINTS` of points (N, 3)."""
    return points[rng.choice(len(points), KEPT_POINTS, replace=False)] if len(points) > KEPT_POINTS else points


def _cells_near(fitted: Rectangle, places: NDArray[np.float64], sign: float, reach: float) -> int:
    """How many cells of the places (N, 2) lie within `reach` of the end at sign · x of the rectangle."""
    local = fitted.local(places)
    short = fitted.length / 2 - sign * local[:, 0]
    there = local[(short < reach) & (short > -0.08) & (np.abs(local[:, 1]) < fitted.width / 2)]
    return len(np.unique(np.floor(there / CELL_M), axis=0))


def _edge_shifts(edges: Edges, start: Rectangle, rng: np.random.Generator, sigma: float) -> NDArray[np.float64]:
    """How far (N, 2) each place may be off: every side moved and turned as a whole, for a soft or draped edge is."""
    local = start.local(edges.places)
    outward = OUTWARD[edges.sides]
    along = np.where(edges.sides < 2, local[:, 1] / start.width, local[:, 0] / start.length)
    # The gap between mattress and board or rail, and the rail's direction, are anybody's guess.
    spread = np.where(edges.walls, np.hypot(sigma, WALL_SIGMA_M), sigma)
    off = spread * (rng.normal(0.0, 1.0, 4)[edges.sides] + along * rng.normal(0.0, 1.0, 4)[edges.sides])
    return start.turned(outward * off[:, None])


def _head_is_turned(
    fitted: Rectangle, points: NDArray[np.float64], top: Plane, axes: NDArray[np.float64]
) -> tuple[bool, bool]:
    """Whether the head is likelier at the rectangle's +x end, and whether that is more than a guess.

    The higher end is the head's: pillow, raised backrest, the taller board.
    """
    local = fitted.local(points @ axes.T)
    heights = np.clip(top.heights(points), 0.0, TALLEST_M)
    beside = np.abs(local[:, 1]) < fitted.width / 2 + 0.02
    mean = []
    for sign in (-1, 1):
        place = sign * local[:, 0] - fitted.length / 2
        end = beside & (place > -0.45) & (place < 0.12) & (top.heights(points) > -0.03)
        mean.append(float(np.percentile(heights[end], 80)) if end.sum() > 50 else 0.0)
    return mean[1] > mean[0], abs(mean[1] - mean[0]) > 0.08


def _carried(covariance: NDArray[np.float64], color_from_depth: Transform) -> NDArray[np.float64]:
    """The covariance of a left perturbation of depth_from_bed, as one of color_from_depth · depth_from_bed.

    With R, t of color_from_depth: the rotation ω becomes Rω, the translation v becomes Rv − (Rω) × t … + t's own turn.
    """
    rotation, shift = color_from_depth[:3, :3], color_from_depth[:3, 3]
    cross = np.array([[0, -shift[2], shift[1]], [shift[2], 0, -shift[0]], [-shift[1], shift[0], 0]])
    adjoint = np.zeros((6, 6))
    adjoint[:3, :3] = adjoint[3:, 3:] = rotation
    adjoint[3:, :3] = cross @ rotation
    return np.asarray(adjoint @ covariance @ adjoint.T, dtype=np.float64)


def _miss_px(residual: NDArray[np.float64], pose: Transform, camera: CameraModel) -> float:
    """Root mean square of what the edges miss, as the depth camera sees it from the bed's distance."""
    distance = float(np.linalg.norm(pose[:3, 3]))
    return float(np.sqrt(np.mean(residual**2))) * camera.fx / distance


def _notes(edges: Edges, certain: bool) -> tuple[str, ...]:
    notes = ["which end is the head is likely, not certain" if certain else "which end is the head is a guess"]
    if hidden := [SIDES[side] for side in range(4) if edges.span(side) == 0]:
        notes.append(f"not seen: the {', the '.join(hidden)} edge of the mattress")
    return tuple(notes)
