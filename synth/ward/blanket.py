"""A blanket laid over a patient: cloth dropped on the height map of body, clothes and mattress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from synth.render import kernels
from synth.render.mesh import Mesh
from synth.ward import cloth, shapes, textures
from synth.ward.bed import MATTRESS_THICKNESS, hinge_x
from synth.ward.shapes import Surface

ARRANGEMENTS = ("flat", "folded_back", "askew", "kicked_aside", "heaped")
CELL = 0.01  # metres a height-map cell
THICKNESS = 0.018  # below about this, limbs show through
UPRIGHT = 0.62  # metres above the bedding; nobody lying reaches that high
_CHIN = 0.11  # metres from eyes, ears and nose to where a blanket may begin
_FACE_RADIUS = 0.14
_COUNT = 60  # grid points along each side while falling
_FINE = 90  # and of the finished blanket: two or three pixels apart for a camera that sees the whole bed


@dataclass(frozen=True, slots=True)
class Blanket:
    """meshes: instance 0. coverage: the share, 0…1, of the patient's outline from above that lies under it."""

    meshes: tuple[Mesh, ...]
    coverage: float


@dataclass(frozen=True, slots=True)
class HeightMap:
    """Heights (rows along y, columns along x) float32 metres of whatever lies highest; −100 where nothing does."""

    heights: NDArray[np.float32]
    low_x: float
    low_y: float

    @classmethod
    def over(cls, meshes: Sequence[Mesh], bed: Bed, margin: float = 0.45) -> HeightMap:
        """Of the bed's surroundings up to `margin` metres, at `CELL` a cell."""
        low_x, low_y = -bed.length / 2 - margin, -bed.width / 2 - margin
        shape = (round((bed.width + 2 * margin) / CELL) + 1, round((bed.length + 2 * margin) / CELL) + 1)
        heights = np.full(shape, -100.0, np.float32)
        to_cells = np.array([[1 / CELL, 0, 0, -low_x / CELL], [0, 1 / CELL, 0, -low_y / CELL], [0, 0, 1, 0]])
        for mesh in meshes:
            placed = np.empty(mesh.vertices.shape, np.float64)
            kernels.transform(mesh.vertices, to_cells, placed)
            kernels.rasterize_heights(placed, mesh.triangles, heights)
        return cls(heights, low_x, low_y)


def coverage_of(patient: HeightMap, blanket: HeightMap) -> float:
    """The share of the patient's cells above which the blanket lies."""
    body = patient.heights > -50
    count = int(body.sum())
    return float((body & (blanket.heights > patient.heights)).sum() / count) if count else 0.0


