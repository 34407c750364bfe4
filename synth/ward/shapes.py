"""Plain solids and sheets as meshes, each with `uv` in metres, so that a texture's scale is set in one place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synth.render.mesh import Mesh


@dataclass(frozen=True, slots=True)
class Surface:
    """What a thing is made of. color: linear albedo (3,). texture: (h, w, 3) uint8 sRGB, repeating every `repeat`
    metres, or None. gloss: as `Mesh` has it."""

    color: tuple[float, float, float] = (0.7, 0.7, 0.7)
    texture: NDArray[np.uint8] | None = None
    repeat: float = 1.0
    gloss: float = 0.0


@lru_cache(maxsize=256)
def linear(red: float, green: float, blue: float) -> tuple[float, float, float]:
    """Linear albedo of an sRGB colour given as 0…1."""
    value = np.array([red, green, blue], dtype=np.float64)
    out = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float(out[0]), float(out[1]), float(out[2])


def make_mesh(
    vertices: ArrayLike, triangles: ArrayLike, uv_metres: ArrayLike | None, surface: Surface, *,
    shade: ArrayLike = 1.0, single_sided: bool = False,
) -> Mesh:  # fmt: skip
    """A mesh of one surface, its colour multiplied by `shade` (V, 1); `uv_metres` (V, 2) may be None where the surface
    has no texture."""
    points = np.asarray(vertices, dtype=np.float32)
    colors = np.empty_like(points)
    np.multiply(np.asarray(surface.color, dtype=np.float32), shade, out=colors, casting="same_kind")
    faces = np.asarray(triangles, dtype=np.int32)
    if surface.texture is None:
        return Mesh(points, faces, colors, single_sided=single_sided, gloss=surface.gloss)
    uv = np.asarray(uv_metres, dtype=np.float32) / np.float32(surface.repeat)
    return Mesh(points, faces, colors, 0, uv, surface.texture, single_sided, surface.gloss)


@lru_cache(maxsize=512)
def grid_triangles(rows: int, columns: int) -> NDArray[np.int32]:
    """Triangles (T, 3) of a grid of rows × columns vertices, wound counter-clockwise for +column × +row."""
    index = np.arange(rows * columns).reshape(rows, columns)
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    triangles.flags.writeable = False
    return triangles


def quad(corner: ArrayLike, along: ArrayLike, up: ArrayLike, surface: Surface, *, single_sided: bool = False) -> Mesh:
    """A rectangle from `corner` along two edge vectors; it faces along × up."""
    origin, u, v = (np.asarray(vector, dtype=np.float64) for vector in (corner, along, up))
    width, height = math.sqrt((u * u).sum()), math.sqrt((v * v).sum())
    vertices = np.array([origin, origin + u, origin + u + v, origin + v])
    uv = np.array([[0, height], [width, height], [width, 0], [0, 0]])
    return make_mesh(vertices, _QUAD, uv, surface, single_sided=single_sided)


def _faces_of_a_box() -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.intp]]:
    """Corners (24, 3) as 0 or 1 along each axis, four to a face; triangles (12, 3); the axes (24, 2) along a face."""
    corners, triangles, along = np.empty((24, 3)), np.empty((12, 3), np.int32), np.empty((24, 2), np.intp)
    for face in range(6):
        axis, side = divmod(face, 2)
        u, v = (axis + 1) % 3, (axis + 2) % 3
        rows = slice(4 * face, 4 * face + 4)
        corners[rows, axis], corners[rows, u], corners[rows, v] = side, (0, 1, 1, 0), (0, 0, 1, 1)
        triangles[2 * face : 2 * face + 2] = np.array([[0, 1, 2], [0, 2, 3]] if side else [[0, 2, 1], [0, 3, 2]])
        triangles[2 * face : 2 * face + 2] += 4 * face
        along[rows] = u, v
    return corners, triangles, along


_QUAD = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
_CORNERS, _BOX, _ALONG = _faces_of_a_box()
_OPPOSITE, _EACH_CORNER = 1 - _CORNERS, np.arange(24)[:, None]
_BEND = 1 - np.cos(np.linspace(0, np.pi / 2, 3)[:-1])  # a rounded edge's steps, of unit radius


def box(low: ArrayLike, high: ArrayLike, surface: Surface) -> Mesh:
    """An axis-aligned box with flat faces."""
    a, b = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    vertices = a * _OPPOSITE + b * _CORNERS
    uv = None if surface.texture is None else vertices[_EACH_CORNER, _ALONG]
    return make_mesh(vertices, _BOX, uv, surface)


@lru_cache(maxsize=512)
def _grids_of_a_box(counts: tuple[int, int, int]) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.intp]]:
    """Of a box whose faces are grids of so many lines along each axis, numbered through: each vertex's line along each
    axis (V, 3), the triangles (T, 3), and the two of the lines (V, 2) along its face."""
    lines, triangles, along, start = [], [], [], 0
    first = np.cumsum([0, *counts[:2]])
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        uu, vv = (grid.ravel() for grid in np.meshgrid(np.arange(counts[u]), np.arange(counts[v])))
        for side in (0, 1):
            line = np.empty((uu.size, 3), np.intp)
            line[:, axis], line[:, u], line[:, v] = (counts[axis] - 1) * side, uu, vv
            line += first
            lines.append(line)
            faces = grid_triangles(counts[v], counts[u])
            triangles.append((faces if side else faces[:, ::-1]) + np.int32(start))
            along.append(line[:, [u, v]])
            start += uu.size
    return np.concatenate(lines), np.concatenate(triangles), np.concatenate(along)


def rounded_box(low: ArrayLike, high: ArrayLike, radius: float, surface: Surface, step: float = 0.06) -> Mesh:
    """A box with rounded edges and corners; `step` metres is the mesh's spacing on the flats."""
    a, b = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    radius = min(radius, float((b - a).min()) / 2)
    axes, cores = [], []
    for start, end in zip(a.tolist(), b.tolist(), strict=True):
        count = max(2, int((end - start) / step)) if end - start > 2 * radius + 1e-9 else 1
        inner = np.linspace(start + radius, end - radius, count)
        axes.append(np.concatenate([start + radius * _BEND, inner, end - radius * _BEND[::-1]]))
        cores.append(np.minimum(np.maximum(axes[-1], start + radius), end - radius))
    lines, triangles, along = _grids_of_a_box((len(axes[0]), len(axes[1]), len(axes[2])))
    # All that depends on one axis alone is reckoned once a line of the grids, not once a vertex.
    axis, core = np.concatenate(axes), np.concatenate(cores)
    away = axis - core
    length = np.sqrt((away * away)[lines].sum(1, keepdims=True))
    vertices = core[lines] + away[lines] * (np.minimum(length, radius) / np.maximum(length, 1e-9))
    uv = None if surface.texture is None else axis[along]
    return make_mesh(vertices, triangles, uv, surface)


