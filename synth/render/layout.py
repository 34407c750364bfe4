"""Scenes laid out for the renderers of our own: meshes end to end, textures end to end, and the curves of display."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synth.render import kernels
from synth.render.mesh import Mesh

MAX_MESHES = 255  # `part` is a byte
CREASE_COSINE = 0.7  # faces that turn by more than this are smoothed like outlines
_MAX_MIP_LEVELS = 10
_KEPT_CHAINS = 160
# Textures are filtered in display values, as a screen would show them between two texels: quarter steps do.
TEXTURE_STEPS = 4
_SRGB = np.arange(255 * TEXTURE_STEPS + 1) / (255.0 * TEXTURE_STEPS)
TO_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4).astype(np.float32)
# A soft shoulder keeps bright linen from clipping: light of this much is the brightest that is shown.
BRIGHTEST = 4 / 3
_LIGHT = np.linspace(0.0, BRIGHTEST, 8192)
_SHOWN = _LIGHT / (1.0 + 0.25 * _LIGHT)
_CURVE = np.where(_SHOWN <= 0.0031308, 12.92 * _SHOWN, 1.055 * _SHOWN ** (1 / 2.4) - 0.055)
TO_SRGB = (255.0 * _CURVE).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Geometry:
    """Meshes laid end to end. points (V, 3) float32 bed frame; camera_points (V, 3) float64; triangles (T, 3) int32;
    mesh_of (T,) uint8; instance_of (M,) uint8, single_sided (M,) bool and gloss (M,) float32 by mesh."""

    points: NDArray[np.float32]
    camera_points: NDArray[np.float64]
    triangles: NDArray[np.int32]
    mesh_of: NDArray[np.uint8]
    instance_of: NDArray[np.uint8]
    single_sided: NDArray[np.bool_]
    gloss: NDArray[np.float32]
    first_vertex: NDArray[np.int64]
    first_triangle: NDArray[np.int64]


def lay_out(meshes: Sequence[Mesh], camera_from_bed: NDArray[np.float64]) -> Geometry:
    """The meshes end to end. Raises ValueError for more than `MAX_MESHES` or a pose that is not (4, 4)."""
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
    gloss = np.array([mesh.gloss for mesh in meshes] or [0.0], np.float32)
    return Geometry(
        points, camera_points, triangles, mesh_of, instance_of, single_sided, gloss, first_vertex, first_triangle
    )


def interpolated(meshes: Sequence[Mesh], geometry: Geometry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
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


_mip_chains: OrderedDict[int, tuple[NDArray[np.uint8], list[NDArray[np.uint32]]]] = OrderedDict()


def _mip_chain(texture: NDArray[np.uint8]) -> list[NDArray[np.uint32]]:
    """The texture and its halvings down to one texel (rows, columns), red in the lowest byte of each texel, then green
    and blue; kept, since the surroundings' textures come back."""
    found = _mip_chains.get(id(texture))
    if found is not None and found[0] is texture:
        _mip_chains.move_to_end(id(texture))
        return found[1]
    half = np.ascontiguousarray(texture)
    chain = [_packed(half)]
    while len(chain) < _MAX_MIP_LEVELS and max(half.shape[:2]) > 1:
        rows, columns = (max(1, side // 2) for side in half.shape[:2])
        half = cv2.resize(half, (columns, rows), interpolation=cv2.INTER_AREA).reshape(rows, columns, 3)
        chain.append(_packed(half))
    _mip_chains[id(texture)] = (texture, chain)
    if len(_mip_chains) > _KEPT_CHAINS:
        _mip_chains.popitem(last=False)
    return chain


def _packed(texture: NDArray[np.uint8]) -> NDArray[np.uint32]:
    texels = cv2.merge((texture, np.zeros(texture.shape[:2], np.uint8)))
    return np.asarray(texels).view("<u4")[..., 0]


def pack_textures(meshes: Sequence[Mesh]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """All mip levels end to end (N,), texels as in `_mip_chain`; and per mesh where each begins, its rows and columns
    (M, 1 + levels, 3), after a first row that holds their number."""
    chunks: list[NDArray[np.uint32]] = [np.zeros(1, np.uint32)]
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
            chunks.append(picture.ravel())
            used += rows * columns
    return np.concatenate(chunks), levels
