"""Where meshes alone would be seen, without depth: the full extent of a person whom others or a blanket hide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.camera import CameraModel
from synth.render import kernels
from synth.render.jit import inlined, njit
from synth.render.kernels import edge_functions, narrowed, pixel_bounds, pixel_range
from synth.render.mesh import Mesh
from synth.render.renderer import require_pinhole

Array = Any  # numba infers the element types


def silhouette(
    meshes: Sequence[Mesh], camera_from_bed: NDArray[np.float64], camera: CameraModel, near: float = 0.05
) -> NDArray[np.bool_]:
    """The pixels (H, W) that a rendering of these meshes alone would fill, at half of `render_depth_ids`' cost."""
    require_pinhole(camera)
    bed_to_camera = np.ascontiguousarray(camera_from_bed[:3], dtype=np.float64)
    covered = np.zeros((camera.height, camera.width), np.bool_)
    for mesh in meshes:
        camera_points = np.empty(mesh.vertices.shape, np.float64)
        kernels.transform(np.ascontiguousarray(mesh.vertices), bed_to_camera, camera_points)
        pixels = np.zeros((len(camera_points), 2), np.float64)
        kernels.project(camera_points, camera.fx, camera.fy, camera.cx, camera.cy, near, pixels)
        _cover(
            camera_points, pixels, np.ascontiguousarray(mesh.triangles), mesh.single_sided, camera.fx, camera.fy,
            camera.cx, camera.cy, near, covered,
        )  # fmt: skip
    return covered


@njit
def _cover(
    camera_points: Array, pixels: Array, triangles: Array, single_sided: bool, fx: float, fy: float, cx: float,
    cy: float, near: float, covered: Array,
) -> None:  # fmt: skip
    """Mark in `covered` (H, W) bool the pixel centres at which `kernels.rasterize` would find one of the triangles."""
    height, width = covered.shape
    nearest_allowed = 1.0 / near
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        left, right, top, bottom = pixel_bounds(camera_points, pixels, a, b, c, fx, fy, cx, cy, near)
        x_first, x_last, y_first, y_last = pixel_range(left, right, top, bottom, width, height)
        if x_first > x_last or y_first > y_last:
            continue
        # Most triangles lie before or behind others of the same person.
        if not _any_free(covered, x_first, x_last, y_first, y_last):
            continue
        volume, a0, b0, c0, a1, b1, c1, a2, b2, c2 = edge_functions(camera_points, a, b, c, fx, fy, cx, cy)
        if volume == 0.0 or (volume > 0.0 and single_sided):
            continue
        scale = 1.0 / abs(volume)
        wide = x_last - x_first > 12
        for y in range(y_first, y_last + 1):
            r0, r1, r2 = b0 * y + c0, b1 * y + c1, b2 * y + c2
            first, last = x_first, x_last
            if wide:
                first, last = narrowed(a0, r0, a1, r1, a2, r2, first, last)
            for x in range(first, last + 1):  # without a branch, since the pixels of a small triangle are hard to guess
                e0, e1, e2 = a0 * x + r0, a1 * x + r1, a2 * x + r2
                inverse = np.float32((e0 + e1 + e2) * scale)
                covered[y, x] |= (min(e0, e1, e2) >= 0.0) & (inverse > 0.0) & (inverse <= nearest_allowed)


@inlined
def _any_free(covered: Array, x_first: int, x_last: int, y_first: int, y_last: int) -> bool:
    for y in range(y_first, y_last + 1):
        for x in range(x_first, x_last + 1):
            if not covered[y, x]:
                return True
    return False