@lru_cache(maxsize=32)
def _circle(sides: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Angles (sides + 1,) once around, and the points (sides + 1, 2) of the unit circle at them."""
    angles = np.linspace(0, 2 * np.pi, sides + 1)
    return angles, np.stack([np.cos(angles), np.sin(angles)], axis=1)


def tube(path: ArrayLike, radius: float, surface: Surface, sides: int = 8) -> Mesh:
    """A round bar along a polyline (N, 3)."""
    points = np.asarray(path, dtype=np.float64)
    steps = points[1:] - points[:-1]
    tangents = np.concatenate([steps[:1], 0.5 * (steps[1:] + steps[:-1]), steps[-1:]])
    tangents /= np.sqrt((tangents * tangents).sum(1, keepdims=True)) + 1e-12
    x, y, z = tangents.T
    nothing = np.zeros_like(x)
    # Tangent × up; or, for an upright bar, tangent × forward.
    upright = np.abs(z).mean() >= 0.7
    side = np.stack([nothing, z, -y] if upright else [y, -x, nothing], axis=1)
    side /= np.sqrt((side * side).sum(1, keepdims=True)) + 1e-12
    a, b, c = side.T
    other = np.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=1)
    angles, circle = _circle(sides)
    ring = side[:, None] * circle[None, :, :1] + other[:, None] * circle[None, :, 1:]
    vertices = (points[:, None] + radius * ring).reshape(-1, 3)
    triangles = grid_triangles(len(points), sides + 1)
    if surface.texture is None:
        return make_mesh(vertices, triangles, None, surface)
    uv = np.zeros((len(points), sides + 1, 2))
    uv[..., 0] = angles * radius
    uv[1:, :, 1] = np.cumsum(np.sqrt((steps * steps).sum(1)))[:, None]
    return make_mesh(vertices, triangles, uv.reshape(-1, 2), surface)


def disc_stack(centre: ArrayLike, profile: Sequence[tuple[float, float]], surface: Surface, sides: int = 16) -> Mesh:
    """A solid of revolution about the vertical through `centre`: profile of (radius, height above centre)."""
    angles, circle = _circle(sides)
    radius, height = np.array(profile, dtype=np.float64).T
    rings, uv = np.empty((len(profile), sides + 1, 3)), np.empty((len(profile), sides + 1, 2))
    rings[..., :2] = radius[:, None, None] * circle
    rings[..., 2] = height[:, None]
    rings += np.asarray(centre, dtype=np.float64)
    uv[..., 0] = angles * np.maximum(radius, 0.05)[:, None]
    uv[..., 1] = height[:, None]
    triangles = grid_triangles(len(profile), sides + 1)
    return make_mesh(rings.reshape(-1, 3), triangles, uv.reshape(-1, 2), surface)


def sheet(
    points: NDArray[np.floating], surface: Surface, *, shade: NDArray[np.float64] | None = None,
    single_sided: bool = False,
) -> Mesh:  # fmt: skip
    """A surface through a grid of points (rows, columns, 3), its uv the lengths along both directions; `shade`
    (rows, columns) multiplies its colour."""
    rows, columns = points.shape[:2]
    uv = np.zeros((rows, columns, 2))
    if surface.texture is not None:
        across, down = points[:, 1:] - points[:, :-1], points[1:] - points[:-1]
        uv[:, 1:, 0] = np.cumsum(np.sqrt((across * across).sum(2)).mean(0))
        uv[1:, :, 1] = np.cumsum(np.sqrt((down * down).sum(2)).mean(1))[:, None]
    triangles = grid_triangles(rows, columns)
    factor = 1.0 if shade is None else shade.reshape(-1, 1)
    vertices = points.reshape(-1, 3)
    return make_mesh(vertices, triangles, uv.reshape(-1, 2), surface, shade=factor, single_sided=single_sided)


@lru_cache(maxsize=32)
def _turn(yaw_deg: float) -> NDArray[np.float64]:
    """Rotation (3, 3) about the vertical."""
    angle = np.radians(yaw_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turn.flags.writeable = False
    return turn


def moved(mesh: Mesh, yaw_deg: float, to: ArrayLike) -> Mesh:
    """The mesh turned about the vertical through its frame's origin, then shifted."""
    turn = _turn(yaw_deg)
    # Written out: BLAS may differ in the last bit between machines.
    points = mesh.vertices.astype(np.float64)
    turned = points[:, :1] * turn[:, 0] + points[:, 1:2] * turn[:, 1] + points[:, 2:] * turn[:, 2]
    return replace(mesh, vertices=(turned + np.asarray(to, dtype=np.float64)).astype(np.float32))


def dyed(mesh: Mesh, surface: Surface) -> Mesh:
    """A mesh made with a white `Surface` repeating every metre, in the colour and texture of another."""
    colors = (mesh.colors * np.asarray(surface.color, dtype=np.float32)).astype(np.float32)
    uv = None if mesh.uv is None or surface.texture is None else mesh.uv / np.float32(surface.repeat)
    return replace(mesh, colors=colors, uv=uv, texture=None if uv is None else surface.texture)


def joined(meshes: Sequence[Mesh]) -> list[Mesh]:
    """Untextured meshes alike in instance, sides and gloss as one mesh, textured ones as they are: fewer to draw."""
    plain: dict[tuple[int, bool, float], list[Mesh]] = {}
    out = []
    for mesh in meshes:
        if mesh.texture is None:
            plain.setdefault((mesh.instance, mesh.single_sided, mesh.gloss), []).append(mesh)
        else:
            out.append(mesh)
    for (instance, single_sided, gloss), group in plain.items():
        starts = np.cumsum([0] + [len(mesh.vertices) for mesh in group[:-1]])
        out.append(
            Mesh(
                np.concatenate([mesh.vertices for mesh in group]),
                np.concatenate([mesh.triangles + np.int32(start) for mesh, start in zip(group, starts, strict=True)]),
                np.concatenate([mesh.colors for mesh in group]),
                instance,
                single_sided=single_sided,
                gloss=gloss,
            )
        )
    return out
