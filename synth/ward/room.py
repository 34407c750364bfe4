"""A room's shell: floor, painted walls, ceiling, window, door, curtain, and how light pools on them.

Everything faces inward and is single-sided, so that a camera outside the room still sees in. Renderers know directional
lights only; that walls are brighter near a window or under a panel, and darker in the corners, is painted on here.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synth.render.jit import njit
from synth.render.mesh import Mesh
from synth.ward import fittings, shapes, textures
from synth.ward.lights import BY_DAY, ONE_LAMP, PANELS_ON
from synth.ward.palette import pick
from synth.ward.shapes import Surface, linear
from synth.ward.walls import WALLS, Wall

Array = Any  # numba infers the element types
Point = tuple[float, float, float]
HALL = 5.0  # metres that the hall about the room reaches beyond its walls
_STEP_DOWN = 0.001  # metres by which its floor lies below the room's, which it passes under
_STEP = 0.3  # metres between the points that the light on walls and ceiling is painted at
_FLOOR_STEP = 0.2


@dataclass(frozen=True, slots=True)
class RoomLook:
    """Extents in metres, bed frame x and y: `low` (2,), `high` (2,). Wall and floor colours are linear albedo."""

    low: tuple[float, float] = (-1.3, -2.2)
    high: tuple[float, float] = (3.2, 2.6)
    ceiling: float = 2.7
    floor_kind: str = "linoleum"
    floor_color: Point = (0.45, 0.45, 0.42)
    floor_gloss: float = 0.4
    wall_color: Point = (0.75, 0.74, 0.68)
    dado_color: Point | None = None
    window_side: float = 1.0
    curtain_color: Point | None = None
    seed: int = 0


class _Glow(NamedTuple):
    """A rectangle that shines: its centre, the way it faces, its strength on a surface one metre before it."""

    centre: NDArray[np.float64]
    facing: NDArray[np.float64]
    strength: float


# Centres (K, 3), facings (K, 3) and strengths (K,) of all that shines.
_Glows = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


@njit
def _light_on(points: Array, along: Array, up: Array, centres: Array, facings: Array, strengths: Array) -> Array:
    """(N,) factor about one: what the shining things add to points (N, 3) of a surface that faces along × up."""
    nx, ny, nz = (
        along[1] * up[2] - along[2] * up[1],
        along[2] * up[0] - along[0] * up[2],
        along[0] * up[1] - along[1] * up[0],
    )
    area = math.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx / area, ny / area, nz / area
    total = np.full(len(points), 0.8)
    for k in range(len(strengths)):
        for i in range(len(points)):
            x, y, z = points[i, 0] - centres[k, 0], points[i, 1] - centres[k, 1], points[i, 2] - centres[k, 2]
            squared = x * x + y * y + z * z + 0.3
            leaving = max(x * facings[k, 0] + y * facings[k, 1] + z * facings[k, 2], 0.0)
            arriving = max(-(x * nx + y * ny + z * nz), 0.0)
            total[i] += strengths[k] * (leaving * arriving / (squared * squared) + 0.12 / squared)
    return total


@lru_cache(maxsize=256)
def _shares(count: int) -> NDArray[np.float64]:
    """(count,) evenly from 0 to 1."""
    shares = np.linspace(0, 1, count)
    shares.flags.writeable = False
    return shares


def _edge(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """How dark a corner of the room is, as a factor, at these distances (N,) from it."""
    return np.asarray(1.0 - 0.22 * np.exp(-distance / 0.28))


def _painted(
    corner: NDArray[np.float64], along: NDArray[np.float64], up: NDArray[np.float64], surface: Surface,
    glows: _Glows, *, step: float = _STEP, corners: bool = True, bed: tuple[float, float] | None = None,
) -> Mesh:  # fmt: skip
    """A rectangle as `shapes.quad` makes it, with light pooling on it; darker along its edges where it has `corners`
    and beneath the `bed` (half length, half width)."""
    width, height = float(np.linalg.norm(along)), float(np.linalg.norm(up))
    u, v = (_shares(max(2, round(size / step) + 1)) for size in (width, height))
    points = corner + u[:, None] * along + (v[:, None] * up)[:, None]
    light = _light_on(points.reshape(-1, 3), along, up, *glows).reshape(len(v), len(u))
    if corners:
        light *= _edge(u * width)
        light *= _edge((1 - u) * width)
        light *= _edge(v * height)[:, None]
        light *= _edge((1 - v) * height)[:, None]
    if bed is not None:
        outside = np.hypot(*(np.clip(np.abs(points[..., k]) - bed[k] + 0.12, 0.0, None) for k in range(2)))
        light *= 1.0 - 0.62 * np.exp(-((outside / 0.3) ** 2))
    return shapes.sheet(points, surface, shade=light, single_sided=True)


def _window(
    wall: Wall, look: RoomLook, rng: np.random.Generator, by_day: bool, curtain: Surface
) -> tuple[list[Mesh], _Glow]:
    """A window with frame, sill, radiator, perhaps a blind or curtains; and the light that it lets in."""
    width = float(rng.uniform(1.0, min(2.6, wall.length * 0.6)))
    start = float(rng.uniform(0.1, 0.9)) * (wall.length - width)
    low, high = float(rng.uniform(0.8, 1.05)), float(rng.uniform(1.95, look.ceiling - 0.2))
    bright = float(rng.uniform(1.4, 3.5)) if by_day else float(rng.uniform(0.02, 0.08))
    view = Surface((bright, bright, bright), textures.outlook(rng), max(width, high - low) * 1.01)
    white = Surface(linear(0.93, 0.93, 0.92), gloss=0.4)
    meshes = [wall.panel(start, width, low, high, 0.012, view)]
    panes = int(rng.integers(1, 4))
    for k in range(panes + 1):
        at = start + k * width / panes
        meshes.append(wall.block(at - 0.035, 0.07, low - 0.03, high + 0.03, 0.045, white))
    for level in (low - 0.05, high - 0.02):
        meshes.append(wall.block(start - 0.03, width + 0.06, level, level + 0.07, 0.045, white))
    meshes.append(wall.block(start - 0.08, width + 0.16, low - 0.08, low - 0.04, 0.16, white))
    radiator = rng.random() < 0.6
    if radiator:
        slats = np.full((4, 32, 3), 240, np.uint8)
        slats[:, :4] = 165
        ribbed = Surface(linear(0.93, 0.93, 0.91), slats, 0.09, 0.3)
        meshes.append(wall.block(start + 0.1, width - 0.2, 0.14, low - 0.14, 0.1, ribbed))
    kind = rng.random()
    drop = float(rng.uniform(0.2, 0.95)) * (high - low)
    if kind < 0.4:  # a blind, drawn part of the way; with light behind it, it glows
        slats = np.full((32, 4, 3), 238, np.uint8)
        slats[:5] = 150
        shine = 0.3 * bright + 0.6
        meshes.append(
            wall.panel(start, width, high - drop, high, 0.05, Surface((shine, shine, 0.97 * shine), slats, 0.07))
        )
    elif kind < 0.75:  # curtains to both sides
        for side in (start - 0.25, start + width - 0.2):
            ends = [wall.at(side, 0.0, 0.12), wall.at(side + 0.45, 0.0, 0.12)]
            meshes.append(hanging(rng, ends[0], ends[1], wall.floor + high + 0.15, wall.floor + 0.1, curtain, 0.05))
    open_share = 1.0 - 0.6 * (drop / (high - low) if kind < 0.4 else 0.0)
    middle = wall.at(start + width / 2, (low + high) / 2, 0.0)
    strength = open_share * width * (high - low) * (1.1 if by_day else 0.0)
    return meshes, _Glow(middle, wall.inward, strength)


def hanging(
    rng: np.random.Generator, start: NDArray[np.float64], end: NDArray[np.float64], top: float, bottom: float,
    surface: Surface, depth: float,
) -> Mesh:  # fmt: skip
    """Cloth hanging in folds `depth` metres deep from a rail between two points (their x and y)."""
    along = (end - start)[:2]
    length = float(np.linalg.norm(along))
    direction, side = along / length, np.array([-along[1], along[0]]) / length
    # The deeper the folds, the more cloth hangs on the same rail.
    pleat = max(float(rng.uniform(0.1, 0.18)), 0.9 * depth)
    count = max(24, int(length / pleat * 10))
    s = np.linspace(0, length, count)
    phase = np.cumsum(rng.uniform(0.6, 1.4, count)) * (length / count) * 2 * np.pi / pleat
    rows = np.linspace(0, 1, 8)
    sway = depth * (0.6 + 0.4 * rows)[:, None] * np.sin(phase + 0.5 * rows[:, None])
    sway = sway + 0.02 * rows[:, None] * np.sin(s * 3.1 + 1)[None]
    slide = 0.25 * pleat * np.cos(2 * phase) * rows[:, None]
    x = start[0] + direction[0] * (s[None] + slide) + side[0] * sway
    y = start[1] + direction[1] * (s[None] + slide) + side[1] * sway
    z = np.broadcast_to((top + (bottom - top) * rows)[:, None], x.shape)
    shade = 1.0 + 0.16 * np.sin(phase)[None] * (0.5 + 0.5 * rows[:, None])  # light does not reach into the folds
    return shapes.sheet(np.stack([x, y, z], -1), surface, shade=shade)


def _door(wall: Wall, rng: np.random.Generator) -> list[Mesh]:
    wide = float(rng.choice([0.9, 1.2]))
    start = float(rng.uniform(0.1, max(0.11, wall.length - wide - 0.2)))
    wooden = rng.random() < 0.6
    leaf = Surface(pick(rng, "wood" if wooden else "plastic"), textures.grain(rng) if wooden else None, 1.5, 0.25)
    frame, steel = Surface(pick(rng, "plastic"), gloss=0.3), Surface(pick(rng, "steel"), gloss=0.5)
    meshes = [wall.panel(start, wide, 0, 2.05, 0.012, leaf)]
    for at in (start - 0.07, start + wide):
        meshes.append(wall.block(at, 0.07, 0, 2.12, 0.04, frame))
    meshes.append(wall.block(start - 0.07, wide + 0.14, 2.05, 2.12, 0.04, frame))
    handle = start + (0.1 if rng.random() < 0.5 else wide - 0.22)
    meshes.append(wall.block(handle, 0.13, 1.02, 1.045, 0.07, steel))
    if rng.random() < 0.5:  # a kick plate
        meshes.append(wall.panel(start + 0.03, wide - 0.06, 0.02, 0.3, 0.016, steel))
    if rng.random() < 0.4:  # a pane to look through
        pane = Surface(linear(0.35, 0.38, 0.4), gloss=0.8)
        meshes.append(wall.panel(start + 0.6 * wide, 0.18, 1.2, 1.85, 0.016, pane))
    return meshes


def _hall(look: RoomLook, floor: float, paint: Surface) -> list[Mesh]:
    """Walls and ceiling of a larger hall about the room: what a camera outside the room sees past it."""
    (x0, y0), (x1, y1) = look.low, look.high
    low, high = (x0 - HALL, y0 - HALL), (x1 + HALL, y1 + HALL)
    height = look.ceiling + HALL
    meshes = []
    for name in WALLS:
        wall = Wall.of(name, low, high, floor)
        meshes.append(shapes.quad(wall.corner, wall.along * wall.length, [0, 0, height], paint, single_sided=True))
    lid = [low[0], high[1], floor + height]
    meshes.append(shapes.quad(lid, [high[0] - low[0], 0, 0], [0, low[1] - high[1], 0], paint, single_sided=True))
    return meshes


def build_room(
    look: RoomLook, floor: float, *, ward: bool, preset: str = "ceiling", bed: tuple[float, float] | None = None,
    behind: Collection[str] = (),
) -> list[Mesh]:  # fmt: skip
    """The shell's meshes, instance 0, with the floor at z = `floor`. `ward` adds what hangs behind a hospital bed.

    preset: the light's name, of `lights.PRESETS`: which of window and panels shine. bed: half its length and width, for
    the dark beneath it. behind: walls that the camera stands behind; what is mounted on them would be in its way.
    """
    rng = np.random.default_rng([look.seed, 12])
    (x0, y0), (x1, y1) = look.low, look.high
    paint = textures.paint(rng)
    ground = Surface(look.floor_color, textures.floor(rng, look.floor_kind), 2.0, look.floor_gloss)
    wall_paint = Surface(look.wall_color, paint, 2.4)
    dado_paint = Surface(look.dado_color, paint, 2.4) if look.dado_color else None
    skirting = Surface(pick(rng, "plastic"), gloss=0.3)
    walls = {name: Wall.of(name, look.low, look.high, floor) for name in WALLS}
    window_wall = "left" if look.window_side > 0 else "right"
    curtain = Surface(pick(rng, "curtain", 0.08), textures.fabric(rng, "plain"), 0.6)
    meshes, window = _window(walls[window_wall], look, rng, preset in BY_DAY, curtain)
    panels = fittings.luminaires(rng, look.low, look.high, floor + look.ceiling, preset in PANELS_ON)
    shining = [window]
    for panel in panels:
        middle = panel.vertices.astype(np.float64).mean(0)
        shining.append(_Glow(middle, np.array([0.0, 0.0, -1.0]), 0.9 if preset in PANELS_ON else 0.0))
    if preset in ONE_LAMP:  # at the head end, shining down and into the room
        lamp = np.array([x0 + 0.45, float(rng.uniform(-0.8, 0.8)), floor + 1.75])
        shining.append(_Glow(lamp, np.array([0.35, 0.0, -0.94]), 2.2))
    centres, facings, strengths = (np.array(part) for part in zip(*shining, strict=True))
    glows = centres, facings, strengths
    meshes += [*_hall(look, floor - _STEP_DOWN, wall_paint), *panels]

    def corner_at(x: float, y: float, z: float) -> NDArray[np.float64]:
        return np.array([x, y, z])

    wide, deep = np.array([x1 - x0, 0.0, 0.0]), np.array([0.0, y1 - y0, 0.0])
    beyond = np.array([2 * HALL, 0.0, 0.0]), np.array([0.0, 2 * HALL, 0.0])
    meshes.append(_painted(corner_at(x0, y0, floor), wide, deep, ground, glows, step=_FLOOR_STEP, bed=bed))
    meshes.append(
        shapes.quad(
            corner_at(x0 - HALL, y0 - HALL, floor - _STEP_DOWN), wide + beyond[0], deep + beyond[1], ground,
            single_sided=True,
        )
    )  # fmt: skip
    lid = textures.ceiling(rng)
    white = Surface(linear(0.92, 0.92, 0.9), lid, 2.4)
    meshes.append(_painted(corner_at(x0, y1, floor + look.ceiling), wide, -deep, white, glows))
    dado = float(rng.uniform(0.9, 1.3)) if dado_paint else 0.0
    for wall in walls.values():
        along = wall.along * wall.length
        upper = np.array([0.0, 0.0, look.ceiling - dado])
        meshes.append(_painted(wall.corner + [0, 0, dado], along, upper, wall_paint, glows, corners=dado == 0))
        if dado_paint:
            meshes.append(_painted(wall.corner, along, np.array([0, 0, dado]), dado_paint, glows, corners=False))
        meshes.append(wall.block(0, wall.length, 0, 0.09, 0.015, skirting))
    door_wall = str(rng.choice([name for name in WALLS if name not in (window_wall, "head")]))
    meshes += _door(walls[door_wall], rng)
    bare = [wall for name, wall in walls.items() if name not in (window_wall, door_wall)]
    meshes += fittings.on_the_walls(rng, bare, look.ceiling, ward)
    if ward:
        meshes += fittings.bed_head_unit(rng, walls["head"])
    return shapes.joined([mesh for mesh in meshes if not any(_mounted(mesh, walls[name]) for name in behind)])


def _mounted(mesh: Mesh, wall: Wall) -> bool:
    """Whether a mesh, visible from all sides, is fixed to this wall."""
    return not mesh.single_sided and bool(((mesh.vertices - wall.corner) @ wall.inward < 0.6).all())


def build_curtain(look: RoomLook, floor: float) -> list[Mesh]:
    """The curtain beside the bed on the side away from the window, drawn back toward the head wall, and its rail."""
    if look.curtain_color is None:
        return []
    rng = np.random.default_rng([look.seed, 14])
    (x0, y0), (x1, y1) = look.low, look.high
    fabric = textures.fabric(rng, str(rng.choice(["plain", "plain", "stripes", "bands"])))
    at = max(y0 + 0.25, -1.35) if look.window_side > 0 else min(y1 - 0.25, 1.35)
    reach = float(rng.uniform(0.35, 0.6) if rng.random() < 0.7 else rng.uniform(0.8, 1.3))
    top = floor + min(2.3, look.ceiling - 0.1)
    cloth = Surface(look.curtain_color, fabric, 0.6)
    depth = float(np.clip(0.06 / reach, 0.04, 0.13))
    start, end = np.array([x0 + 0.1, at, 0.0]), np.array([x0 + 0.1 + reach, at, 0.0])
    rail = shapes.box(
        [x0, at - 0.015, top], [min(x1, x0 + 2.6), at + 0.015, top + 0.03], Surface(linear(0.9, 0.9, 0.89), gloss=0.4)
    )
    return [hanging(rng, start, end, top, floor + 0.25, cloth, depth), rail]
