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

from synth.render.jit import njit

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
    """Area-weighted vertex normals (V, 3), not normalised, and unit face normals (T, 3), by winding."""
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
def rasterize(
    camera_points: Array, triangles: Array, mesh_of: Array, single_sided: Array, fx: float, fy: float, cx: float,
    cy: float, near: float, inverse_depth: Array, hit: Array,
) -> None:  # fmt: skip
    """Keep the nearest triangle at every pixel centre; of equals, the first. Single-sided meshes show their front."""
    height, width = inverse_depth.shape
    nearest_allowed = 1.0 / near
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        az, bz, cz = camera_points[a, 2], camera_points[b, 2], camera_points[c, 2]
        if az < near and bz < near and cz < near:
            continue
        # Bounds in pixels of the part in front of the near plane.
        left, right, top, bottom = 1e30, -1e30, 1e30, -1e30
        for corner in range(3):
            i, j = triangles[t, corner], triangles[t, (corner + 1) % 3]
            zi, zj = camera_points[i, 2], camera_points[j, 2]
            if zi >= near:
                px, py = fx * camera_points[i, 0] / zi + cx, fy * camera_points[i, 1] / zi + cy
                left, right, top, bottom = min(left, px), max(right, px), min(top, py), max(bottom, py)
            if (zi < near) != (zj < near):
                share = (near - zi) / (zj - zi)
                qx = camera_points[i, 0] + share * (camera_points[j, 0] - camera_points[i, 0])
                qy = camera_points[i, 1] + share * (camera_points[j, 1] - camera_points[i, 1])
                px, py = fx * qx / near + cx, fy * qy / near + cy
                left, right, top, bottom = min(left, px), max(right, px), min(top, py), max(bottom, py)
        # The slack keeps a pixel centre lying exactly on an edge inside the bounds.
        x_first, x_last = int(max(0.0, math.ceil(left - 1e-6))), int(min(width - 1.0, math.floor(right + 1e-6)))
        y_first, y_last = int(max(0.0, math.ceil(top - 1e-6))), int(min(height - 1.0, math.floor(bottom + 1e-6)))
        if x_first > x_last or y_first > y_last:
            continue
        ax, ay = camera_points[a, 0], camera_points[a, 1]
        bx, by = camera_points[b, 0], camera_points[b, 1]
        cx_, cy_ = camera_points[c, 0], camera_points[c, 1]
        n0x, n0y, n0z = by * cz - bz * cy_, bz * cx_ - bx * cz, bx * cy_ - by * cx_
        n1x, n1y, n1z = cy_ * az - cz * ay, cz * ax - cx_ * az, cx_ * ay - cy_ * ax
        n2x, n2y, n2z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        volume = ax * n0x + ay * n0y + az * n0z
        if volume == 0.0 or (volume > 0.0 and single_sided[mesh_of[t]]):
            continue
        sign = 1.0 if volume > 0.0 else -1.0
        a0, b0 = sign * n0x / fx, sign * n0y / fy
        a1, b1 = sign * n1x / fx, sign * n1y / fy
        a2, b2 = sign * n2x / fx, sign * n2y / fy
        c0, c1, c2 = sign * n0z - a0 * cx - b0 * cy, sign * n1z - a1 * cx - b1 * cy, sign * n2z - a2 * cx - b2 * cy
        scale = 1.0 / abs(volume)
        wide = x_last - x_first > 12
        for y in range(y_first, y_last + 1):
            r0, r1, r2 = b0 * y + c0, b1 * y + c1, b2 * y + c2
            first, last = x_first, x_last
            if wide:  # narrow the row to where the edges allow it; the exact test still decides
                low, high = float(x_first), float(x_last)
                for slope, rest in ((a0, r0), (a1, r1), (a2, r2)):
                    if slope > 0.0:
                        low = max(low, -rest / slope - 1.0)
                    elif slope < 0.0:
                        high = min(high, -rest / slope + 1.0)
                if low > high:
                    continue
                first, last = int(low), min(x_last, int(high) + 1)
            for x in range(first, last + 1):
                e0, e1, e2 = a0 * x + r0, a1 * x + r1, a2 * x + r2
                if e0 < 0.0 or e1 < 0.0 or e2 < 0.0:
                    continue
                inverse = np.float32((e0 + e1 + e2) * scale)
                if inverse > inverse_depth[y, x] and inverse <= nearest_allowed:
                    inverse_depth[y, x] = inverse
                    hit[y, x] = t


