"""Plain solids and sheets as meshes, each with `uv` in metres, so that a texture's scale is set in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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


def linear(red: float, green: float, blue: float) -> tuple[float, float, float]:
    """Linear albedo of an sRGB colour given as 0…1."""
    value = np.array([red, green, blue], dtype=np.float64)
    out = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return float(out[0]), float(out[1]), float(out[2])


def make_mesh(
    vertices: ArrayLike, triangles: ArrayLike, uv_metres: ArrayLike | None, surface: Surface, *,
    single_sided: bool = False,
) -> Mesh:  # fmt: skip
    """A mesh of one surface; `uv_metres` (V, 2) may be None where the surface has no texture."""
    points = np.asarray(vertices, dtype=np.float32)
    colors = np.broadcast_to(np.asarray(surface.color, dtype=np.float32), points.shape).copy()
    faces = np.asarray(triangles, dtype=np.int32)
    if surface.texture is None:
        return Mesh(points, faces, colors, single_sided=single_sided, gloss=surface.gloss)
    uv = np.asarray(uv_metres, dtype=np.float32) / np.float32(surface.repeat)
    return Mesh(points, faces, colors, 0, uv, surface.texture, single_sided, surface.gloss)


def grid_triangles(rows: int, columns: int) -> NDArray[np.int32]:
    """Triangles (T, 3) of a grid of rows × columns vertices, wound counter-clockwise for +column × +row."""
    index = np.arange(rows * columns).reshape(rows, columns)
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)


def quad(corner: ArrayLike, along: ArrayLike, up: ArrayLike, surface: Surface, *, single_sided: bool = False) -> Mesh:
    """A rectangle from `corner` along two edge vectors; it faces along × up."""
    origin, u, v = (np.asarray(vector, dtype=np.float64) for vector in (corner, along, up))
    width, height = np.linalg.norm(u), np.linalg.norm(v)
    vertices = np.stack([origin, origin + u, origin + u + v, origin + v])
    uv = np.array([[0, height], [width, height], [width, 0], [0, 0]])
    return make_mesh(vertices, [[0, 1, 2], [0, 2, 3]], uv, surface, single_sided=single_sided)


def box(low: ArrayLike, high: ArrayLike, surface: Surface) -> Mesh:
    """An axis-aligned box with flat faces."""
    a, b = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    vertices: list[NDArray[np.float64]] = []
    triangles: list[list[int]] = []
    uv: list[list[float]] = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for side in (0, 1):
            start = len(vertices)
            for du, dv in ((0, 0), (1, 0), (1, 1), (0, 1)):
                point = np.array(a)
                point[axis] = (b if side else a)[axis]
                point[u], point[v] = (b if du else a)[u], (b if dv else a)[v]
                vertices.append(point)
                uv.append([point[u], point[v]])
            order = [[0, 1, 2], [0, 2, 3]] if side else [[0, 2, 1], [0, 3, 2]]
            triangles += [[start + i for i in triangle] for triangle in order]
    return make_mesh(np.array(vertices), triangles, uv, surface)


def rounded_box(low: ArrayLike, high: ArrayLike, radius: float, surface: Surface, step: float = 0.06) -> Mesh:
    """A box with rounded edges and corners; `step` metres is the mesh's spacing on the flats."""
    a, b = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    radius = min(radius, float((b - a).min()) / 2)
    axes = []
    for axis in range(3):
        inner = np.linspace(a[axis] + radius, b[axis] - radius, max(2, int((b - a)[axis] / step)))
        bend = radius * (1 - np.cos(np.linspace(0, np.pi / 2, 4)[:-1]))
        axes.append(np.unique(np.concatenate([a[axis] + bend, inner, b[axis] - bend])))
    vertices, triangles, uv, start = [], [], [], 0
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        uu, vv = np.meshgrid(axes[u], axes[v])
        for side in (0, 1):
            points = np.empty((uu.size, 3))
            points[:, axis], points[:, u], points[:, v] = (b if side else a)[axis], uu.ravel(), vv.ravel()
            core = np.clip(points, a + radius, b - radius)
            away = points - core
            length = np.linalg.norm(away, axis=1, keepdims=True)
            vertices.append(core + away / np.maximum(length, 1e-9) * np.minimum(length, radius))
            faces = grid_triangles(len(axes[v]), len(axes[u]))
            triangles.append((faces if side else faces[:, ::-1]) + start)
            uv.append(np.column_stack([points[:, u], points[:, v]]))
            start += uu.size
    return make_mesh(np.concatenate(vertices), np.concatenate(triangles), np.concatenate(uv), surface)


def tube(path: ArrayLike, radius: float, surface: Surface, sides: int = 8) -> Mesh:
    """A round bar along a polyline (N, 3)."""
    points = np.asarray(path, dtype=np.float64)
    tangents = np.gradient(points, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True) + 1e-12
    helper = np.array([0.0, 0.0, 1.0]) if abs(tangents[:, 2]).mean() < 0.7 else np.array([1.0, 0.0, 0.0])
    side = np.cross(tangents, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-12
    other = np.cross(side, tangents)
    angles = np.linspace(0, 2 * np.pi, sides + 1)
    ring = side[:, None] * np.cos(angles)[None, :, None] + other[:, None] * np.sin(angles)[None, :, None]
    vertices = (points[:, None] + radius * ring).reshape(-1, 3)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    uv = np.stack(np.broadcast_arrays(angles[None] * radius, along[:, None]), -1).reshape(-1, 2)
    return make_mesh(vertices, grid_triangles(len(points), sides + 1), uv, surface)


def disc_stack(centre: ArrayLike, profile: Sequence[tuple[float, float]], surface: Surface, sides: int = 16) -> Mesh:
    """A solid of revolution about the vertical through `centre`: profile of (radius, height above centre)."""
    origin = np.asarray(centre, dtype=np.float64)
    angles = np.linspace(0, 2 * np.pi, sides + 1)
    rings = [
        origin + np.column_stack([r * np.cos(angles), r * np.sin(angles), np.full(sides + 1, h)]) for r, h in profile
    ]
    uv = [np.column_stack([angles * max(r, 0.05), np.full(sides + 1, h)]) for r, h in profile]
    return make_mesh(np.concatenate(rings), grid_triangles(len(profile), sides + 1), np.concatenate(uv), surface)


def sheet(points: NDArray[np.floating], surface: Surface, *, single_sided: bool = False) -> Mesh:
    """A surface through a grid of points (rows, columns, 3), its uv the lengths along both directions."""
    rows, columns = points.shape[:2]
    across = np.linalg.norm(np.diff(points, axis=1), axis=2).mean(0)
    down = np.linalg.norm(np.diff(points, axis=0), axis=2).mean(1)
    u, v = np.meshgrid(np.concatenate([[0], np.cumsum(across)]), np.concatenate([[0], np.cumsum(down)]))
    uv = np.column_stack([u.ravel(), v.ravel()])
    return make_mesh(points.reshape(-1, 3), grid_triangles(rows, columns), uv, surface, single_sided=single_sided)


def moved(mesh: Mesh, yaw_deg: float, to: ArrayLike) -> Mesh:
    """The mesh turned about the vertical through its frame's origin, then shifted."""
    angle = np.radians(yaw_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
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
