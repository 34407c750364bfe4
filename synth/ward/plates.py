"""Site plates as a place for people: the plate moved to a drawn viewpoint, its surfaces, its light, its free floor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.errors import WardposeError
from calibration.plate import Plate, load_plate
from synth.color import linear
from synth.render.mesh import Mesh
from synth.render.renderer import Light
from synth.sensor import lens_of
from synth.ward.backdrop import Backdrop
from synth.ward.bed import MATTRESS_THICKNESS
from synth.ward.lights import Lighting, without_shoulder
from synth.ward.shapes import Surface, box

SHEET_ALBEDO = 0.8  # what the mattress is taken to reflect
_MESH_STEP = 4  # px of the picture between the surface's points
_GRID = 8  # px between the points at which a change of viewpoint is worked out
_HARD_GIVE, _SOFT_GIVE = 0.015, 0.025  # metres that hard and soft things may be off
_SOFT_HEIGHT = 0.16  # metres above the mattress up to which what lies on it is soft: sheet, pillow
_FAR_TURN_DEG, _FAR_MOVE_M = 4.0, 0.15  # a viewpoint further off than this shows what the plate has not seen
_SOFTNESS = 0.15  # metres over which shadows fade: a ward has many lamps and we know one
_TRUSTED_PX = 321  # side of the square about a reading within which a filled hole is believed
_CELL = 0.05  # metres a cell of the map of the free floor


@lru_cache(maxsize=4)
def open_plate(folder: str) -> Plate:
    """The plate in `folder`; WardposeError where it is missing, damaged or expired."""
    plate = load_plate(Path(folder))
    if plate.expired(datetime.now(UTC)):
        raise WardposeError(
            f"expired on {plate.expires_at[:10]}", where=folder, mend="take a new one: wardpose plates capture"
        )
    return plate


def require_same_view(plate: Plate, camera_from_bed: NDArray[np.float64], folder: str) -> None:
    """Raise WardposeError where the plate was taken from a viewpoint that is not this one."""
    change = plate.camera_from_bed @ np.linalg.inv(camera_from_bed)
    turn = float(np.degrees(np.arccos(np.clip((np.trace(change[:3, :3]) - 1) / 2, -1, 1))))
    centres = [-pose[:3, :3].T @ pose[:3, 3] for pose in (plate.camera_from_bed, camera_from_bed)]
    move = float(np.linalg.norm(centres[0] - centres[1]))
    if turn > _FAR_TURN_DEG or move > _FAR_MOVE_M:
        raise WardposeError(
            f"was taken from another viewpoint ({turn:.1f}° and {100 * move:.0f} cm off the calibration)",
            where=folder,
            mend="take a new one: wardpose plates capture",
        )


@dataclass(frozen=True)
class PlateView:
    """A plate seen from a viewpoint near its own. points: (h, w, 3) bed frame at every `_MESH_STEP`-th pixel, and
    known (h, w), where they are."""

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    points: NDArray[np.float64]
    known: NDArray[np.bool_]


def seen_from(plate: Plate, camera: CameraModel, camera_from_bed: NDArray[np.float64]) -> PlateView:
    """The plate as `camera` sees it from `camera_from_bed`, a small step from the plate's own place.

    Each pixel of the new view looks along its own ray at the plate's depth and takes what the plate shows there. What
    the plate could not see behind edges is stretched; within a calibration's posterior that is a pixel or two.
    """
    own = plate.camera.resized(camera.width, camera.height)
    color = cv2.resize(plate.color, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    depth = cv2.resize(plate.depth, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST) / np.float32(1000)
    # Far from any reading the filled depth is a guess: good enough to move the picture by, not to hide people with.
    trusted = cv2.dilate(plate.measured.astype(np.uint8), np.ones((_TRUSTED_PX, _TRUSTED_PX), np.uint8))
    trusted = cv2.resize(trusted, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST)
    if own != camera or not np.allclose(camera_from_bed, plate.camera_from_bed, atol=1e-9):
        map_x, map_y, stretch = _changed_view(depth, own, plate.camera_from_bed, camera, camera_from_bed)
        color = cv2.remap(color, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        depth = cv2.remap(depth, map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE) * stretch
        trusted = cv2.remap(trusted, map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    depth = np.where(trusted > 0, depth, 0)
    step = slice(None, None, _MESH_STEP)
    rays = lens_of(camera).rays()[step, step]
    bed_from_camera = np.linalg.inv(camera_from_bed)
    near = cv2.medianBlur(np.ascontiguousarray(depth[step, step]), 3)
    points = (rays * near[..., None]) @ bed_from_camera[:3, :3].T + bed_from_camera[:3, 3]
    return PlateView(np.asarray(color, np.uint8), np.asarray(depth, np.float32), points, near > 0)


def _changed_view(
    depth: NDArray[np.float32], own: CameraModel, own_from_bed: NDArray[np.float64], camera: CameraModel,
    camera_from_bed: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """Where each pixel of the new view lies in the plate (H, W) ×2, and its depth there over the plate's (H, W)."""
    own_from_camera = own_from_bed @ np.linalg.inv(camera_from_bed)
    rays = lens_of(camera).rays()[::_GRID, ::_GRID]
    rows, columns = rays.shape[:2]
    smooth = cv2.blur(np.where(depth > 0, depth, np.median(depth[depth > 0])).astype(np.float32), (9, 9))
    v, u = np.mgrid[0 : camera.height : _GRID, 0 : camera.width : _GRID].astype(np.float32)
    z = np.ones((rows, columns))
    for _ in range(3):  # the depth is the plate's where the ray ends, which depends on the depth
        plate_z = cv2.remap(smooth, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
        turned = rays @ own_from_camera[:3, :3].T
        z = np.maximum((plate_z - own_from_camera[2, 3]) / turned[..., 2], 0.1)
        points = turned * z[..., None] + own_from_camera[:3, 3]
        pixels = own.project(points.reshape(-1, 3)).reshape(rows, columns, 2).astype(np.float32)
        u, v = np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])
    fine_x, fine_y = np.meshgrid(
        np.arange(camera.width, dtype=np.float32) / _GRID, np.arange(camera.height, dtype=np.float32) / _GRID
    )
    return tuple(  # type: ignore[return-value]
        cv2.remap(plane.astype(np.float32), fine_x, fine_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for plane in (u, v, z / plate_z)
    )


def surface_mesh(view: PlateView) -> Mesh:
    """The plate's surfaces (bed frame), torn where depth jumps, of one albedo: where shadows fall."""
    points, known = view.points, view.known
    rows, columns = known.shape
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    z = np.linalg.norm(points - points.mean(axis=(0, 1)), axis=2)  # only differences between neighbours matter
    corners = np.stack([z[:-1, :-1], z[:-1, 1:], z[1:, 1:], z[1:, :-1]])
    span = np.ptp(np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]]), axis=0).max(axis=2)
    whole = known[:-1, :-1] & known[:-1, 1:] & known[1:, 1:] & known[1:, :-1]
    kept = whole & (span < 0.25) & (np.ptp(corners, axis=0) < 0.25)
    triangles = np.concatenate([np.stack([a, d, c], -1)[kept], np.stack([a, c, b], -1)[kept]])
    vertices = points.reshape(-1, 3).astype(np.float32)
    return Mesh(vertices, triangles.astype(np.int32), np.full(vertices.shape, 0.5, np.float32))


