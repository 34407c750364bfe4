"""The renderer that needs no GL: a deferred rasteriser on the CPU, compiled by numba.

It draws what the DESIGN's other renderers draw, on one core, byte for byte the same on every run, and so serves as the
oracle of their tests too. Light: directional lights evaluated per pixel, hemispheric ambient light with screen-space
occlusion, a shadow map for each light that casts one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from synth.render import kernels
from synth.render.mesh import Mesh
from synth.render.renderer import Light, Rendering, Scene

MAX_MESHES = 255  # `part` is a byte
_MAX_MIP_LEVELS = 10
_SRGB = np.arange(256) / 255.0
_TO_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4).astype(np.float32)
_LINEAR = np.arange(4096) / 4095.0
_CURVE = np.where(_LINEAR <= 0.0031308, 12.92 * _LINEAR, 1.055 * _LINEAR ** (1 / 2.4) - 0.055)
_TO_SRGB = (255.0 * _CURVE).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Meshes laid end to end. points (V, 3) float32 bed frame; camera_points (V, 3) float64; triangles (T, 3) int32;
    mesh_of (T,) uint8; instance_of (M,) uint8, single_sided (M,) bool and gloss (M,) float64 by mesh."""

    points: NDArray[np.float32]
    camera_points: NDArray[np.float64]
    triangles: NDArray[np.int32]
    mesh_of: NDArray[np.uint8]
    instance_of: NDArray[np.uint8]
    single_sided: NDArray[np.bool_]
    gloss: NDArray[np.float64]
    first_vertex: NDArray[np.int64]
    first_triangle: NDArray[np.int64]


def _lay_out(meshes: Sequence[Mesh], camera_from_bed: NDArray[np.float64]) -> Geometry:
    if len(meshes) > MAX_MESHES:
        raise ValueError(f"a scene holds at most {MAX_MESHES} meshes, got {len(meshes)}")
    if camera_from_bed.shape != (4, 4):
        raise ValueError(f"camera_from_bed must be (4, 4), got {camera_from_bed.shape}")
    first_vertex = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    first_triangle = np.cumsum([0] + [len(mesh.triangles) for mesh in meshes])
    points = np.empty((first_vertex[-1], 3), np.float32)
    triangles = np.empty((first_triangle[-1], 3), np.int32)
    mesh_of = np.empty(first_triangle[-1], np.uint8)
    for index, mesh in enumerate(meshes):
        points[first_vertex[index] : first_vertex[index + 1]] = mesh.vertices
        rows = slice(first_triangle[index], first_triangle[index + 1])
        triangles[rows] = mesh.triangles
        triangles[rows] += np.int32(first_vertex[index])
        mesh_of[rows] = index
    camera_points = np.empty((len(points), 3), np.float64)
    kernels.transform(points, np.ascontiguousarray(camera_from_bed[:3], dtype=np.float64), camera_points)
    instance_of = np.array([mesh.instance for mesh in meshes] or [0], np.uint8)
    single_sided = np.array([mesh.single_sided for mesh in meshes] or [False])
    gloss = np.array([mesh.gloss for mesh in meshes] or [0.0])
    return Geometry(
        points, camera_points, triangles, mesh_of, instance_of, single_sided, gloss, first_vertex, first_triangle
    )


def _pinhole(camera: CameraModel) -> None:
    if camera.distorted:
        raise ValueError("a renderer draws through an undistorted pinhole; distort the picture afterwards")


def _hits(geometry: Geometry, camera: CameraModel, near: float) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    inverse_depth = np.zeros((camera.height, camera.width), np.float32)
    hit = np.full((camera.height, camera.width), -1, np.int32)
    kernels.rasterize(
        geometry.camera_points, geometry.triangles, geometry.mesh_of, geometry.single_sided, camera.fx, camera.fy,
        camera.cx, camera.cy, near, inverse_depth, hit,
    )  # fmt: skip
    return inverse_depth, hit


