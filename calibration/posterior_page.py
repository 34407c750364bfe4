"""The posterior on one page: how the viewpoints of many samples lie around the estimate. The adapter of matplotlib."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from calibration.atomic import write_bytes
from calibration.estimate import CalibrationEstimate
from calibration.outline import project_bed_outline
from calibration.viewpoint import Viewpoint

DRAWN_BEDS = 40
CLOUD, MEAN, BED = "#3573b9", "#c8372d", "#d8b35a"


def write_posterior_page(
    estimate: CalibrationEstimate, path: Path, *, samples: int = 1000, color: NDArray[np.uint8] | None = None,
    seed: int = 0,
) -> None:  # fmt: skip
    """Write a PNG: `samples` camera places from above and from the side, their angles and distances with 95 % ellipses,
    and the bed as some of them see it, over the picture color (H, W, 3) RGB where one is given."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    poses = estimate.sample(np.random.default_rng(seed), samples)
    centres = -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
    views = [Viewpoint.from_transform(pose) for pose in poses]
    figure = Figure(figsize=(13, 8.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 3)
    figure.suptitle(_headline(estimate, samples), fontsize=11)
    _places(grid[0, 0], estimate, centres, (0, 1), "from above")
    _places(grid[0, 1], estimate, centres, (0, 2), "from the patient's right")
    _zoomed(grid[0, 2], estimate, centres)
    here = estimate.viewpoint
    azimuths = [here.azimuth_deg + (view.azimuth_deg - here.azimuth_deg + 180) % 360 - 180 for view in views]
    _cloud(
        grid[1, 0], np.column_stack([azimuths, [view.elevation_deg for view in views]]),
        (here.azimuth_deg, here.elevation_deg), "azimuth (°)", "elevation (°)",
    )  # fmt: skip
    _cloud(
        grid[1, 1], np.array([[view.distance, view.roll_deg] for view in views]),
        (here.distance, here.roll_deg), "distance to the point looked at (m)", "roll (°)",
    )  # fmt: skip
    _beds(grid[1, 2], estimate, poses, color)
    page = io.BytesIO()
    figure.savefig(page, format="png", dpi=100)
    write_bytes(path, page.getvalue())


def _headline(estimate: CalibrationEstimate, samples: int) -> str:
    view = estimate.viewpoint
    x, y = (round(value, 2) + 0.0 for value in view.look_at[:2])
    return (
        f"Calibration by {estimate.method}: azimuth {view.azimuth_deg:.1f}°, elevation {view.elevation_deg:.1f}°, "
        f"distance {view.distance:.2f} m, roll {view.roll_deg:.1f}°, looking at ({x:+.2f}, {y:+.2f}) m\n"
        f"{samples} samples of the posterior; one σ: {estimate.rotation_sigma_deg:.2f}° and "
        f"{estimate.centre_sigma_mm:.0f} mm; reprojection {estimate.reprojection_px:.2f} px"
        + ("" if estimate.confirmed else "; NOT CONFIRMED: nothing uses it yet")
    )


def _places(
    axes: Any, estimate: CalibrationEstimate, centres: NDArray[np.float64], which: tuple[int, int], title: str
) -> None:
    """The bed and the cameras in two of the bed frame's axes, to scale."""
    across, up = which
    corners = np.vstack([estimate.bed.corners, estimate.bed.corners[:1]])
    axes.fill(corners[:, across], corners[:, up], facecolor=BED, edgecolor="#8a6d1f", alpha=0.6, linewidth=2)
    ends = estimate.bed.length / 2
    for word, x, side in (("HEAD", -ends, "left"), ("FOOT", ends, "right")):
        axes.annotate(word, (x, 0), (4 if side == "left" else -4, 6), textcoords="offset points", ha=side, fontsize=8)
    view = estimate.viewpoint
    line = np.array([view.centre, view.look_at])
    axes.plot(line[:, across], line[:, up], color=MEAN, linewidth=1)
    axes.scatter(centres[:, across], centres[:, up], s=3, color=CLOUD, alpha=0.4, linewidths=0)
    axes.plot(*view.centre[list(which)], "+", color=MEAN, markersize=9)
    names = ("x (m, toward the foot end)", "y (m, toward the patient's left)", "z (m, above the mattress)")
    axes.set(title=title, xlabel=names[across], ylabel=names[up], aspect="equal")
    axes.margins(0.12)
    axes.grid(alpha=0.25)


def _zoomed(axes: Any, estimate: CalibrationEstimate, centres: NDArray[np.float64]) -> None:
    """The camera's places alone, in millimetres about the estimate: along its line of sight, and sideways."""
    view = estimate.viewpoint
    sight = np.asarray(view.look_at) - view.centre
    level = np.array([sight[0], sight[1]]) / np.hypot(sight[0], sight[1])
    away = 1e3 * (centres - view.centre)
    plane = np.column_stack([away[:, :2] @ level, away[:, :2] @ np.array([-level[1], level[0]])])
    _cloud(axes, plane, (0.0, 0.0), "toward the bed (mm)", "sideways (mm)")
    axes.set(title="the camera's place from above, enlarged", aspect="equal")


def _cloud(axes: Any, values: NDArray[np.float64], middle: tuple[float, float], x_name: str, y_name: str) -> None:
    """Samples (N, 2), their 95 % ellipse, and the estimate."""
    axes.scatter(values[:, 0], values[:, 1], s=5, color=CLOUD, alpha=0.4, linewidths=0)
    covariance = np.cov(values.T) + 1e-12 * np.eye(2)
    turn = np.linspace(0, 2 * np.pi, 120)
    ellipse = np.sqrt(chi2.ppf(0.95, 2)) * np.linalg.cholesky(covariance) @ np.stack([np.cos(turn), np.sin(turn)])
    centre = values.mean(axis=0)
    axes.plot(centre[0] + ellipse[0], centre[1] + ellipse[1], color="black", linewidth=1.2, label="95 %")
    axes.plot(*middle, "+", color=MEAN, markersize=10, label="estimate")
    axes.set(xlabel=x_name, ylabel=y_name)
    axes.ticklabel_format(useOffset=False)
    axes.legend(loc="best", fontsize=8)
    axes.grid(alpha=0.25)


def _beds(
    axes: Any, estimate: CalibrationEstimate, poses: NDArray[np.float64], color: NDArray[np.uint8] | None
) -> None:
    """The mattress's outline as the estimate and some samples see it, in the picture."""
    camera = estimate.camera
    ground = np.full((camera.height, camera.width, 3), 235, np.uint8) if color is None else color
    axes.imshow(cv2.resize(ground, (camera.width // 2, camera.height // 2)), extent=(0, camera.width, camera.height, 0))
    for pose in poses[:DRAWN_BEDS]:
        axes.plot(*project_bed_outline(replace(estimate, camera_from_bed=pose)).T, color="#ffd400", lw=0.6, alpha=0.6)
    axes.plot(*project_bed_outline(estimate).T, color=MEAN, linewidth=1.2)
    head = np.array([[-estimate.bed.length / 2, 0.0, 0.0]]) @ estimate.camera_from_bed[:3, :3].T
    head = head + estimate.camera_from_bed[:3, 3]
    if head[0, 2] > 0.05:
        axes.annotate("HEAD", camera.project(head)[0], color="white", weight="bold", fontsize=8, ha="center",
                      bbox={"facecolor": "black", "alpha": 0.6, "pad": 1, "linewidth": 0})  # fmt: skip
    axes.set(
        title=f"the bed as {min(DRAWN_BEDS, len(poses))} of the samples see it", xlim=(0, camera.width),
        ylim=(camera.height, 0), xticks=[], yticks=[],
    )  # fmt: skip