@njit
def rasterize_heights(points: Array, triangles: Array, heights: Array) -> None:
    """The highest surface over each cell centre: points (V, 3) hold column, row and height. Used from above and
    from a light; `heights` (H, W) float32 is raised where a triangle lies higher."""
    rows, columns = heights.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, x1, y1, x2, y2 = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0.0:
            continue
        x_first = int(max(0.0, math.ceil(min(x0, x1, x2))))
        x_last = int(min(columns - 1.0, math.floor(max(x0, x1, x2))))
        y_first = int(max(0.0, math.ceil(min(y0, y1, y2))))
        y_last = int(min(rows - 1.0, math.floor(max(y0, y1, y2))))
        inverse_area = 1.0 / area
        h0, h1, h2 = points[a, 2], points[b, 2], points[c, 2]
        for y in range(y_first, y_last + 1):
            for x in range(x_first, x_last + 1):
                w1 = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) * inverse_area
                w2 = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) * inverse_area
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


@njit
def shadow_share(shadow: Array, size: int, x: float, y: float, height: float) -> float:
    """The lit share 0…1 of a point under a 3×3 tent filter; outside the map nothing casts, so it is lit."""
    ix, iy = math.floor(x), math.floor(y)
    if ix < 1 or iy < 1 or ix >= size - 2 or iy >= size - 2:
        return 1.0
    fraction_x, fraction_y = x - ix, y - iy
    total = 0.0
    for j in range(-1, 3):
        weight_y = 1.0 - fraction_y if j == -1 else (fraction_y if j == 2 else 1.0)
        for i in range(-1, 3):
            if shadow[iy + j, ix + i] <= height:
                weight_x = 1.0 - fraction_x if i == -1 else (fraction_x if i == 2 else 1.0)
                total += weight_x * weight_y
    return total / 9.0


@njit
def occlusion(depth: Array, fx: float, fy: float, radius: float, strength: float, out: Array) -> None:
    """Ambient occlusion (h, w) float32, 1 = open, from a depth image (h, w) at the same, usually halved, size.

    Obscurance after Alchemy (McGuire et al. 2011): eight taps on a spiral turned by pixel, weighted by how far the
    neighbour rises above the tangent plane; a 4×4 average, which is the turn's period, removes the pattern.
    """
    height, width = depth.shape
    raw = np.ones((height, width), np.float32)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            z = depth[y, x]
            if z <= 0.0:
                continue
            # Tangent plane from the smaller of the one-sided depth differences.
            left, right = z - depth[y, x - 1], depth[y, x + 1] - z
            up, down = z - depth[y - 1, x], depth[y + 1, x] - z
            slope_x = left if abs(left) < abs(right) else right
            slope_y = up if abs(up) < abs(down) else down
            reach = min(radius * fx / z, 40.0)
            if reach < 1.0:
                continue
            total = 0.0
            phase = ((x & 3) * 4 + (y & 3)) * 0.3926990817
            for tap in range(8):
                share = (tap + 0.5) / 8.0
                angle = tap * 2.399963 + phase
                dx, dy = reach * share * math.cos(angle), reach * share * math.sin(angle)
                sx, sy = round(x + dx), round(y + dy)
                if sx < 0 or sy < 0 or sx >= width or sy >= height:
                    continue
                other = depth[sy, sx]
                if other <= 0.0:
                    continue
                rise = (z + slope_x * (sx - x) + slope_y * (sy - y)) - other
                if rise > 0.004 * z and rise < radius * 1.6:
                    flat = z / fx * math.sqrt(float((sx - x) * (sx - x) + (sy - y) * (sy - y))) + 1e-6
                    total += min(1.0, rise / flat)
            raw[y, x] = max(0.0, 1.0 - strength * total / 8.0)
    for y in range(height):
        for x in range(width):
            z = depth[y, x]
            total, weight = 0.0, 0.0
            for j in range(max(0, y - 2), min(height, y + 2)):
                for i in range(max(0, x - 2), min(width, x + 2)):
                    if abs(depth[j, i] - z) < 0.03 * z + 1e-6:
                        total += raw[j, i]
                        weight += 1.0
            out[y, x] = total / weight if weight > 0.0 else 1.0