def _resolve(
    geometry: Geometry, inverse_depth: NDArray[np.float32], hit: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    depth = np.zeros(hit.shape, np.float32)
    instance = np.zeros(hit.shape, np.uint8)
    part = np.zeros(hit.shape, np.uint8)
    kernels.resolve(inverse_depth, hit, geometry.mesh_of, geometry.instance_of, depth, instance, part)
    return depth, instance, part


def render_depth_ids(
    meshes: Sequence[Mesh], camera_from_bed: NDArray[np.float64], camera: CameraModel, near: float = 0.05
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Depth (H, W) float32 metres, instance and part (H, W) uint8 of these meshes alone, without colour.

    About a tenth of a full rendering's cost. Pass one person's meshes for that person's full extent.
    """
    _pinhole(camera)
    geometry = _lay_out(meshes, camera_from_bed)
    return _resolve(geometry, *_hits(geometry, camera, near))


def _shadow_casters(scene: Scene) -> list[int]:
    """The meshes that cast: all but the room's shell, within reach of the people (or of everything, without people).

    Walls, floor and ceiling would shut a directional light out, and would spread the map over the whole room.
    """
    bounds = [(mesh.vertices.min(0), mesh.vertices.max(0)) if len(mesh.vertices) else None for mesh in scene.meshes]
    movable = [i for i, bound in enumerate(bounds) if bound is not None and np.linalg.norm(bound[1] - bound[0]) < 3.2]
    people = [bounds[i] for i in movable if scene.meshes[i].instance > 0]
    if not people:
        return movable
    low = np.min([bound[0] for bound in people if bound is not None], axis=0) - 1.0
    high = np.max([bound[1] for bound in people if bound is not None], axis=0) + 1.0
    near_people = []
    for i in movable:
        bound = bounds[i]
        if bound is not None and (bound[1] > low).all() and (bound[0] < high).all():
            near_people.append(i)
    return near_people


def _shadow_map(
    scene: Scene, geometry: Geometry, light: Light, casters: list[int], size: int, bed_from_camera: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """The map, at most (size, size), of heights toward the light; the rows (3, 7) that take a camera-frame point and a
    bed-frame normal to column, row and height; and (normal step, height slack) in metres."""
    toward = np.asarray(light.toward, dtype=np.float64)
    toward /= np.linalg.norm(toward)
    across = np.cross([0.0, 1.0, 0.0] if abs(toward[1]) < 0.9 else [1.0, 0.0, 0.0], toward)
    across /= np.linalg.norm(across)
    light_from_bed = np.stack([across, np.cross(toward, across), toward])
    points = np.concatenate([scene.meshes[i].vertices for i in casters])
    placed = np.empty((len(points), 3), np.float64)
    kernels.transform(points, np.column_stack([light_from_bed, np.zeros(3)]), placed)
    low, high = placed.min(0), placed.max(0)
    # The look-up spreads over three texels: a coarser map makes a softer shadow, and a cheaper one.
    texel = max(float((high - low)[:2].max()) / (size - 8), light.softness / 3.0, 1e-6)
    size = min(size, int(np.ceil((high - low)[:2].max() / texel)) + 9)
    scale = np.array([1.0 / texel, 1.0 / texel, 1.0])
    offset = np.array([4.0 - low[0] / texel, 4.0 - low[1] / texel, 0.0])
    placed *= scale
    placed += offset
    heights = np.full((size, size), -1e9, np.float32)
    starts = np.cumsum([0] + [len(scene.meshes[i].vertices) for i in casters])
    triangles = np.concatenate(
        [scene.meshes[i].triangles + np.int32(start) for i, start in zip(casters, starts, strict=False)]
    )
    kernels.rasterize_heights(placed, triangles, heights)
    rows = np.zeros((3, 7))
    rows[:, :3] = scale[:, None] * (light_from_bed @ bed_from_camera[:3, :3])
    rows[:, 3] = scale * (light_from_bed @ bed_from_camera[:3, 3]) + offset
    rows[:, 4:] = scale[:, None] * light_from_bed
    return heights, rows, np.array([max(1.5 * texel, 0.004), max(1.2 * texel, 0.004)])


def _stacked(maps: list[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Square maps of different sizes in one array (K, S, S), and their sizes (K,)."""
    sizes = np.array([len(m) for m in maps], np.int64)
    stack = np.empty((len(maps), max([*sizes, 1]), max([*sizes, 1])), np.float32)
    for held, m in zip(stack, maps, strict=True):
        held[: len(m), : len(m)] = m
    return stack, sizes


def _pack_textures(meshes: Sequence[Mesh]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All mip levels end to end (N, 3) uint8, and per mesh (levels, start/rows/columns); row 0 holds the count."""
    chunks: list[NDArray[np.uint8]] = [np.zeros((1, 3), np.uint8)]
    levels = np.zeros((max(1, len(meshes)), 1 + _MAX_MIP_LEVELS, 3), np.int64)
    known: dict[int, int] = {}
    used = 1
    for index, mesh in enumerate(meshes):
        if mesh.texture is None:
            continue
        if id(mesh.texture) in known:
            levels[index] = levels[known[id(mesh.texture)]]
            continue
        known[id(mesh.texture)] = index
        picture = np.ascontiguousarray(mesh.texture)
        for level in range(_MAX_MIP_LEVELS):
            rows, columns = picture.shape[:2]
            levels[index, 0, 0] = level + 1
            levels[index, 1 + level] = used, rows, columns
            chunks.append(picture.reshape(-1, 3))
            used += rows * columns
            if rows == 1 and columns == 1:
                break
            picture = cv2.resize(
                picture, (max(1, columns // 2), max(1, rows // 2)), interpolation=cv2.INTER_AREA
            ).reshape(max(1, rows // 2), max(1, columns // 2), 3)
    return np.concatenate(chunks), levels


@dataclass(frozen=True, slots=True)
class NumbaRenderer:
    """Draws on one CPU core.

    shadow_size: texels along a shadow map's side. antialias: smooth edges by 2×2 samples (colour only; depth,
    instance and part are those of the pixel's centre). occlusion: strength of ambient occlusion, 0 = none.
    near: metres; nothing closer is drawn.
    """

    shadow_size: int = 1024
    antialias: bool = True
    occlusion: float = 1.1
    near: float = 0.05
    name: str = "numba"

    def render(self, scene: Scene, camera_from_bed: NDArray[np.float64], camera: CameraModel) -> Rendering:
        """The scene as the undistorted `camera` sees it; raises ValueError for a camera with distortion."""
        _pinhole(camera)
        geometry = _lay_out(scene.meshes, camera_from_bed)
        inverse_depth, hit = _hits(geometry, camera, self.near)
        depth, instance, part = _resolve(geometry, inverse_depth, hit)
        fine = np.empty((0, 0), np.int32)
        if self.antialias:
            _, fine = _hits(geometry, camera.resized(2 * camera.width, 2 * camera.height), self.near)
        normals = np.zeros((len(geometry.points), 3), np.float32)
        faces = np.empty((len(geometry.triangles), 3), np.float32)
        kernels.accumulate_normals(geometry.points, geometry.triangles, normals, faces)

        bed_from_camera = np.linalg.inv(np.asarray(camera_from_bed, dtype=np.float64))
        casting = [light for light in scene.lights if light.casts_shadow]
        lights = casting + [light for light in scene.lights if not light.casts_shadow]
        casters = _shadow_casters(scene) if casting else []
        maps = [
            _shadow_map(scene, geometry, light, casters, self.shadow_size, bed_from_camera)
            for light in casting
            if casters
        ]
        shadows, shadow_sizes = _stacked([m[0] for m in maps])
        shadow_rows = np.stack([m[1] for m in maps]) if maps else np.empty((0, 3, 7))
        shadow_texel = np.stack([m[2] for m in maps]) if maps else np.empty((0, 2))
        toward = np.array([light.toward for light in lights], dtype=np.float64).reshape(-1, 3)
        toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-12)

        colors = np.empty((len(geometry.points), 3), np.float32)
        uv = np.zeros((len(geometry.points), 2), np.float32)
        for index, mesh in enumerate(scene.meshes):
            rows = slice(geometry.first_vertex[index], geometry.first_vertex[index + 1])
            colors[rows] = mesh.colors
            if mesh.uv is not None:
                uv[rows] = mesh.uv
        texels, levels = _pack_textures(scene.meshes)
        color = np.zeros((*hit.shape, 3), np.uint8)
        kernels.shade(
            inverse_depth, hit, fine, 0.9, faces, geometry.mesh_of, self._openness(depth, camera),
            geometry.camera_points, geometry.triangles, normals, colors, uv,
            np.array([camera.fx, camera.fy, camera.cx, camera.cy]), toward,
            np.array([light.color for light in lights], dtype=np.float64).reshape(-1, 3), shadows, shadow_sizes,
            shadow_rows, shadow_texel, geometry.gloss, np.ascontiguousarray(bed_from_camera[:3, :3]),
            np.array(scene.sky, dtype=np.float64), np.array(scene.ground, dtype=np.float64), texels,
            levels, _TO_LINEAR, _TO_SRGB, color,
        )  # fmt: skip
        return Rendering(color, depth, instance, part)

    def _openness(self, depth: NDArray[np.float32], camera: CameraModel) -> NDArray[np.float32]:
        """Ambient openness (H, W) in 0…1, worked out at half size."""
        if self.occlusion <= 0 or min(depth.shape) < 16:
            return np.ones(depth.shape, np.float32)
        half = np.ascontiguousarray(depth[::2, ::2])
        openness = np.empty(half.shape, np.float32)
        kernels.occlusion(half, camera.fx / 2, camera.fy / 2, 0.25, self.occlusion, openness)
        return np.asarray(cv2.resize(openness, depth.shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
