"""The compiled inner loops of the numba renderer.

Rasterisation works on homogeneous edge functions (Olano and Greer 1997): for a triangle a, b, c in camera coordinates
and a pixel's ray r, the signs of (b×c)·r, (c×a)·r and (a×b)·r decide coverage, and a·(b×c) over their sum is the depth.
Nothing is divided by a vertex's z, so a triangle that passes behind the camera needs no splitting; two triangles with
a common edge evaluate it to exactly opposite numbers, so no pixel falls between them.

Arrays: `camera_points` (V, 3) float64 camera coordinates; `triangles` (T, 3) int32; `inverse_depth` (H, W) float32,
0 where empty; `hit` (H, W) int32 triangle index, −1 where empty.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from synth.render.jit import inlined, njit

Array = Any  # numba infers the element types


@njit
def transform(points: Array, matrix: Array, out: Array) -> None:
    """out[i] = matrix (3×4) applied to points[i]; written out because BLAS differs between machines."""
    for i in range(points.shape[0]):
        x, y, z = np.float64(points[i, 0]), np.float64(points[i, 1]), np.float64(points[i, 2])
        for k in range(3):
            out[i, k] = matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] * z + matrix[k, 3]


@njit
def accumulate_normals(points: Array, triangles: Array, normals: Array, faces: Array) -> None:
    """Area-weighted normals, not normalised, added to the first three columns of `normals` (V, 3 or more), and unit
    face normals (T, 3), by winding."""
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-20
        faces[t, 0], faces[t, 1], faces[t, 2] = nx / length, ny / length, nz / length
        for corner in range(3):
            i = triangles[t, corner]
            normals[i, 0] += nx
            normals[i, 1] += ny
            normals[i, 2] += nz


@njit
def extent(points: Array) -> Array:
    """The least and the greatest coordinates (2, 3) of points (V, 3), of which there is at least one."""
    found = np.empty((2, 3), np.float64)
    for k in range(3):
        least, most = points[0, k], points[0, k]
        for i in range(points.shape[0]):
            least, most = min(least, points[i, k]), max(most, points[i, k])
        found[0, k], found[1, k] = least, most
    return found


@njit
def project(camera_points: Array, fx: float, fy: float, cx: float, cy: float, near: float, pixels: Array) -> None:
    """Where points (V, 3) before the near plane appear (V, 2), px; others are left as they are."""
    for i in range(camera_points.shape[0]):
        z = camera_points[i, 2]
        if z >= near:
            pixels[i, 0] = fx * camera_points[i, 0] / z + cx
            pixels[i, 1] = fy * camera_points[i, 1] / z + cy


@inlined
def pixel_bounds(
    camera_points: Array, pixels: Array, a: int, b: int, c: int, fx: float, fy: float, cx: float, cy: float,
    near: float,
) -> tuple[float, float, float, float]:  # fmt: skip
    """Left, right, top and bottom (px) of the part of a triangle before the near plane; left > right: nothing is."""
    az, bz, cz = camera_points[a, 2], camera_points[b, 2], camera_points[c, 2]
    left, right, top, bottom = 1e30, -1e30, 1e30, -1e30
    if az >= near and bz >= near and cz >= near:
        left, right = min(pixels[a, 0], pixels[b, 0], pixels[c, 0]), max(pixels[a, 0], pixels[b, 0], pixels[c, 0])
        top, bottom = min(pixels[a, 1], pixels[b, 1], pixels[c, 1]), max(pixels[a, 1], pixels[b, 1], pixels[c, 1])
    elif az >= near or bz >= near or cz >= near:
        for i, j in ((a, b), (b, c), (c, a)):
            zi, zj = camera_points[i, 2], camera_points[j, 2]
            if zi >= near:
                left, right = min(left, pixels[i, 0]), max(right, pixels[i, 0])
                top, bottom = min(top, pixels[i, 1]), max(bottom, pixels[i, 1])
            if (zi < near) != (zj < near):
                share = (near - zi) / (zj - zi)
                qx = camera_points[i, 0] + share * (camera_points[j, 0] - camera_points[i, 0])
                qy = camera_points[i, 1] + share * (camera_points[j, 1] - camera_points[i, 1])
                px, py = fx * qx / near + cx, fy * qy / near + cy
                left, right, top, bottom = min(left, px), max(right, px), min(top, py), max(bottom, py)
    return left, right, top, bottom


@inlined
def pixel_range(
    left: float, right: float, top: float, bottom: float, width: int, height: int
) -> tuple[int, int, int, int]:
    """First and last column and first and last row of the picture whose centres lie within the bounds; a slack keeps
    a centre lying exactly on an edge inside them."""
    return (
        int(max(0.0, math.ceil(left - 1e-6))), int(min(width - 1.0, math.floor(right + 1e-6))),
        int(max(0.0, math.ceil(top - 1e-6))), int(min(height - 1.0, math.floor(bottom + 1e-6))),
    )  # fmt: skip


@inlined
def edge_functions(
    camera_points: Array, a: int, b: int, c: int, fx: float, fy: float, cx: float, cy: float
) -> tuple[float, float, float, float, float, float, float, float, float, float]:
    """Volume, then slopes along x and y and constants of the three edge functions of pixel coordinates, turned so
    that the inside is positive."""
    ax, ay, az = camera_points[a, 0], camera_points[a, 1], camera_points[a, 2]
    bx, by, bz = camera_points[b, 0], camera_points[b, 1], camera_points[b, 2]
    cx_, cy_, cz = camera_points[c, 0], camera_points[c, 1], camera_points[c, 2]
    n0x, n0y, n0z = by * cz - bz * cy_, bz * cx_ - bx * cz, bx * cy_ - by * cx_
    n1x, n1y, n1z = cy_ * az - cz * ay, cz * ax - cx_ * az, cx_ * ay - cy_ * ax
    n2x, n2y, n2z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    volume = ax * n0x + ay * n0y + az * n0z
    sign = 1.0 if volume > 0.0 else -1.0
    a0, b0 = sign * n0x / fx, sign * n0y / fy
    a1, b1 = sign * n1x / fx, sign * n1y / fy
    a2, b2 = sign * n2x / fx, sign * n2y / fy
    c0, c1, c2 = sign * n0z - a0 * cx - b0 * cy, sign * n1z - a1 * cx - b1 * cy, sign * n2z - a2 * cx - b2 * cy
    return volume, a0, b0, c0, a1, b1, c1, a2, b2, c2


@inlined
def narrowed(
    a0: float, r0: float, a1: float, r1: float, a2: float, r2: float, first: int, last: int
) -> tuple[int, int]:
    """The columns of one row between which all edge functions can be positive; the exact test still decides."""
    low, high = float(first), float(last)
    for slope, rest in ((a0, r0), (a1, r1), (a2, r2)):
        if slope > 0.0:
            low = max(low, -rest / slope - 1.0)
        elif slope < 0.0:
            high = min(high, -rest / slope + 1.0)
    if low > high:
        return 1, 0
    return int(low), min(last, int(high) + 1)


@njit
def rasterize(
    camera_points: Array, pixels: Array, triangles: Array, mesh_of: Array, single_sided: Array, fx: float, fy: float,
    cx: float, cy: float, near: float, bounds: Array, inverse_depth: Array, hit: Array,
) -> None:  # fmt: skip
    """Keep the nearest triangle at every pixel centre; of equals, the first. Single-sided meshes show their front.

    `bounds` (T, 4) int16 is filled for `rasterize_samples`: first and last column, first and last row within a quarter
    of a pixel of each triangle.
    """
    height, width = inverse_depth.shape
    nearest_allowed = 1.0 / near
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        left, right, top, bottom = pixel_bounds(camera_points, pixels, a, b, c, fx, fy, cx, cy, near)
        bounds[t, 0] = int(min(max(0.0, math.ceil(left - 0.250001)), width))
        bounds[t, 1] = int(max(min(width - 1.0, math.floor(right + 0.250001)), -1.0))
        bounds[t, 2] = int(min(max(0.0, math.ceil(top - 0.250001)), height))
        bounds[t, 3] = int(max(min(height - 1.0, math.floor(bottom + 0.250001)), -1.0))
        x_first, x_last, y_first, y_last = pixel_range(left, right, top, bottom, width, height)
        if x_first > x_last or y_first > y_last:
            continue
        volume, a0, b0, c0, a1, b1, c1, a2, b2, c2 = edge_functions(camera_points, a, b, c, fx, fy, cx, cy)
        if volume == 0.0 or (volume > 0.0 and single_sided[mesh_of[t]]):
            continue
        scale = 1.0 / abs(volume)
        wide = x_last - x_first > 12
        for y in range(y_first, y_last + 1):
            r0, r1, r2 = b0 * y + c0, b1 * y + c1, b2 * y + c2
            first, last = x_first, x_last
            if wide:
                first, last = narrowed(a0, r0, a1, r1, a2, r2, first, last)
            for x in range(first, last + 1):
                e0, e1, e2 = a0 * x + r0, a1 * x + r1, a2 * x + r2
                if min(e0, e1, e2) < 0.0:
                    continue
                inverse = np.float32((e0 + e1 + e2) * scale)
                if inverse > inverse_depth[y, x] and inverse <= nearest_allowed:
                    inverse_depth[y, x] = inverse
                    hit[y, x] = t


@njit
def differ(first: int, other: int, mesh_of: Array, faces: Array, crease_cosine: float) -> bool:
    """Whether two triangles (−1: nothing) belong to different meshes or meet in a crease."""
    if first == other:
        return False
    if first < 0 or other < 0:
        return True
    a, b = np.uint32(first), np.uint32(other)  # signed indices would be looked at for counting from the end
    if mesh_of[a] != mesh_of[b]:
        return True
    cosine = faces[a, 0] * faces[b, 0] + faces[a, 1] * faces[b, 1] + faces[a, 2] * faces[b, 2]
    return cosine < crease_cosine


@njit
def find_outlines(
    hit: Array, mesh_of: Array, faces: Array, crease_cosine: float, slot: Array, following: Array
) -> int:  # fmt: skip
    """Number the pixels beside which another mesh, a crease or nothing begins: `slot` (H, W) int32, −1 elsewhere.

    `following` (H, W + 1) int16 is filled with the column of the first such pixel at or after each, W where there is
    none. Returns how many there are.
    """
    height, width = hit.shape
    for y in range(height):
        for x in range(width):
            t = hit[y, x]
            if x + 1 < width and differ(t, hit[y, x + 1], mesh_of, faces, crease_cosine):
                slot[y, x], slot[y, x + 1] = 0, 0
            if y + 1 < height and differ(t, hit[y + 1, x], mesh_of, faces, crease_cosine):
                slot[y, x], slot[y + 1, x] = 0, 0
    count = 0
    for y in range(height):
        upcoming = width
        following[y, width] = upcoming
        for x in range(width - 1, -1, -1):
            if slot[y, x] >= 0:
                slot[y, x] = count
                count += 1
                upcoming = x
            following[y, x] = upcoming
    return count


@inlined
def _take(
    n: int, k: int, t: int, e0: float, e1: float, e2: float, scale: float, nearest_allowed: float,
    inverse_depth: Array, hit: Array,
) -> None:  # fmt: skip
    """Sample `k` of outline pixel `n` sees triangle `t` if that holds the sample and nothing nearer does."""
    if e0 >= 0.0 and e1 >= 0.0 and e2 >= 0.0:
        inverse = np.float32((e0 + e1 + e2) * scale)
        if inverse > inverse_depth[n, k] and inverse <= nearest_allowed:
            inverse_depth[n, k] = inverse
            hit[n, k] = t


@njit
def rasterize_samples(
    camera_points: Array, triangles: Array, mesh_of: Array, single_sided: Array, fx: float, fy: float, cx: float,
    cy: float, near: float, bounds: Array, slot: Array, following: Array, inverse_depth: Array, hit: Array,
) -> None:  # fmt: skip
    """As `rasterize`, which filled `bounds`, at the four points a quarter of a pixel off the centre of each pixel that
    `find_outlines` found.

    inverse_depth and hit (N, 4): samples in the order left above, right above, left below, right below.
    """
    nearest_allowed = 1.0 / near
    for t in range(triangles.shape[0]):
        x_first, x_last, y_first, y_last = bounds[t, 0], bounds[t, 1], bounds[t, 2], bounds[t, 3]
        if x_first > x_last:
            continue
        while y_first <= y_last and following[y_first, x_first] > x_last:
            y_first += 1
        if y_first > y_last:
            continue
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        volume, a0, b0, c0, a1, b1, c1, a2, b2, c2 = edge_functions(camera_points, a, b, c, fx, fy, cx, cy)
        if volume == 0.0 or (volume > 0.0 and single_sided[mesh_of[t]]):
            continue
        scale = 1.0 / abs(volume)
        wide = x_last - x_first > 12
        # What the edge functions gain from a pixel's centre to its samples right below and right above.
        d0, d1, d2 = 0.25 * (a0 + b0), 0.25 * (a1 + b1), 0.25 * (a2 + b2)
        u0, u1, u2 = 0.25 * (a0 - b0), 0.25 * (a1 - b1), 0.25 * (a2 - b2)
        s0, s1, s2 = max(abs(d0), abs(u0)), max(abs(d1), abs(u1)), max(abs(d2), abs(u2))
        for y in range(y_first, y_last + 1):
            r0, r1, r2 = b0 * y + c0, b1 * y + c1, b2 * y + c2
            first, last = int(x_first), int(x_last)
            if wide and following[y, first] <= last:
                first, last = narrowed(a0, r0 + s0, a1, r1 + s1, a2, r2 + s2, first, last)
            x = following[y, first]
            while x <= last:
                e0, e1, e2 = a0 * x + r0, a1 * x + r1, a2 * x + r2
                if e0 >= -s0 and e1 >= -s1 and e2 >= -s2:
                    n = slot[y, x]
                    _take(n, 0, t, e0 - d0, e1 - d1, e2 - d2, scale, nearest_allowed, inverse_depth, hit)
                    _take(n, 1, t, e0 + u0, e1 + u1, e2 + u2, scale, nearest_allowed, inverse_depth, hit)
                    _take(n, 2, t, e0 - u0, e1 - u1, e2 - u2, scale, nearest_allowed, inverse_depth, hit)
                    _take(n, 3, t, e0 + d0, e1 + d1, e2 + d2, scale, nearest_allowed, inverse_depth, hit)
                x = following[y, x + 1]


@njit
def rasterize_heights(points: Array, triangles: Array, heights: Array) -> None:
    """The highest surface over each cell centre: points (V, 3) hold column, row and height. Used from above and
    from a light; `heights` (H, W) float32 is raised where a triangle lies higher."""
    rows, columns = heights.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, x1, y1, x2, y2 = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        x_first = int(max(0.0, math.ceil(min(x0, x1, x2))))
        x_last = int(min(columns - 1.0, math.floor(max(x0, x1, x2))))
        y_first = int(max(0.0, math.ceil(min(y0, y1, y2))))
        y_last = int(min(rows - 1.0, math.floor(max(y0, y1, y2))))
        if x_first > x_last or y_first > y_last:  # small triangles mostly fall between the cells' centres
            continue
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0:
            continue
        inverse_area = 1.0 / area
        h0, h1, h2 = points[a, 2], points[b, 2], points[c, 2]
        slope1_x, slope1_y = (y2 - y0) * inverse_area, -(x2 - x0) * inverse_area
        slope2_x, slope2_y = -(y1 - y0) * inverse_area, (x1 - x0) * inverse_area
        wide = x_last - x_first > 12
        for y in range(y_first, y_last + 1):
            row1, row2 = slope1_y * (y - y0), slope2_y * (y - y0)
            first, last = x_first, x_last
            if wide:
                r1, r2 = row1 - slope1_x * x0, row2 - slope2_x * x0
                slope0_x, r0 = -slope1_x - slope2_x, 1.0 - r1 - r2
                first, last = narrowed(slope0_x, r0, slope1_x, r1, slope2_x, r2, first, last)
            for x in range(first, last + 1):
                w1, w2 = slope1_x * (x - x0) + row1, slope2_x * (x - x0) + row2
                w0 = 1.0 - w1 - w2
                if w0 < 0.0 or w1 < 0.0 or w2 < 0.0:
                    continue
                height = np.float32(w0 * h0 + w1 * h1 + w2 * h2)
                if height > heights[y, x]:
                    heights[y, x] = height


@njit
def resolve(
    inverse_depth: Array, hit: Array, mesh_of: Array, instance_of: Array, depth: Array, instance: Array, part: Array
) -> None:  # fmt: skip
    """Depth, instance and part from the raster buffers."""
    for y in range(hit.shape[0]):
        for x in range(hit.shape[1]):
            t = hit[y, x]
            if t >= 0:
                depth[y, x] = np.float32(1.0) / inverse_depth[y, x]
                mesh = mesh_of[t]
                part[y, x] = mesh + 1
                instance[y, x] = instance_of[mesh]
