"""The compiled inner loops that give the numba renderer's pixels their colour.

A row of pixels at a time: what its samples see (`surfaces`), and then one light after the other over all of them, in
loops plain enough for the compiler to take eight samples at once. Arrays by sample are float32: position (3, N) in the
camera's frame, normal (3, N) in the bed frame, albedo, light and bright (3, N) linear RGB, the latter two what falls on
a surface and what it mirrors; openness (N,); lit (K, N) the share of each light that arrives, times its cosine.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from synth.render.jit import inlined, njit
from synth.render.layout import BRIGHTEST
from synth.render.surfaces import Hits, Ink, Row, Solid, find_surfaces

Array = Any  # numba infers the element types
SHADOW_BLOCK = 4  # texels along a side of the blocks whose least and greatest heights are known
_DIMMEST_LOBE = 1e-4  # share of a highlight's peak below which it is not worth a power
# A literal would be taken for float64, and the loops for half as many samples at once.
_ZERO, _HALF, _ONE, _TWO, _TINY = (np.float32(number) for number in (0.0, 0.5, 1.0, 2.0, 1e-20))
_GRAZING = np.float32(1.5)  # how many times farther a point steps off its surface where the light grazes it
_DIRECT, _OPEN = np.float32(0.4), np.float32(0.6)
_FACING, _GLANCING = np.float32(0.04), np.float32(0.96)  # a dielectric's reflectance, and what grazing adds
_BLUNTEST, _SHARPENED = np.float32(4.0), np.float32(120.0)  # exponents of highlights


class Lamps(NamedTuple):
    """The lights, those that cast first: toward (K, 3) unit vectors, colors (K, 3); sky and ground (3,): the light from
    above and below. float32."""

    toward: Array
    colors: Array
    sky: Array
    ground: Array


class ShadowTables(NamedTuple):
    """The maps of the C lights that cast; see `shadows.ShadowMaps`. least and greatest bound the heights of each map's
    blocks and what a look-up there reaches."""

    heights: Array
    least: Array
    greatest: Array
    sizes: Array
    rows: Array
    step: Array


@inlined
def _shadow_share(
    shadows: Array, least: Array, greatest: Array, k: int, size: int, x: float, y: float, height: float
) -> float:
    """The lit share 0…1 of a point under a 3×3 tent filter; outside the map nothing casts, so it is lit.

    Where the blocks' bounds settle all sixteen texels at once, they are not looked at.
    """
    ix, iy = math.floor(x), math.floor(y)
    share = 1.0
    if ix >= 1 and iy >= 1 and ix < size - 2 and iy < size - 2:
        i, j = ix // SHADOW_BLOCK, iy // SHADOW_BLOCK
        if greatest[k, j, i] > height:
            share = 0.0
            if least[k, j, i] <= height:
                fraction_x, fraction_y = x - ix, y - iy
                for row in range(4):
                    weight_y = 1.0 - fraction_y if row == 0 else (fraction_y if row == 3 else 1.0)
                    total = 0.0
                    total += 1.0 - fraction_x if shadows[k, iy + row - 1, ix - 1] <= height else 0.0
                    total += 1.0 if shadows[k, iy + row - 1, ix] <= height else 0.0
                    total += 1.0 if shadows[k, iy + row - 1, ix + 1] <= height else 0.0
                    total += fraction_x if shadows[k, iy + row - 1, ix + 2] <= height else 0.0
                    share += weight_y * total
                share /= 9.0
    return share


@njit
def _normalise(count: int, normal: Array) -> None:
    for i in range(count):
        x, y, z = normal[0, i], normal[1, i], normal[2, i]
        over_length = _ONE / (math.sqrt(x * x + y * y + z * z) + _TINY)
        normal[0, i], normal[1, i], normal[2, i] = x * over_length, y * over_length, z * over_length


@njit
def _light_ambient(count: int, normal: Array, openness: Array, sky: Array, ground: Array, light: Array) -> None:
    for k in range(3):
        above, below = sky[k], ground[k]
        for i in range(count):
            up = _HALF + _HALF * normal[2, i]
            light[k, i] = (up * above + (_ONE - up) * below) * openness[i]


@njit
def _face(count: int, normal: Array, toward: Array, lit: Array) -> None:
    """Cosines (N,) of the angles at which a light falls, 0 from behind."""
    x, y, z = toward[0], toward[1], toward[2]
    for i in range(count):
        lit[i] = max(_ZERO, normal[0, i] * x + normal[1, i] * y + normal[2, i] * z)


@njit
def _cast(count: int, row: Row, k: int, shadows: ShadowTables, lit: Array, place: Array) -> None:
    """Take from `lit` (N,) what the shadow map number `k` keeps off; `place` (3, N) is overwritten."""
    position, normal = row.position, row.normal
    heights, least, greatest = shadows.heights, shadows.least, shadows.greatest
    size, rows, step = shadows.sizes[k], shadows.rows[k], shadows.step[k]
    for axis in range(3):
        px, py, pz, offset = rows[axis, 0], rows[axis, 1], rows[axis, 2], rows[axis, 3]
        nx, ny, nz = rows[axis, 4], rows[axis, 5], rows[axis, 6]
        if axis == 2:
            offset += step[1]
        for i in range(count):
            # Stepping off along the normal, more where the light grazes, keeps a surface from shadowing itself.
            off = step[0] * (_ONE + _GRAZING * (_ONE - lit[i]))
            place[axis, i] = (
                px * position[0, i] + py * position[1, i] + pz * position[2, i] + offset
                + off * (nx * normal[0, i] + ny * normal[1, i] + nz * normal[2, i])
            )  # fmt: skip
    for i in range(count):
        if lit[i] > _ZERO:
            share = _shadow_share(heights, least, greatest, k, size, place[0, i], place[1, i], place[2, i])
            lit[i] *= np.float32(share)


@njit
def _dim(count: int, openness: Array, lit: Array) -> None:
    """A little of the occlusion reaches direct light too: the many small lights of a room are in it."""
    for i in range(count):
        lit[i] *= _DIRECT + _OPEN * openness[i]


@njit
def _add(count: int, lit: Array, color: Array, light: Array) -> None:
    for k in range(3):
        strength = color[k]
        for i in range(count):
            light[k, i] += strength * lit[i]


@njit
def _mirror(
    count: int, row: Row, lit: Array, gloss: Array, dimmest: Array, lamps: Lamps, bed_from_camera: Array, bright: Array
) -> None:
    """What glossy surfaces mirror, of the lights and of what is around."""
    mesh_at, openness, position, normal = row.mesh, row.openness, row.position, row.normal
    lights, light_colors, sky, ground = lamps
    q = bed_from_camera
    for i in range(count):
        bright[0, i], bright[1, i], bright[2, i] = _ZERO, _ZERO, _ZERO
        mesh = mesh_at[i]
        if mesh < 0 or gloss[mesh] <= _ZERO:
            continue
        shine, nx, ny, nz = gloss[mesh], normal[0, i], normal[1, i], normal[2, i]
        px, py, pz = position[0, i], position[1, i], position[2, i]
        nearer = -_ONE / math.sqrt(px * px + py * py + pz * pz)
        ex = (q[0, 0] * px + q[0, 1] * py + q[0, 2] * pz) * nearer
        ey = (q[1, 0] * px + q[1, 1] * py + q[1, 2] * pz) * nearer
        ez = (q[2, 0] * px + q[2, 1] * py + q[2, 2] * pz) * nearer
        facing = max(_ZERO, nx * ex + ny * ey + nz * ez)
        mirror_x, mirror_y = _TWO * facing * nx - ex, _TWO * facing * ny - ey
        mirror_z = _TWO * facing * nz - ez
        # Schlick's approximation for a dielectric; roughness takes from the grazing rise.
        away = _ONE - facing
        fresnel = _FACING + _GLANCING * shine * away * away * away * away * away
        above = _HALF + _HALF * mirror_z
        share = shine * fresnel * openness[i]
        red = share * (above * sky[0] + (_ONE - above) * ground[0])
        green = share * (above * sky[1] + (_ONE - above) * ground[1])
        blue = share * (above * sky[2] + (_ONE - above) * ground[2])
        sharpness = _BLUNTEST + _SHARPENED * shine * shine
        for k in range(lights.shape[0]):
            if lit[k, i] > _ZERO:
                along = mirror_x * lights[k, 0] + mirror_y * lights[k, 1] + mirror_z * lights[k, 2]
                if along > dimmest[mesh]:  # Phong's lobe, normalised so that a sharper one is brighter
                    lobe = lit[k, i] * fresnel * _HALF * (sharpness + _TWO) * along**sharpness
                    red += lobe * light_colors[k, 0]
                    green += lobe * light_colors[k, 1]
                    blue += lobe * light_colors[k, 2]
        bright[0, i], bright[1, i], bright[2, i] = red, green, blue


@njit
def _show(
    count: int, first: Array, albedo: Array, light: Array, bright: Array, to_srgb: Array, step_at: Array, color: Array
) -> None:
    """Display values `color` (W, 3) of a row's pixels: the mean of their samples'. `step_at` (N,) is overwritten."""
    last = np.float32(len(to_srgb) - 1)
    scale = last / np.float32(BRIGHTEST)
    for k in range(3):
        for i in range(count):
            step_at[i] = np.int32(min(last, (light[k, i] * albedo[k, i] + bright[k, i]) * scale) + _HALF)
        for x in range(len(color)):
            i = first[x]
            shown = to_srgb[step_at[i]]
            if first[x + 1] - i == 4:
                shown = 0.25 * (shown + to_srgb[step_at[i + 1]] + to_srgb[step_at[i + 2]] + to_srgb[step_at[i + 3]])
            color[x, k] = np.uint8(shown + 0.5)


@njit
def shade(
    hits: Hits, openness: Array, crease_cosine: float, solid: Solid, lens: Array, bed_from_camera: Array, lamps: Lamps,
    shadows: ShadowTables, ink: Ink, to_srgb: Array, color: Array,
) -> None:  # fmt: skip
    """Colour (H, W, 3) uint8 of every pixel hit.

    Where a pixel's samples see different meshes, creases or nothing, each is shaded and the display values are
    averaged. lens: fx, fy, cx, cy. openness: (H, W) float32. bed_from_camera: (3, 3) float32.
    """
    height, width = hits.at.shape
    casting, most = shadows.heights.shape[0], 4 * width
    step_at, lit = np.empty(most, np.int32), np.empty((max(1, len(lamps.toward)), most), np.float32)
    by_sample = np.empty((6, 3, most), np.float32)
    light, bright, place = by_sample[3], by_sample[4], by_sample[5]
    row = Row(
        np.empty(width + 1, np.int32), np.empty(most, np.int32), np.empty(most, np.float32), by_sample[0], by_sample[1],
        by_sample[2],
    )  # fmt: skip
    dimmest = np.exp(np.float32(math.log(_DIMMEST_LOBE)) / (_BLUNTEST + _SHARPENED * solid.gloss * solid.gloss))
    for y in range(height):
        count = find_surfaces(y, hits, crease_cosine, solid, lens, ink, openness, row)
        _normalise(count, row.normal)
        _light_ambient(count, row.normal, row.openness, lamps.sky, lamps.ground, light)
        for k in range(len(lamps.toward)):
            _face(count, row.normal, lamps.toward[k], lit[k])
            if k < casting:
                _cast(count, row, k, shadows, lit[k], place)
            else:
                _dim(count, row.openness, lit[k])
            _add(count, lit[k], lamps.colors[k], light)
        _mirror(count, row, lit, solid.gloss, dimmest, lamps, bed_from_camera, bright)
        _show(count, row.first, row.albedo, light, bright, to_srgb, step_at, color[y])
