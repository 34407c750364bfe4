"""The renderer that needs no GL: a deferred rasteriser on the CPU, compiled by numba.

It draws what the DESIGN's other renderers draw, on one core, byte for byte the same on every run, and so serves as the
oracle of their tests too. Light: directional lights evaluated per pixel, hemispheric ambient light with screen-space
occlusion, a shadow map for each light that casts one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from synth.render import kernels, shading
from synth.render.mesh import Mesh
from synth.render.renderer import Rendering, Scene, require_pinhole
from synth.render.shadows import ShadowMaps

MAX_MESHES = 255  # `part` is a byte
_MAX_MIP_LEVELS = 10
_KEPT_CHAINS = 160
_CREASE_COSINE = 0.7  # faces that turn by more than this are smoothed like outlines
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


def _hits(
    geometry: Geometry, camera: CameraModel, near: float
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int16]]:
    """Inverse depth and triangle (H, W) of every pixel, and each triangle's bounds (T, 4) in pixels."""
    # What lies behind the near plane has no place in the picture; it stays at zero and is not used.
    pixels = np.zeros((len(geometry.camera_points), 2), np.float64)
    kernels.project(geometry.camera_points, camera.fx, camera.fy, camera.cx, camera.cy, near, pixels)
    inverse_depth = np.zeros((camera.height, camera.width), np.float32)
    hit = np.full((camera.height, camera.width), -1, np.int32)
    bounds = np.empty((len(geometry.triangles), 4), np.int16)
    kernels.rasterize(
        geometry.camera_points, pixels, geometry.triangles, geometry.mesh_of, geometry.single_sided, camera.fx,
        camera.fy, camera.cx, camera.cy, near, bounds, inverse_depth, hit,
    )  # fmt: skip
    return inverse_depth, hit, bounds


def _vertices(meshes: Sequence[Mesh], geometry: Geometry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is interpolated (V, 8): normal, colour, texture coordinates; and unit face normals (T, 3)."""
    vertices = np.zeros((len(geometry.points), 8), np.float32)
    for index, mesh in enumerate(meshes):
        rows = slice(geometry.first_vertex[index], geometry.first_vertex[index + 1])
        vertices[rows, 3:6] = mesh.colors
        if mesh.uv is not None:
            vertices[rows, 6:] = mesh.uv
    faces = np.empty((len(geometry.triangles), 3), np.float32)
    kernels.accumulate_normals(geometry.points, geometry.triangles, vertices, faces)
    return vertices, faces


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
    require_pinhole(camera)
    geometry = _lay_out(meshes, camera_from_bed)
    inverse_depth, hit, _ = _hits(geometry, camera, near)
    return _resolve(geometry, inverse_depth, hit)


_mip_chains: OrderedDict[int, tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]] = OrderedDict()


def _mip_chain(texture: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The texture and its halvings down to one texel; kept, since the surroundings' textures come back."""
    found = _mip_chains.get(id(texture))
    if found is not None and found[0] is texture:
        _mip_chains.move_to_end(id(texture))
        return found[1]
    chain = [np.ascontiguousarray(texture)]
    while len(chain) < _MAX_MIP_LEVELS and max(chain[-1].shape[:2]) > 1:
        rows, columns = (max(1, side // 2) for side in chain[-1].shape[:2])
        half = cv2.resize(chain[-1], (columns, rows), interpolation=cv2.INTER_AREA)
        chain.append(half.reshape(rows, columns, 3))
    _mip_chains[id(texture)] = (texture, chain)
    if len(_mip_chains) > _KEPT_CHAINS:
        _mip_chains.popitem(last=False)
    return chain


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
        chain = _mip_chain(mesh.texture)
        levels[index, 0, 0] = len(chain)
        for level, picture in enumerate(chain, start=1):
            rows, columns = picture.shape[:2]
            levels[index, level] = used, rows, columns
            chunks.append(picture.reshape(-1, 3))
            used += rows * columns
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
        require_pinhole(camera)
        geometry = _lay_out(scene.meshes, camera_from_bed)
        inverse_depth, hit, bounds = _hits(geometry, camera, self.near)
        depth, instance, part = _resolve(geometry, inverse_depth, hit)
        vertices, faces = _vertices(scene.meshes, geometry)
        slot, fine = np.full(hit.shape, -1, np.int32), np.empty((0, 4), np.int32)
        if self.antialias:
            count = kernels.find_outlines(hit, geometry.mesh_of, faces, _CREASE_COSINE, slot)
            fine = np.full((count, 4), -1, np.int32)
            kernels.rasterize_samples(
                geometry.camera_points, geometry.triangles, geometry.mesh_of, geometry.single_sided, camera.fx,
                camera.fy, camera.cx, camera.cy, self.near, bounds, slot, np.zeros((count, 4), np.float32), fine,
            )  # fmt: skip
        bed_from_camera = np.linalg.inv(np.asarray(camera_from_bed, dtype=np.float64))
        casting = [light for light in scene.lights if light.casts_shadow]
        shadows = ShadowMaps.of(scene.meshes, casting, bed_from_camera, self.shadow_size)
        lights = casting + [light for light in scene.lights if not light.casts_shadow]
        toward = np.array([light.toward for light in lights], dtype=np.float64).reshape(-1, 3)
        toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-12)
        texels, levels = _pack_textures(scene.meshes)
        color = np.zeros((*hit.shape, 3), np.uint8)
        shading.shade(
            hit, slot, fine, _CREASE_COSINE, faces, geometry.mesh_of, self._openness(depth, camera),
            geometry.camera_points, geometry.triangles, vertices,
            np.array([camera.fx, camera.fy, camera.cx, camera.cy]), toward,
            np.array([light.color for light in lights], dtype=np.float64).reshape(-1, 3), shadows.heights,
            shadows.least, shadows.greatest, shadows.sizes, shadows.rows, shadows.step, geometry.gloss,
            np.ascontiguousarray(bed_from_camera[:3, :3]), np.array(scene.sky, dtype=np.float64),
            np.array(scene.ground, dtype=np.float64), texels, levels, _TO_LINEAR, _TO_SRGB, color,
        )  # fmt: skip
        return Rendering(color, depth, instance, part)

    def _openness(self, depth: NDArray[np.float32], camera: CameraModel) -> NDArray[np.float32]:
        """Ambient openness (H, W) in 0…1, worked out at half size."""
        if self.occlusion <= 0 or min(depth.shape) < 16:
            return np.ones(depth.shape, np.float32)
        half = np.ascontiguousarray(depth[::2, ::2])
        openness = np.empty(half.shape, np.float32)
        shading.occlusion(half, camera.fx / 2, camera.fy / 2, 0.25, self.occlusion, openness)
        return np.asarray(cv2.resize(openness, depth.shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
