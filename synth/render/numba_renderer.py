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
from synth.render.layout import CREASE_COSINE, TO_LINEAR, TO_SRGB, Geometry, interpolated, lay_out, pack_textures
from synth.render.mesh import Mesh
from synth.render.occlusion import occlusion
from synth.render.renderer import Rendering, Scene, require_pinhole
from synth.render.shading import Lamps, shade
from synth.render.shadows import ShadowMaps
from synth.render.surfaces import Hits, Ink, Solid


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

    About a tenth of a full rendering's cost. `silhouette` says for less where there is anything.
    """
    require_pinhole(camera)
    geometry = lay_out(meshes, camera_from_bed)
    inverse_depth, hit, _ = _hits(geometry, camera, near)
    return _resolve(geometry, inverse_depth, hit)


@dataclass(frozen=True, slots=True)
class NumbaRenderer:
    """Draws on one CPU core.

    shadow_size: texels along a shadow map's side. antialias: smooth edges by 2×2 samples (colour only; depth,
    instance and part are those of the pixel's centre). occlusion: strength of ambient occlusion, 0 = none.
    near: metres; nothing closer is drawn.
    """

    shadow_size: int = 768
    antialias: bool = True
    occlusion: float = 1.1
    near: float = 0.05
    name: str = "numba"

    def render(self, scene: Scene, camera_from_bed: NDArray[np.float64], camera: CameraModel) -> Rendering:
        """The scene as the undistorted `camera` sees it; raises ValueError for a camera with distortion."""
        require_pinhole(camera)
        geometry = lay_out(scene.meshes, camera_from_bed)
        inverse_depth, hit, bounds = _hits(geometry, camera, self.near)
        depth, instance, part = _resolve(geometry, inverse_depth, hit)
        vertices, faces = interpolated(scene.meshes, geometry)
        slot, fine = np.full(hit.shape, -1, np.int32), np.empty((0, 4), np.int32)
        if self.antialias:
            following = np.empty((camera.height, camera.width + 1), np.int16)
            count = kernels.find_outlines(hit, geometry.mesh_of, faces, CREASE_COSINE, slot, following)
            fine = np.full((count, 4), -1, np.int32)
            kernels.rasterize_samples(
                geometry.camera_points, geometry.triangles, geometry.mesh_of, geometry.single_sided, camera.fx,
                camera.fy, camera.cx, camera.cy, self.near, bounds, slot, following, np.zeros((count, 4), np.float32),
                fine,
            )  # fmt: skip
        bed_from_camera = np.linalg.inv(np.asarray(camera_from_bed, dtype=np.float64))
        casting = [light for light in scene.lights if light.casts_shadow]
        shadows = ShadowMaps.of(scene.meshes, casting, bed_from_camera, self.shadow_size)
        lights = casting + [light for light in scene.lights if not light.casts_shadow]
        toward = np.array([light.toward for light in lights], np.float64).reshape(-1, 3)
        toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-12)
        texels, levels = pack_textures(scene.meshes)
        color = np.zeros((*hit.shape, 3), np.uint8)
        single = np.float32
        lamps = Lamps(
            toward.astype(single),
            np.array([light.color for light in lights], single).reshape(-1, 3),
            np.array(scene.sky, single),
            np.array(scene.ground, single),
        )
        solid = Solid(geometry.camera_points, vertices, geometry.triangles, faces, geometry.mesh_of, geometry.gloss)
        shade(
            Hits(hit, slot, fine), self._openness(depth, camera), CREASE_COSINE, solid,
            np.array([camera.fx, camera.fy, camera.cx, camera.cy]), bed_from_camera[:3, :3].astype(single), lamps,
            shadows.tables, Ink(texels, levels, TO_LINEAR), TO_SRGB, color,
        )  # fmt: skip
        return Rendering(color, depth, instance, part)

    def _openness(self, depth: NDArray[np.float32], camera: CameraModel) -> NDArray[np.float32]:
        """Ambient openness (H, W) in 0…1, worked out at half size."""
        if self.occlusion <= 0 or min(depth.shape) < 16:
            return np.ones(depth.shape, np.float32)
        half = np.ascontiguousarray(depth[::2, ::2])
        openness = np.empty(half.shape, np.float32)
        occlusion(half, camera.fx / 2, camera.fy / 2, 0.25, self.occlusion, openness)
        return np.asarray(cv2.resize(openness, depth.shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