def _start(
    rng: np.random.Generator, bed: Bed, top_edge: float, arrangement: str, ceiling: HeightMap, railed: bool
) -> tuple[NDArray[np.float64], float, float]:
    """Grid points (_COUNT², 3) before the fall and the steps between them: rows along x from the top edge to the
    foot, columns across the bed. Laid slightly too narrow, so that the cloth has wrinkles to make."""
    overhang = float(rng.uniform(0.02, 0.1) if railed else rng.uniform(0.1, 0.35))
    bottom_edge = bed.length / 2 + float(rng.uniform(-0.05, 0.08))
    length = max(0.3, bottom_edge - top_edge)
    width = bed.width + 2 * overhang
    along, across = np.meshgrid(np.linspace(0, 1, _COUNT), np.linspace(-0.5, 0.5, _COUNT), indexing="ij")
    squeeze_x, squeeze_y = float(rng.uniform(0.93, 0.98)), float(rng.uniform(0.92, 0.97))
    x = bottom_edge - (1 - along) * length * squeeze_x
    y = across * width * squeeze_y
    if arrangement == "askew":
        turn = float(rng.choice([-1, 1]) * rng.uniform(0.15, 0.5))
        y = y + (x - bottom_edge + 0.3) * np.sin(turn)
        x = x + across * width * np.sin(turn) * 0.6
    elif arrangement == "kicked_aside":
        side = float(rng.choice([-1, 1]))
        y = side * (0.1 + 0.12 * rng.random()) * bed.width + y * float(rng.uniform(0.35, 0.6))
        x = x + 0.12 * np.sin(across * 7 + float(rng.uniform(0, 6))) + 0.25 * float(rng.random())
    mound: NDArray[np.floating] = np.zeros((), np.float32)
    if arrangement == "heaped":  # thrown back in a heap of loose folds
        middle = float(rng.uniform(-0.3, 0.35)) * bed.length, float(rng.uniform(-0.25, 0.25)) * bed.width
        folds = [textures.noise(rng, _COUNT, 3, 3), textures.noise(rng, _COUNT, 3, 3)]
        turn = float(rng.uniform(0, np.pi))
        u, v = (along - 0.5) * float(rng.uniform(0.5, 1.0)), across * float(rng.uniform(0.4, 0.8))
        x = middle[0] + u * np.cos(turn) - v * np.sin(turn) + 0.06 * folds[0]
        y = middle[1] + u * np.sin(turn) + v * np.cos(turn) + 0.06 * folds[1]
        mound = float(rng.uniform(0.06, 0.22)) * np.exp(-8 * (u**2 + v**2)) * (1 + 0.4 * folds[0])
    y = y + float(rng.normal(0, 0.03))
    ripple = textures.noise(rng, _COUNT, 4, 9) * 0.012 + textures.noise(rng, _COUNT, 10, 14) * 0.003
    # Start just above what lies beneath, smoothed: little to fall, and the cloth drapes instead of bouncing.
    coarse = np.where(ceiling.heights > -50, ceiling.heights, -0.05).astype(np.float32)
    coarse = cv2.GaussianBlur(cv2.dilate(coarse, np.ones((9, 9), np.uint8)), (0, 0), 7)
    rows = ((y - ceiling.low_y) / CELL).round().astype(int).clip(0, coarse.shape[0] - 1)
    columns = ((x - ceiling.low_x) / CELL).round().astype(int).clip(0, coarse.shape[1] - 1)
    z = coarse[rows, columns] + 0.05 + ripple + mound
    points = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float64)
    return np.ascontiguousarray(points), length / (_COUNT - 1), width / (_COUNT - 1)