@njit
def shade_point(
    t: int, x: float, y: float, openness: float, camera_points: Array, triangles: Array, normals: Array, colors: Array,
    uv: Array, mesh: int, lens: Array, lights: Array, light_colors: Array, shadows: Array,
    shadow_sizes: Array, shadow_from_camera: Array, shadow_texel: Array, gloss: Array, bed_from_camera: Array,
    sky: Array, ground: Array, texels: Array, levels: Array, to_linear: Array,
) -> tuple[float, float, float]:  # fmt: skip
    """Linear light (3,) leaving triangle t toward the camera through pixel position (x, y)."""
    a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    ax, ay, az = camera_points[a, 0], camera_points[a, 1], camera_points[a, 2]
    bx, by, bz = camera_points[b, 0], camera_points[b, 1], camera_points[b, 2]
    cx, cy, cz = camera_points[c, 0], camera_points[c, 1], camera_points[c, 2]
    rx, ry = (x - lens[2]) / lens[0], (y - lens[3]) / lens[1]
    e0 = (by * cz - bz * cy) * rx + (bz * cx - bx * cz) * ry + (bx * cy - by * cx)
    e1 = (cy * az - cz * ay) * rx + (cz * ax - cx * az) * ry + (cx * ay - cy * ax)
    e2 = (ay * bz - az * by) * rx + (az * bx - ax * bz) * ry + (ax * by - ay * bx)
    total = e0 + e1 + e2
    volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    w0, w1, w2 = e0 / total, e1 / total, e2 / total
    z = volume / total
    # Shading normal in the bed frame, turned toward the side that is seen.
    nx = w0 * normals[a, 0] + w1 * normals[b, 0] + w2 * normals[c, 0]
    ny = w0 * normals[a, 1] + w1 * normals[b, 1] + w2 * normals[c, 1]
    nz = w0 * normals[a, 2] + w1 * normals[b, 2] + w2 * normals[c, 2]
    length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-20
    if volume > 0.0:
        length = -length
    nx, ny, nz = nx / length, ny / length, nz / length
    up = 0.5 + 0.5 * nz
    red = (up * sky[0] + (1.0 - up) * ground[0]) * openness
    green = (up * sky[1] + (1.0 - up) * ground[1]) * openness
    blue = (up * sky[2] + (1.0 - up) * ground[2]) * openness
    shine = gloss[mesh]
    mirror_x, mirror_y, mirror_z, fresnel, sharpness = 0.0, 0.0, 0.0, 0.0, 0.0
    bright_red, bright_green, bright_blue = 0.0, 0.0, 0.0
    if shine > 0.0:
        distance = math.sqrt(rx * rx + ry * ry + 1.0)
        q = bed_from_camera
        ex = -(q[0, 0] * rx + q[0, 1] * ry + q[0, 2]) / distance
        ey = -(q[1, 0] * rx + q[1, 1] * ry + q[1, 2]) / distance
        ez = -(q[2, 0] * rx + q[2, 1] * ry + q[2, 2]) / distance
        facing = max(0.0, nx * ex + ny * ey + nz * ez)
        mirror_x, mirror_y, mirror_z = 2.0 * facing * nx - ex, 2.0 * facing * ny - ey, 2.0 * facing * nz - ez
        # Schlick's approximation for a dielectric; roughness takes from the grazing rise.
        away = 1.0 - facing
        fresnel = 0.04 + 0.96 * shine * away * away * away * away * away
        sharpness = 4.0 + 120.0 * shine * shine
        above = 0.5 + 0.5 * mirror_z
        bright_red = shine * fresnel * (above * sky[0] + (1.0 - above) * ground[0]) * openness
        bright_green = shine * fresnel * (above * sky[1] + (1.0 - above) * ground[1]) * openness
        bright_blue = shine * fresnel * (above * sky[2] + (1.0 - above) * ground[2]) * openness
    for k in range(lights.shape[0]):
        cosine = nx * lights[k, 0] + ny * lights[k, 1] + nz * lights[k, 2]
        if cosine <= 0.0:
            continue
        if k < shadows.shape[0]:
            px, py, pz = z * rx, z * ry, z
            m = shadow_from_camera[k]
            # Stepping off along the normal, more where the light grazes, keeps a surface from shadowing itself.
            step = shadow_texel[k, 0] * (1.0 + 1.5 * (1.0 - cosine))
            ox, oy, oz = step * nx, step * ny, step * nz
            sx = m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3] + m[0, 4] * ox + m[0, 5] * oy + m[0, 6] * oz
            sy = m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3] + m[1, 4] * ox + m[1, 5] * oy + m[1, 6] * oz
            sh = m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3] + m[2, 4] * ox + m[2, 5] * oy + m[2, 6] * oz
            cosine *= shadow_share(shadows[k], shadow_sizes[k], sx, sy, sh + shadow_texel[k, 1])
        # A little of the occlusion reaches direct light too: the many small lights of a room are in it.
        if k >= shadows.shape[0]:
            cosine *= 0.4 + 0.6 * openness
        red += cosine * light_colors[k, 0]
        green += cosine * light_colors[k, 1]
        blue += cosine * light_colors[k, 2]
        if shine > 0.0:
            along = mirror_x * lights[k, 0] + mirror_y * lights[k, 1] + mirror_z * lights[k, 2]
            if along > 0.0:  # Phong's lobe, normalised so that a sharper one is brighter
                lobe = cosine * fresnel * 0.5 * (sharpness + 2.0) * along**sharpness
                bright_red += lobe * light_colors[k, 0]
                bright_green += lobe * light_colors[k, 1]
                bright_blue += lobe * light_colors[k, 2]
    red *= w0 * colors[a, 0] + w1 * colors[b, 0] + w2 * colors[c, 0]
    green *= w0 * colors[a, 1] + w1 * colors[b, 1] + w2 * colors[c, 1]
    blue *= w0 * colors[a, 2] + w1 * colors[b, 2] + w2 * colors[c, 2]
    count = levels[mesh, 0, 0]
    if count > 0:
        u = w0 * uv[a, 0] + w1 * uv[b, 0] + w2 * uv[c, 0]
        v = w0 * uv[a, 1] + w1 * uv[b, 1] + w2 * uv[c, 1]
        # Mip level: texels of the base picture that one pixel spans, from the triangle's areas in both.
        uv_area = abs((uv[b, 0] - uv[a, 0]) * (uv[c, 1] - uv[a, 1]) - (uv[c, 0] - uv[a, 0]) * (uv[b, 1] - uv[a, 1]))
        span = uv_area * levels[mesh, 1, 1] * levels[mesh, 1, 2] * z * z / (lens[0] * lens[1] * abs(total) + 1e-20)
        level = int(max(0.0, min(count - 1.0, 0.5 * math.log2(max(span, 1e-6)) + 0.3)))
        start, rows, columns = levels[mesh, 1 + level, 0], levels[mesh, 1 + level, 1], levels[mesh, 1 + level, 2]
        column, row = (u - math.floor(u)) * columns - 0.5, (v - math.floor(v)) * rows - 0.5
        i0, j0 = math.floor(column), math.floor(row)
        fi, fj = column - i0, row - j0
        i1, j1 = (i0 + 1) % columns, (j0 + 1) % rows
        i0, j0 = i0 % columns, j0 % rows
        w00, w01, w10, w11 = (1 - fj) * (1 - fi), (1 - fj) * fi, fj * (1 - fi), fj * fi
        q00, q01 = texels[start + j0 * columns + i0], texels[start + j0 * columns + i1]
        q10, q11 = texels[start + j1 * columns + i0], texels[start + j1 * columns + i1]
        red *= w00 * to_linear[q00[0]] + w01 * to_linear[q01[0]] + w10 * to_linear[q10[0]] + w11 * to_linear[q11[0]]
        green *= w00 * to_linear[q00[1]] + w01 * to_linear[q01[1]] + w10 * to_linear[q10[1]] + w11 * to_linear[q11[1]]
        blue *= w00 * to_linear[q00[2]] + w01 * to_linear[q01[2]] + w10 * to_linear[q10[2]] + w11 * to_linear[q11[2]]
    return red + bright_red, green + bright_green, blue + bright_blue