def _mattress(bed: Bed) -> Mesh:
    """The inside of the mattress, just under the plate's surface, so that nobody's shadow falls through the bed."""
    x, y = bed.length / 2 - 0.03, bed.width / 2 - 0.03
    return box([-x, -y, -MATTRESS_THICKNESS], [x, y, -0.03], Surface((0.5, 0.5, 0.5)))


def give(
    plate: Plate, camera: CameraModel, camera_from_bed: NDArray[np.float64], depth: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How far (H, W) metres a person may lie behind what the plate shows: further in bedding than behind a rail."""
    bed_from_camera = np.linalg.inv(camera_from_bed).astype(np.float32)
    points = lens_of(camera).rays().astype(np.float32) @ bed_from_camera[:3, :3].T * depth[..., None]
    x, y, z = np.moveaxis(points + bed_from_camera[:3, 3], -1, 0)
    bed = plate.bed
    inside = (np.abs(x) < bed.length / 2) & (np.abs(y) < bed.width / 2 - 0.02) & (z > -0.12)
    soft = inside & (z < _SOFT_HEIGHT + np.where(x < 0, np.tan(np.radians(bed.backrest_deg)) * -x, 0.0))
    return np.where(soft, _SOFT_GIVE, _HARD_GIVE).astype(np.float32)


@lru_cache(maxsize=4)
def railed(folder: str) -> bool:
    """Whether a rail or a wall stands along a side of the mattress, so that a blanket can't hang far out."""
    plate = open_plate(folder)
    points, known = plate.points(_MESH_STEP)
    x, y, z = points[known].T
    beside = (np.abs(np.abs(y) - plate.bed.width / 2 - 0.05) < 0.08) & (np.abs(x) < plate.bed.length / 2)
    return bool((beside & (z > 0.08) & (z < 0.6)).sum() > 0.02 * (np.abs(x) < plate.bed.length / 2).sum())


@lru_cache(maxsize=4)
def _taken(folder: str) -> tuple[NDArray[np.bool_], float, float]:
    """Where (rows along y, columns along x) something stands on the floor, and the map's first x and y."""
    plate = open_plate(folder)
    points, known = plate.points(2)
    x, y, z = points[known].T
    standing = (z > -plate.bed.height + 0.25) & (z < 1.6) & (np.hypot(x, y) < 6)
    low = -6.0
    counts, _, _ = np.histogram2d(y[standing], x[standing], bins=round(12.0 / _CELL), range=[[low, -low], [low, -low]])
    return counts >= 3, low, low


def free_floor(folder: str, position: tuple[float, float], radius: float = 0.2) -> bool:
    """Whether somebody can stand at `position` (bed frame, metres) without standing in the plate's furniture."""
    taken, low_x, low_y = _taken(folder)
    rows, columns = np.nonzero(taken)
    x, y = low_x + (columns + 0.5) * _CELL, low_y + (rows + 0.5) * _CELL
    return not bool((np.hypot(x - position[0], y - position[1]) < radius).any())


@lru_cache(maxsize=8)
def match_light(folder: str) -> Lighting:
    """The light the plate was taken in, from how its bedding, taken to be of one pale cloth, is shaded.

    Irradiance is fitted as a + b·n over the normals n of bed and bedding (spherical harmonics of the first order; one
    light of irradiance I from direction l in ambient light A gives a = A + I/4, b = l·I/2: Ramamoorthi and Hanrahan
    2001), leaning toward light from above where the normals say little.
    """
    plate = open_plate(folder)
    step = 2 * _MESH_STEP
    points, known = plate.points(step)
    shown = linear(cv2.blur(plate.color, (5, 5))[::step, ::step] / 255.0)
    bed = plate.bed
    x, y, z = np.moveaxis(points, -1, 0)
    top = known & (np.abs(x) < bed.length / 2 - 0.1) & (np.abs(y) < bed.width / 2 - 0.08) & (np.abs(z) < 0.06)
    cloth = shown[top] if top.sum() > 20 else shown[known]
    reference = np.percentile(cloth, 60, axis=0)
    color = reference / max(float(reference.mean()), 1e-4)
    if np.ptp(color) > 0.6:  # a coloured sheet says nothing of the light's colour
        overall = shown.reshape(-1, 3).mean(axis=0)
        color = overall / max(float(overall.mean()), 1e-4)
    # Dyed cloth is bright in its own hue only; and where the bed is dark, the room's palest things tell the level.
    pale = shown[known].mean(axis=1)
    palest = float(np.percentile(pale[pale < 0.9], 97)) if (pale < 0.9).any() else 0.9
    level = float(without_shoulder(max(float(reference.max()), 0.8 * palest))) / SHEET_ALBEDO

    normals = _normals(points, plate)
    brightness = shown.mean(axis=2)
    chroma = np.abs(shown / np.maximum(brightness, 1e-4)[..., None] - reference / max(float(reference.mean()), 1e-4))
    bedding = known & (np.abs(x) < bed.length / 2 + 0.1) & (np.abs(y) < bed.width / 2 + 0.1) & (np.abs(z) < 0.35)
    alike = bedding & (chroma.max(axis=2) < 0.25) & np.isfinite(normals).all(axis=2)
    alike &= brightness > 0.25 * float(reference.mean())
    n, e = normals[alike], without_shoulder(brightness[alike]) / SHEET_ALBEDO
    prior = np.array([0.75, 0.0, 0.0, 0.25]) * level
    design = np.column_stack([np.ones(len(n)), n])
    trust = max(len(n), 1) * 0.3  # as many further normals in favour of light from above
    fit = np.linalg.solve(design.T @ design + trust * np.eye(4), design.T @ e + trust * prior)
    strength = min(2.0 * float(np.linalg.norm(fit[1:])), 1.5 * level)
    toward = np.asarray(fit[1:] / max(float(np.linalg.norm(fit[1:])), 1e-6), dtype=np.float64)
    toward[2] = max(float(toward[2]), 0.7)  # rooms are lit from above; cloth beside the bed may be darker cloth
    toward /= np.linalg.norm(toward)
    ambient = max(level - strength * float(toward[2]), 0.45 * level)
    strength = (level - ambient) / float(toward[2])
    light = Light(
        (float(toward[0]), float(toward[1]), float(toward[2])), _rgb(strength * color), True, softness=_SOFTNESS
    )
    return Lighting((light,), _rgb(ambient * color), _rgb(0.6 * ambient * color))


def _normals(points: NDArray[np.float64], plate: Plate) -> NDArray[np.float64]:
    """Unit normals (h, w, 3) toward the camera of a grid of points; NaN at edges."""
    across, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normals = np.cross(down, across)
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    jump = np.maximum(np.linalg.norm(across, axis=2), np.linalg.norm(down, axis=2)) > 0.1
    normals = np.where(jump[..., None], np.nan, normals / np.maximum(length, 1e-12))
    centre = -plate.camera_from_bed[:3, :3].T @ plate.camera_from_bed[:3, 3]
    away = (normals * (centre - points)).sum(axis=2, keepdims=True) < 0
    return np.where(away, -normals, normals)


def varied(lighting: Lighting, rng: np.random.Generator) -> Lighting:
    """The same light, as far as it can be told: its direction to about 10°, its level to a few percent."""
    level = float(rng.uniform(0.93, 1.08))
    lights = []
    for light in lighting.lights:
        toward = np.asarray(light.toward) + rng.normal(0, 0.17, 3)
        toward /= np.linalg.norm(toward)
        lights.append(replace(light, toward=_rgb(toward), color=_rgb(level * np.asarray(light.color))))
    return Lighting(tuple(lights), _rgb(level * np.asarray(lighting.sky)), _rgb(level * np.asarray(lighting.ground)))


def backdrop(
    folder: str, camera: CameraModel, camera_from_bed: NDArray[np.float64], rng: np.random.Generator
) -> Backdrop:
    """The plate in `folder`, from a viewpoint near its own, for people to be put into."""
    plate = open_plate(folder)
    view = seen_from(plate, camera, camera_from_bed)
    depth = np.where(view.depth > 0, view.depth, np.inf).astype(np.float32)
    scale = camera.width / plate.camera.width
    return Backdrop(
        view.color, depth, give(plate, camera, camera_from_bed, view.depth), (surface_mesh(view), _mattress(plate.bed)),
        varied(match_light(folder), rng),
        blur_px=0.35 * min(1.0, scale) + 0.1,
    )  # fmt: skip


def _rgb(values: NDArray[np.floating]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