def _refined(points: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The grid at `_FINE` points a side, smooth, with wrinkles finer than the solver's grid."""
    grid = points.reshape(_COUNT, _COUNT, 3).astype(np.float32)
    sample = np.linspace(0, _COUNT - 1, _FINE, dtype=np.float32)
    columns, rows = np.meshgrid(sample, sample)
    fine = cv2.remap(grid, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
    fine[..., 2] += 0.001 * textures.noise(rng, _FINE, 26, 26) + 0.0012 * textures.noise(rng, _FINE, 12, 40)
    return fine.reshape(-1, 3)


def _normals(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit normals of a grid of points, on its upper side."""
    normals = np.cross(np.gradient(grid, axis=0), np.gradient(grid, axis=1))
    normals *= np.where(normals[..., 2:] < 0, -1.0, 1.0)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9))


def _off_the_face(grid: NDArray[np.float64], face: NDArray[np.float64]) -> NDArray[np.float64]:
    """The grid without the rows, counted from the top edge, that came to lie on the face; at least four are left."""
    centre = face.mean(0)
    over = np.hypot(grid[..., 0] - centre[0], grid[..., 1] - centre[1]) < _FACE_RADIUS
    rows = np.flatnonzero((over & (grid[..., 2] > centre[2] - _FACE_RADIUS)).any(1))
    return grid[min(int(rows[-1]) + 1, len(grid) - 4) :] if len(rows) else grid


def lay_blanket(
    rng: np.random.Generator, bed: Bed, patient: Sequence[Mesh], support: Sequence[Mesh], surface: Surface,
    lining: Surface, *, coverage: float, arrangement: str = "flat", railed: bool = False,
    face: NDArray[np.float64] | None = None,
) -> Blanket:  # fmt: skip
    """Drop a blanket over the patient, about 15 ms.

    patient, support: meshes of the person (body, clothes, hair) and of the bed (mattress, pillow). coverage: how much
    of the patient, from the feet up, to cover, 0…1; what came about stands in the result. arrangement: one of
    `ARRANGEMENTS`. lining: the side that shows where the top is folded back. railed: rails keep it from hanging out.
    face: points (K, 3) of the face, which stays free whatever the coverage.
    """
    if not 0.0 <= coverage <= 1.0:
        raise ValueError(f"coverage must be 0–1, got {coverage}")
    if arrangement not in ARRANGEMENTS:
        raise ValueError(f"arrangement must be one of {', '.join(ARRANGEMENTS)}, got {arrangement!r}")
    body = HeightMap.over(patient, bed)
    bedding = HeightMap.over(support, bed)
    # The body is widened by more than half a step of the cloth, so that nothing pokes out between its points.
    widened = cv2.dilate(body.heights, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    ground = HeightMap(np.maximum(widened, bedding.heights), body.low_x, body.low_y)
    columns = np.nonzero((body.heights > -50).any(0))[0]
    head, feet = (columns[0], columns[-1]) if len(columns) else (0, body.heights.shape[1] - 1)
    # The column above which a share `coverage` of the outline lies footward.
    outline = np.cumsum((body.heights > -50).sum(0)[::-1])
    footward = int(np.searchsorted(outline, coverage * outline[-1])) if len(columns) else int((feet - head) * coverage)
    top_edge = body.low_x + CELL * (body.heights.shape[1] - 1 - footward)
    # A blanket lies in a sitter's lap: it begins footward of head and shoulders.
    upright = np.nonzero((body.heights - np.maximum(bedding.heights, 0.0) > UPRIGHT).any(0))[0]
    if len(upright):
        top_edge = max(top_edge, body.low_x + CELL * (float(upright[-1]) + 4))
    if face is not None and len(face):
        top_edge = max(top_edge, float(face[:, 0].max()) + _CHIN)
    points, step_x, step_y = _start(rng, bed, top_edge, arrangement, ground, railed)
    mattress = cloth.Mattress(
        bed.length / 2, bed.width / 2, hinge_x(bed), -MATTRESS_THICKNESS, -bed.height, 0.03 if railed else 10.0
    )
    below = cloth.Ground(ground.heights, ground.low_x, ground.low_y, CELL)
    cloth.drop(points, cloth.Weave(_COUNT, step_x, step_y, THICKNESS, 0.5), below, mattress, 40, 5)
    fine = _refined(points, rng)
    cloth.lift(fine, below, THICKNESS * 0.8, cloth.OVERHANG)
    # Over the mattress's rounded edge the cloth bends sharper than its mesh; what hangs beside it stays where it hangs.
    brim = cv2.dilate(bedding.heights, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    cloth.lift(fine, below._replace(heights=brim), THICKNESS * 0.8, 0.05)
    surface_points = fine.reshape(_FINE, _FINE, 3)
    if face is not None and len(face):
        surface_points = _off_the_face(surface_points, face)
    meshes = [shapes.sheet(surface_points, surface)]
    if arrangement == "folded_back":
        turned_m, row_m = float(rng.uniform(0.14, 0.28)), step_x * _COUNT / _FINE
        rows = int(np.clip(round(turned_m / row_m), 4, len(surface_points) // 2))
        folded = surface_points[:rows].copy()
        fade = np.sqrt(np.linspace(0, 1, rows))[:, None]
        crumple = 0.003 * textures.noise(rng, _FINE, 20, 20)[:rows]
        # Off along the cloth's normals: where it hangs steeply, straight up would lie within it.
        folded += _normals(folded) * np.maximum(0.006, 0.008 + 0.018 * fade + crumple)[..., None]
        meshes.append(shapes.sheet(folded, lining))
    over = HeightMap.over(meshes, bed)
    return Blanket(tuple(replace(mesh, instance=0) for mesh in meshes), coverage_of(body, over))