@njit
def shade(
    inverse_depth: Array, hit: Array, fine: Array, edge_cosine: float, faces: Array, mesh_of: Array, openness: Array,
    camera_points: Array, triangles: Array, normals: Array, colors: Array, uv: Array, lens: Array,
    lights: Array, light_colors: Array, shadows: Array, shadow_sizes: Array, shadow_from_camera: Array,
    shadow_texel: Array, gloss: Array, bed_from_camera: Array, sky: Array, ground: Array, texels: Array,
    levels: Array, to_linear: Array, to_srgb: Array, color: Array,
) -> None:  # fmt: skip
    """Colour (H, W, 3) uint8 of every pixel hit.

    `fine` is the hit buffer at twice the size, or (0, 0) for no smoothing: where its four samples see different
    meshes, creases or nothing, each is shaded and the display values are averaged; elsewhere one sample does.
    """
    height, width = hit.shape
    smooth = fine.shape[0] > 0
    for y in range(height):
        for x in range(width):
            edge = False
            if smooth:
                first = fine[2 * y, 2 * x]
                for k in range(1, 4):
                    other = fine[2 * y + (k >> 1), 2 * x + (k & 1)]
                    if other == first:
                        continue
                    if first < 0 or other < 0 or mesh_of[first] != mesh_of[other]:
                        edge = True
                        break
                    cosine = (
                        faces[first, 0] * faces[other, 0]
                        + faces[first, 1] * faces[other, 1]
                        + faces[first, 2] * faces[other, 2]
                    )
                    if cosine < edge_cosine:
                        edge = True
                        break
            samples = 4 if edge else 1
            red, green, blue = 0.0, 0.0, 0.0
            for k in range(samples):
                t = fine[2 * y + (k >> 1), 2 * x + (k & 1)] if edge else hit[y, x]
                if t < 0:
                    continue
                px = x + (0.5 * (k & 1) - 0.25 if edge else 0.0)
                py = y + (0.5 * (k >> 1) - 0.25 if edge else 0.0)
                r, g, b = shade_point(
                    t, px, py, float(openness[y, x]), camera_points, triangles, normals, colors, uv, mesh_of[t], lens,
                    lights, light_colors, shadows, shadow_sizes, shadow_from_camera, shadow_texel, gloss,
                    bed_from_camera, sky, ground, texels, levels, to_linear,
                )  # fmt: skip
                # A soft shoulder keeps bright linen from clipping.
                red += to_srgb[int(min(1.0, r / (1.0 + 0.25 * r)) * 4095.0 + 0.5)]
                green += to_srgb[int(min(1.0, g / (1.0 + 0.25 * g)) * 4095.0 + 0.5)]
                blue += to_srgb[int(min(1.0, b / (1.0 + 0.25 * b)) * 4095.0 + 0.5)]
            color[y, x, 0] = np.uint8(red / samples + 0.5)
            color[y, x, 1] = np.uint8(green / samples + 0.5)
            color[y, x, 2] = np.uint8(blue / samples + 0.5)
