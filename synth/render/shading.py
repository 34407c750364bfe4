"""The compiled inner loops that give the numba renderer's pixels their colour.

`vertices` (V, 8) float32 holds what is interpolated over a triangle: normal (not normalised), linear albedo, and
texture coordinates. Other arrays are those of `kernels`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from synth.render.jit import inlined, njit
from synth.render.kernels import differ
from synth.render.layout import BRIGHTEST, TEXTURE_STEPS

Array = Any  # numba infers the element types
SHADOW_BLOCK = 4  # texels along a side of the blocks whose least and greatest heights are known
_TAPS = 8
_DIMMEST_LOBE = 1e-4  # share of a highlight's peak below which it is not worth a power
# A spiral of taps about each pixel, turned by one of sixteen phases: (16, 8, 2), of unit reach.
_SPIRALS = np.array(
    [
        [
            [(tap + 0.5) / _TAPS * turn(tap * 2.399963 + phase * 0.3926990817) for turn in (math.cos, math.sin)]
            for tap in range(_TAPS)
        ]
        for phase in range(16)
    ]
)


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
            z = float(depth[y, x])
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
            phase = (x & 3) * 4 + (y & 3)
            for tap in range(_TAPS):
                dx = math.floor(reach * _SPIRALS[phase, tap, 0] + 0.5)
                dy = math.floor(reach * _SPIRALS[phase, tap, 1] + 0.5)
                sx, sy = x + dx, y + dy
                if sx < 0 or sy < 0 or sx >= width or sy >= height:
                    continue
                other = float(depth[sy, sx])
                if other <= 0.0:
                    continue
                rise = (z + slope_x * dx + slope_y * dy) - other
                if rise > 0.004 * z and rise < radius * 1.6:
                    flat = z / fx * math.sqrt(float(dx * dx + dy * dy)) + 1e-6
                    total += min(1.0, rise / flat)
            raw[y, x] = max(0.0, 1.0 - strength * total / _TAPS)
    for y in range(height):
        for x in range(width):
            z, slack = depth[y, x], np.float32(0.03) * depth[y, x] + np.float32(1e-6)
            total, weight = 0.0, 0.0
            for j in range(max(0, y - 2), min(height, y + 2)):
                for i in range(max(0, x - 2), min(width, x + 2)):
                    if abs(depth[j, i] - z) < slack:
                        total += raw[j, i]
                        weight += 1.0
            out[y, x] = total / weight if weight > 0.0 else 1.0


@inlined
def _shadow_share(shadow: Array, least: Array, greatest: Array, size: int, x: float, y: float, height: float) -> float:
    """The lit share 0…1 of a point under a 3×3 tent filter; outside the map nothing casts, so it is lit.

    Where the blocks' bounds settle all sixteen texels at once, they are not looked at.
    """
    ix, iy = math.floor(x), math.floor(y)
    share = 1.0
    if ix >= 1 and iy >= 1 and ix < size - 2 and iy < size - 2:
        i, j = ix // SHADOW_BLOCK, iy // SHADOW_BLOCK
        if greatest[j, i] > height:
            share = 0.0
            if least[j, i] <= height:
                fraction_x, fraction_y = x - ix, y - iy
                for row in range(4):
                    weight_y = 1.0 - fraction_y if row == 0 else (fraction_y if row == 3 else 1.0)
                    total = 0.0
                    total += 1.0 - fraction_x if shadow[iy + row - 1, ix - 1] <= height else 0.0
                    total += 1.0 if shadow[iy + row - 1, ix] <= height else 0.0
                    total += 1.0 if shadow[iy + row - 1, ix + 1] <= height else 0.0
                    total += fraction_x if shadow[iy + row - 1, ix + 2] <= height else 0.0
                    share += weight_y * total
                share /= 9.0
    return share


@inlined
def _texture(
    texels: Array, levels: Array, to_linear: Array, mesh: int, u: float, v: float, span: float
) -> tuple[float, float, float]:
    """Linear colour (3,) of a mesh's texture at (u, v), bilinear in display values, in the mip level that suits a pixel
    which spans an area of `span` texels of the base picture."""
    level, last, area = 1, levels[mesh, 0, 0], span * 0.3789  # half a level's bias keeps prints crisp
    while area > 1.0 and level < last:
        level += 1
        area *= 0.25
    start, rows, columns = levels[mesh, level, 0], levels[mesh, level, 1], levels[mesh, level, 2]
    column, row = (u - math.floor(u)) * columns - 0.5, (v - math.floor(v)) * rows - 0.5
    i0, j0 = math.floor(column), math.floor(row)
    fi, fj = column - i0, row - j0
    i1 = i0 + 1 if i0 + 1 < columns else 0
    j1 = j0 + 1 if j0 + 1 < rows else 0
    i0 = i0 if i0 >= 0 else columns - 1
    j0 = j0 if j0 >= 0 else rows - 1
    w00, w01, w10, w11 = (1 - fj) * (1 - fi), (1 - fj) * fi, fj * (1 - fi), fj * fi
    upper, lower = start + j0 * columns, start + j1 * columns
    t00, t01 = np.uint32(texels[np.uint64(upper + i0)]), np.uint32(texels[np.uint64(upper + i1)])
    t10, t11 = np.uint32(texels[np.uint64(lower + i0)]), np.uint32(texels[np.uint64(lower + i1)])
    red = w00 * (t00 & 255) + w01 * (t01 & 255) + w10 * (t10 & 255) + w11 * (t11 & 255)
    t00, t01, t10, t11 = t00 >> 8, t01 >> 8, t10 >> 8, t11 >> 8
    green = w00 * (t00 & 255) + w01 * (t01 & 255) + w10 * (t10 & 255) + w11 * (t11 & 255)
    blue = w00 * (t00 >> 8) + w01 * (t01 >> 8) + w10 * (t10 >> 8) + w11 * (t11 >> 8)
    steps = float(TEXTURE_STEPS)
    return to_linear[int(red * steps + 0.5)], to_linear[int(green * steps + 0.5)], to_linear[int(blue * steps + 0.5)]


@njit
def shade(
    hit: Array, slot: Array, fine: Array, crease_cosine: float, faces: Array, mesh_of: Array, openness: Array,
    camera_points: Array, triangles: Array, vertices: Array, lens: Array, lights: Array, light_colors: Array,
    shadows: Array, least: Array, greatest: Array, shadow_sizes: Array, shadow_from_camera: Array,
    shadow_texel: Array, gloss: Array, bed_from_camera: Array, sky: Array, ground: Array, texels: Array,
    levels: Array, to_linear: Array, to_srgb: Array, color: Array,
) -> None:  # fmt: skip
    """Colour (H, W, 3) uint8 of every pixel hit.

    `fine` (N, 4) are the hits at four points about the centre of the pixels numbered by `slot` (H, W): where they see
    different meshes, creases or nothing, each is shaded and the display values are averaged; elsewhere one sample does.
    `least` and `greatest` (K, B, B) bound the heights of each shadow map's blocks and what a look-up there reaches.
    """
    height, width = hit.shape
    casting = shadows.shape[0]
    q = bed_from_camera
    # What holds for a whole triangle, or mesh, is worked out when another one begins: most neighbours share it.
    last, mesh, volume, shine, sharpness, least_along = -1, 0, 0.0, 0.0, 0.0, 0.0
    a, b, c = np.uint32(0), np.uint32(0), np.uint32(0)
    e0x, e0y, e0z, e1x, e1y, e1z, e2x, e2y, e2z = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    over_brightest, last_shown = 1.0 / BRIGHTEST, float(len(to_srgb) - 1)
    dimmest = np.exp(math.log(_DIMMEST_LOBE) / (4.0 + 120.0 * gloss * gloss))
    for y in range(height):
        for x in range(width):
            n = slot[y, x]
            edge = False
            if n >= 0:
                for k in range(1, 4):
                    edge = edge or differ(fine[n, 0], fine[n, k], mesh_of, faces, crease_cosine)
            samples = 4 if edge else 1
            open_share = float(openness[y, x])
            display_red, display_green, display_blue = 0.0, 0.0, 0.0
            for sample in range(samples):
                t = fine[n, sample] if edge else hit[y, x]
                if t < 0:
                    continue
                px = x + (0.5 * (sample & 1) - 0.25 if edge else 0.0)
                py = y + (0.5 * (sample >> 1) - 0.25 if edge else 0.0)
                rx, ry = (px - lens[2]) / lens[0], (py - lens[3]) / lens[1]
                if t != last:
                    last, mesh = t, mesh_of[t]
                    a, b, c = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
                    ax, ay, az = camera_points[a, 0], camera_points[a, 1], camera_points[a, 2]
                    bx, by, bz = camera_points[b, 0], camera_points[b, 1], camera_points[b, 2]
                    cx, cy, cz = camera_points[c, 0], camera_points[c, 1], camera_points[c, 2]
                    e0x, e0y, e0z = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
                    e1x, e1y, e1z = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
                    e2x, e2y, e2z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
                    volume = ax * e0x + ay * e0y + az * e0z
                    shine, least_along = gloss[mesh], dimmest[mesh]
                    sharpness = 4.0 + 120.0 * shine * shine
                e0 = e0x * rx + e0y * ry + e0z
                e1 = e1x * rx + e1y * ry + e1z
                e2 = e2x * rx + e2y * ry + e2z
                over_total = 1.0 / (e0 + e1 + e2)
                w0, w1, w2 = e0 * over_total, e1 * over_total, e2 * over_total
                z = volume * over_total
                # Shading normal in the bed frame, turned toward the side that is seen.
                nx = w0 * vertices[a, 0] + w1 * vertices[b, 0] + w2 * vertices[c, 0]
                ny = w0 * vertices[a, 1] + w1 * vertices[b, 1] + w2 * vertices[c, 1]
                nz = w0 * vertices[a, 2] + w1 * vertices[b, 2] + w2 * vertices[c, 2]
                over_length = 1.0 / (math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-20)
                if volume > 0.0:
                    over_length = -over_length
                nx, ny, nz = nx * over_length, ny * over_length, nz * over_length
                up = 0.5 + 0.5 * nz
                red = (up * sky[0] + (1.0 - up) * ground[0]) * open_share
                green = (up * sky[1] + (1.0 - up) * ground[1]) * open_share
                blue = (up * sky[2] + (1.0 - up) * ground[2]) * open_share
                mirror_x, mirror_y, mirror_z, fresnel = 0.0, 0.0, 0.0, 0.0
                bright_red, bright_green, bright_blue = 0.0, 0.0, 0.0
                if shine > 0.0:
                    nearer = -1.0 / math.sqrt(rx * rx + ry * ry + 1.0)
                    ex = (q[0, 0] * rx + q[0, 1] * ry + q[0, 2]) * nearer
                    ey = (q[1, 0] * rx + q[1, 1] * ry + q[1, 2]) * nearer
                    ez = (q[2, 0] * rx + q[2, 1] * ry + q[2, 2]) * nearer
                    facing = max(0.0, nx * ex + ny * ey + nz * ez)
                    mirror_x, mirror_y = 2.0 * facing * nx - ex, 2.0 * facing * ny - ey
                    mirror_z = 2.0 * facing * nz - ez
                    # Schlick's approximation for a dielectric; roughness takes from the grazing rise.
                    away = 1.0 - facing
                    fresnel = 0.04 + 0.96 * shine * away * away * away * away * away
                    above = 0.5 + 0.5 * mirror_z
                    share = shine * fresnel * open_share
                    bright_red = share * (above * sky[0] + (1.0 - above) * ground[0])
                    bright_green = share * (above * sky[1] + (1.0 - above) * ground[1])
                    bright_blue = share * (above * sky[2] + (1.0 - above) * ground[2])
                for k in range(lights.shape[0]):
                    cosine = nx * lights[k, 0] + ny * lights[k, 1] + nz * lights[k, 2]
                    if cosine <= 0.0:
                        continue
                    if k < casting:
                        x3, y3 = z * rx, z * ry
                        m = shadow_from_camera[k]
                        # Stepping off along the normal, more where the light grazes, keeps a surface from shadowing
                        # itself.
                        step = shadow_texel[k, 0] * (1.0 + 1.5 * (1.0 - cosine))
                        ox, oy, oz = step * nx, step * ny, step * nz
                        sx = m[0, 0] * x3 + m[0, 1] * y3 + m[0, 2] * z + m[0, 3]
                        sx += m[0, 4] * ox + m[0, 5] * oy + m[0, 6] * oz
                        sy = m[1, 0] * x3 + m[1, 1] * y3 + m[1, 2] * z + m[1, 3]
                        sy += m[1, 4] * ox + m[1, 5] * oy + m[1, 6] * oz
                        sh = m[2, 0] * x3 + m[2, 1] * y3 + m[2, 2] * z + m[2, 3]
                        sh += m[2, 4] * ox + m[2, 5] * oy + m[2, 6] * oz + shadow_texel[k, 1]
                        cosine *= _shadow_share(shadows[k], least[k], greatest[k], shadow_sizes[k], sx, sy, sh)
                    else:
                        # A little of the occlusion reaches direct light too: the many small lights of a room are in it.
                        cosine *= 0.4 + 0.6 * open_share
                    red += cosine * light_colors[k, 0]
                    green += cosine * light_colors[k, 1]
                    blue += cosine * light_colors[k, 2]
                    if shine > 0.0 and cosine > 0.0:
                        along = mirror_x * lights[k, 0] + mirror_y * lights[k, 1] + mirror_z * lights[k, 2]
                        if along > least_along:  # Phong's lobe, normalised so that a sharper one is brighter
                            lobe = cosine * fresnel * 0.5 * (sharpness + 2.0) * along**sharpness
                            bright_red += lobe * light_colors[k, 0]
                            bright_green += lobe * light_colors[k, 1]
                            bright_blue += lobe * light_colors[k, 2]
                red *= w0 * vertices[a, 3] + w1 * vertices[b, 3] + w2 * vertices[c, 3]
                green *= w0 * vertices[a, 4] + w1 * vertices[b, 4] + w2 * vertices[c, 4]
                blue *= w0 * vertices[a, 5] + w1 * vertices[b, 5] + w2 * vertices[c, 5]
                if levels[mesh, 0, 0] > 0:
                    ua, ub, uc = vertices[a, 6], vertices[b, 6], vertices[c, 6]
                    va, vb, vc = vertices[a, 7], vertices[b, 7], vertices[c, 7]
                    u, v = w0 * ua + w1 * ub + w2 * uc, w0 * va + w1 * vb + w2 * vc
                    # Texels of the base picture that one pixel spans, from the triangle's areas in both.
                    uv_area = abs((ub - ua) * (vc - va) - (uc - ua) * (vb - va))
                    span = uv_area * levels[mesh, 1, 1] * levels[mesh, 1, 2] * z * z * abs(over_total)
                    span /= lens[0] * lens[1]
                    ink_red, ink_green, ink_blue = _texture(texels, levels, to_linear, mesh, u, v, span)
                    red, green, blue = red * ink_red, green * ink_green, blue * ink_blue
                red, green, blue = red + bright_red, green + bright_green, blue + bright_blue
                display_red += to_srgb[int(min(1.0, red * over_brightest) * last_shown + 0.5)]
                display_green += to_srgb[int(min(1.0, green * over_brightest) * last_shown + 0.5)]
                display_blue += to_srgb[int(min(1.0, blue * over_brightest) * last_shown + 0.5)]
            share = 0.25 if edge else 1.0
            color[y, x, 0] = np.uint8(share * display_red + 0.5)
            color[y, x, 1] = np.uint8(share * display_green + 0.5)
            color[y, x, 2] = np.uint8(share * display_blue + 0.5)
