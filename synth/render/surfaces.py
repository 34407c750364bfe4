"""The compiled inner loop that tells what the samples of a row of pixels see: where, which way it faces, its colour.

Arrays are those of `kernels` and `layout`: `vertices` (V, 8) float32 holds what is interpolated over a triangle: normal
(not normalised), linear albedo, and texture coordinates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from synth.render.jit import inlined, njit
from synth.render.kernels import differ
from synth.render.layout import TEXTURE_STEPS

Array = Any  # numba infers the element types
Number = Any  # and those of numbers: float32 and uint32 here
_HALF, _ONE, _QUARTER, _STEPS = np.float32(0.5), np.float32(1.0), np.float32(0.25), np.float32(TEXTURE_STEPS)
_CRISP = np.float32(0.3789)  # half a level's bias keeps prints crisp


class Hits(NamedTuple):
    """Which triangle is seen, −1: none. int32; at (H, W): at the pixels' centres; fine (N, 4): at four points about the
    centre of the pixels that `slot` (H, W) numbers, −1 elsewhere."""

    at: Array
    slot: Array
    fine: Array


class Solid(NamedTuple):
    """What is drawn. camera_points (V, 3), vertices (V, 8), triangles (T, 3), their unit normals `faces` (T, 3) and
    meshes `mesh_of` (T,); gloss (M,) float32."""

    camera_points: Array
    vertices: Array
    triangles: Array
    faces: Array
    mesh_of: Array
    gloss: Array


class Ink(NamedTuple):
    """Textures as `layout.pack_textures` lays them out, and display values as linear light."""

    texels: Array
    levels: Array
    to_linear: Array


class Row(NamedTuple):
    """A row's samples, from left to right, N of them: room for the most there can be.

    first (W + 1,) int32: the number of each pixel's first sample. By sample, float32: position (3, N) in the camera's
    frame, normal (3, N) in the bed frame, turned toward the side that is seen and not normalised, albedo (3, N),
    openness (N,); mesh (N,) int32, −1 and the rest 0 where nothing is.
    """

    first: Array
    mesh: Array
    openness: Array
    position: Array
    normal: Array
    albedo: Array


@inlined
def _mixed(
    w00: Number, w01: Number, w10: Number, w11: Number, t00: Number, t01: Number, t10: Number, t11: Number
) -> Number:
    """The lowest bytes of four texels, weighted."""
    upper = w00 * np.float32(np.int32(t00 & 255)) + w01 * np.float32(np.int32(t01 & 255))
    return upper + w10 * np.float32(np.int32(t10 & 255)) + w11 * np.float32(np.int32(t11 & 255))


@inlined
def _linear(to_linear: Array, shown: Number) -> Number:
    return to_linear[np.uint32(np.int32(shown * _STEPS + _HALF))]


@inlined
def _texture(
    texels: Array, levels: Array, to_linear: Array, mesh: int, u: Number, v: Number, span: Number
) -> tuple[Number, Number, Number]:
    """Linear colour (3,) of a mesh's texture at (u, v), bilinear in display values, in the mip level that suits a pixel
    which spans an area of `span` texels of the base picture."""
    level, last, area = 1, levels[mesh, 0, 0], span * _CRISP
    while area > _ONE and level < last:
        level += 1
        area *= _QUARTER
    start, rows, columns = levels[mesh, level, 0], levels[mesh, level, 1], levels[mesh, level, 2]
    column, row = (u - np.floor(u)) * np.float32(columns) - _HALF, (v - np.floor(v)) * np.float32(rows) - _HALF
    left, top = np.floor(column), np.floor(row)
    right_share, lower_share = column - left, row - top
    i0, j0 = np.int32(left), np.int32(top)
    i1 = i0 + 1 if i0 + 1 < columns else 0
    j1 = j0 + 1 if j0 + 1 < rows else 0
    i0 = i0 if i0 >= 0 else columns - 1
    j0 = j0 if j0 >= 0 else rows - 1
    w11 = lower_share * right_share
    w10, w01 = lower_share - w11, right_share - w11
    w00 = _ONE - right_share - w10
    upper, lower = start + j0 * columns, start + j1 * columns
    t00, t01 = np.uint32(texels[np.uint64(upper + i0)]), np.uint32(texels[np.uint64(upper + i1)])
    t10, t11 = np.uint32(texels[np.uint64(lower + i0)]), np.uint32(texels[np.uint64(lower + i1)])
    red = _mixed(w00, w01, w10, w11, t00, t01, t10, t11)
    green = _mixed(w00, w01, w10, w11, t00 >> 8, t01 >> 8, t10 >> 8, t11 >> 8)
    blue = _mixed(w00, w01, w10, w11, t00 >> 16, t01 >> 16, t10 >> 16, t11 >> 16)
    return _linear(to_linear, red), _linear(to_linear, green), _linear(to_linear, blue)


@njit
def find_surfaces(
    y: int, hits: Hits, crease_cosine: float, solid: Solid, lens: Array, ink: Ink, openness: Array, row: Row
) -> int:
    """Fill `row` with what the samples of row `y` see; returns how many there are.

    Where `hits.fine` sees different meshes, creases or nothing, a pixel has those four samples, elsewhere one at its
    centre. lens: fx, fy, cx, cy. openness: (H, W) float32.
    """
    hit, slot, fine = hits
    camera_points, vertices, triangles, faces, mesh_of, _ = solid
    texels, levels, to_linear = ink
    first, mesh_at, open_at, position, normal, albedo = row
    last, mesh, volume, textured, texels_of = -1, 0, 0.0, False, 0.0
    a, b, c = np.uint32(0), np.uint32(0), np.uint32(0)
    e0x, e0y, e0z, e1x, e1y, e1z, e2x, e2y, e2z = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    i = -1
    for x in range(hit.shape[1]):
        first[x] = i + 1
        n = slot[y, x]
        edge = False
        if n >= 0:
            for k in range(1, 4):
                edge = edge or differ(fine[n, 0], fine[n, k], mesh_of, faces, crease_cosine)
        for sample in range(4 if edge else 1):
            t = fine[n, sample] if edge else hit[y, x]
            i += 1
            open_at[i] = openness[y, x]
            if t < 0:
                mesh_at[i] = -1
                for k in range(3):
                    position[k, i], normal[k, i], albedo[k, i] = 0.0, 0.0, 0.0
                continue
            px = x + (0.5 * (sample & 1) - 0.25 if edge else 0.0)
            py = y + (0.5 * (sample >> 1) - 0.25 if edge else 0.0)
            rx, ry = (px - lens[2]) / lens[0], (py - lens[3]) / lens[1]
            if t != last:
                # What holds for a whole triangle is worked out when another one begins: most neighbours share it.
                last, mesh = t, mesh_of[t]
                a, b, c = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
                ax, ay, az = camera_points[a, 0], camera_points[a, 1], camera_points[a, 2]
                bx, by, bz = camera_points[b, 0], camera_points[b, 1], camera_points[b, 2]
                cx, cy, cz = camera_points[c, 0], camera_points[c, 1], camera_points[c, 2]
                e0x, e0y, e0z = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
                e1x, e1y, e1z = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
                e2x, e2y, e2z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
                volume = ax * e0x + ay * e0y + az * e0z
                textured = levels[mesh, 0, 0] > 0
                if textured:
                    # Texels of the base picture in a pixel's area of the triangle, but for its distance and slope.
                    ua, ub, uc = vertices[a, 6], vertices[b, 6], vertices[c, 6]
                    va, vb, vc = vertices[a, 7], vertices[b, 7], vertices[c, 7]
                    uv_area = abs((ub - ua) * (vc - va) - (uc - ua) * (vb - va))
                    texels_of = uv_area * levels[mesh, 1, 1] * levels[mesh, 1, 2] / (lens[0] * lens[1])
            mesh_at[i] = mesh
            e0 = e0x * rx + e0y * ry + e0z
            e1 = e1x * rx + e1y * ry + e1z
            e2 = e2x * rx + e2y * ry + e2z
            over_total = 1.0 / (e0 + e1 + e2)
            w0, w1, w2 = np.float32(e0 * over_total), np.float32(e1 * over_total), np.float32(e2 * over_total)
            z = volume * over_total
            position[0, i], position[1, i], position[2, i] = z * rx, z * ry, z
            turn = np.float32(-1.0) if volume > 0.0 else _ONE
            for k in range(3):
                normal[k, i] = turn * (w0 * vertices[a, k] + w1 * vertices[b, k] + w2 * vertices[c, k])
            red = w0 * vertices[a, 3] + w1 * vertices[b, 3] + w2 * vertices[c, 3]
            green = w0 * vertices[a, 4] + w1 * vertices[b, 4] + w2 * vertices[c, 4]
            blue = w0 * vertices[a, 5] + w1 * vertices[b, 5] + w2 * vertices[c, 5]
            if textured:
                u = w0 * vertices[a, 6] + w1 * vertices[b, 6] + w2 * vertices[c, 6]
                v = w0 * vertices[a, 7] + w1 * vertices[b, 7] + w2 * vertices[c, 7]
                span = np.float32(texels_of * z * z * abs(over_total))
                ink_red, ink_green, ink_blue = _texture(texels, levels, to_linear, mesh, u, v, span)
                red, green, blue = red * ink_red, green * ink_green, blue * ink_blue
            albedo[0, i], albedo[1, i], albedo[2, i] = red, green, blue
    first[hit.shape[1]] = i + 1
    return i + 1
