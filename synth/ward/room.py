"""A room's shell: floor, painted walls, ceiling, window, door, curtain, wall rail, pictures.

Everything faces inward and is single-sided, so that a camera outside the room still sees in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from synth.render.mesh import Mesh
from synth.ward import shapes, textures
from synth.ward.shapes import Surface, linear

Point = tuple[float, float, float]
HALL = 5.0  # metres that the hall about the room reaches beyond its walls


@dataclass(frozen=True, slots=True)
class RoomLook:
    """Extents in metres, bed frame x and y: `low` (2,), `high` (2,). Wall and floor colours are linear albedo."""

    low: tuple[float, float] = (-1.3, -2.2)
    high: tuple[float, float] = (3.2, 2.6)
    ceiling: float = 2.7
    floor_kind: str = "linoleum"
    floor_color: Point = (0.45, 0.45, 0.42)
    wall_color: Point = (0.75, 0.74, 0.68)
    dado_color: Point | None = None
    window_side: float = 1.0
    curtain_color: Point | None = None
    seed: int = 0


def _wall_frame(look: RoomLook, wall: str, floor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Corner at the floor, unit vector along the wall, inward normal, length; along × up = inward."""
    (x0, y0), (x1, y1) = look.low, look.high
    corners = {"head": (x0, y0, 0, 1), "foot": (x1, y1, 0, -1), "right": (x1, y0, -1, 0), "left": (x0, y1, 1, 0)}
    x, y, ax, ay = corners[wall]
    along = np.array([ax, ay, 0.0])
    return np.array([x, y, floor]), along, np.cross(along, [0, 0, 1.0]), (y1 - y0 if ax == 0 else x1 - x0)


def _panel(
    look: RoomLook,
    wall: str,
    floor: float,
    start: float,
    width: float,
    low: float,
    high: float,
    proud: float,
    surface: Surface,
) -> Mesh:
    """A rectangle on a wall, `proud` metres before it."""
    corner, along, inward, _ = _wall_frame(look, wall, floor)
    at = corner + along * start + inward * proud + np.array([0, 0, low])
    return shapes.quad(at, along * width, [0, 0, high - low], surface, single_sided=True)


def _hall(look: RoomLook, floor: float, paint: Surface) -> list[Mesh]:
    """Walls and ceiling of a larger hall about the room: what a camera outside the room sees past it."""
    (x0, y0), (x1, y1) = look.low, look.high
    outer = replace(look, low=(x0 - HALL, y0 - HALL), high=(x1 + HALL, y1 + HALL), ceiling=look.ceiling + HALL)
    meshes = []
    for wall in ("head", "foot", "right", "left"):
        corner, along, _, length = _wall_frame(outer, wall, floor)
        meshes.append(shapes.quad(corner, along * length, [0, 0, outer.ceiling], paint, single_sided=True))
    low = [x0 - HALL, y1 + HALL, floor + outer.ceiling]
    meshes.append(shapes.quad(low, [x1 - x0 + 2 * HALL, 0, 0], [0, y0 - y1 - 2 * HALL, 0], paint, single_sided=True))
    return meshes


def _window(look: RoomLook, wall: str, floor: float, rng: np.random.Generator) -> list[Mesh]:
    _, _, _, length = _wall_frame(look, wall, floor)
    width = float(rng.uniform(1.0, min(2.4, length * 0.6)))
    start = float(rng.uniform(0.1, 0.9)) * (length - width)
    low, high = float(rng.uniform(0.8, 1.1)), float(rng.uniform(1.9, look.ceiling - 0.2))
    view = Surface((1.0, 1.0, 1.0), textures.outlook(rng), max(width, high - low) * 1.01)
    white = Surface(linear(0.93, 0.93, 0.92))
    meshes = [_panel(look, wall, floor, start - 0.06, width + 0.12, low - 0.06, high + 0.06, 0.01, white)]
    panes = int(rng.integers(1, 4))
    for k in range(panes):
        pane = width / panes
        meshes.append(
            _panel(look, wall, floor, start + k * pane + 0.03, pane - 0.06, low + 0.03, high - 0.03, 0.015, view)
        )
    if rng.random() < 0.4:  # a blind, drawn part of the way
        drop = float(rng.uniform(0.2, 0.9)) * (high - low)
        slats = np.ones((32, 4, 3), np.uint8) * 235
        slats[:5] = 150
        meshes.append(
            _panel(look, wall, floor, start, width, high - drop, high, 0.03, Surface((0.9, 0.9, 0.88), slats, 0.07))
        )
    return meshes


def _curtain(
    rng: np.random.Generator,
    start: tuple[float, float],
    end: tuple[float, float],
    top: float,
    bottom: float,
    surface: Surface,
) -> Mesh:
    """Hanging cloth with vertical folds between two floor positions."""
    along = np.array([end[0] - start[0], end[1] - start[1]])
    length = float(np.linalg.norm(along))
    direction, side = along / length, np.array([-along[1], along[0]]) / length
    count = max(24, int(length * 60))
    s = np.linspace(0, length, count)
    phase = np.cumsum(rng.uniform(0.5, 1.5, count)) * (length / count) * 2 * np.pi / float(rng.uniform(0.12, 0.2))
    rows = np.linspace(0, 1, 8)
    sway = (0.025 + 0.02 * rows)[:, None] * np.sin(phase)[None] + 0.03 * rows[:, None] * np.sin(s * 3.1 + 1)[None]
    x = start[0] + direction[0] * s[None] + side[0] * sway
    y = start[1] + direction[1] * s[None] + side[1] * sway
    z = np.broadcast_to((top + (bottom - top) * rows)[:, None], x.shape)
    return shapes.sheet(np.stack([x, y, z], -1), surface)


def build_room(look: RoomLook, floor: float, *, ward: bool) -> list[Mesh]:
    """The shell's meshes, instance 0, with the floor at z = `floor`. `ward` adds what hangs behind a hospital bed."""
    rng = np.random.default_rng([look.seed, 12])
    (x0, y0), (x1, y1) = look.low, look.high
    ground = Surface(look.floor_color, textures.floor(rng, look.floor_kind), 2.0)
    wall_paint = Surface(look.wall_color, textures.paint(rng), 1.5)
    dado_paint = Surface(look.dado_color, wall_paint.texture, 1.5) if look.dado_color else None
    skirting = Surface(linear(*rng.uniform(0.3, 0.9, 1).repeat(3)))
    white = Surface(linear(0.93, 0.93, 0.92))
    meshes = [
        *_hall(look, floor, wall_paint),
        shapes.quad(
            [x0 - HALL, y0 - HALL, floor],
            [x1 - x0 + 2 * HALL, 0, 0],
            [0, y1 - y0 + 2 * HALL, 0],
            ground,
            single_sided=True,
        ),
        shapes.quad([x0, y1, floor + look.ceiling], [x1 - x0, 0, 0], [0, y0 - y1, 0], white, single_sided=True),
    ]
    dado = float(rng.uniform(0.9, 1.3)) if dado_paint else 0.0
    window_wall = "left" if look.window_side > 0 else "right"
    walls = ("head", "foot", "right", "left")
    for wall in walls:
        corner, along, _, length = _wall_frame(look, wall, floor)
        meshes.append(
            shapes.quad(
                corner + [0, 0, dado], along * length, [0, 0, look.ceiling - dado], wall_paint, single_sided=True
            )
        )
        if dado_paint:
            meshes.append(shapes.quad(corner, along * length, [0, 0, dado], dado_paint, single_sided=True))
        meshes.append(_panel(look, wall, floor, 0, length, 0, 0.09, 0.004, skirting))
    meshes += _window(look, window_wall, floor, rng)
    door_wall = str(rng.choice([wall for wall in walls if wall not in (window_wall, "head")]))
    _, _, _, door_length = _wall_frame(look, door_wall, floor)
    door_start = float(rng.uniform(0.1, max(0.11, door_length - 1.2)))
    door = Surface(
        linear(*[(0.75, 0.6, 0.42), (0.9, 0.9, 0.88), (0.55, 0.65, 0.7)][int(rng.integers(3))]),
        textures.grain(rng),
        1.5,
    )
    meshes.append(_panel(look, door_wall, floor, door_start - 0.07, 1.04, 0, 2.12, 0.006, white))
    meshes.append(_panel(look, door_wall, floor, door_start, 0.9, 0, 2.05, 0.012, door))
    for _ in range(int(rng.integers(0, 5))):
        wall = str(rng.choice(walls))
        _, _, _, length = _wall_frame(look, wall, floor)
        width, height = rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.6)
        start, low = rng.uniform(0, length - width), rng.uniform(1.1, max(1.15, look.ceiling - height - 0.2))
        picture = Surface((0.9, 0.9, 0.9), textures.poster(rng), float(max(width, height)) * 1.01)
        meshes.append(
            _panel(look, wall, floor, float(start), float(width), float(low), float(low + height), 0.02, picture)
        )
    for _ in range(int(rng.integers(0, 3))):  # luminaires
        x, y = rng.uniform(x0 + 0.4, x1 - 1.0), rng.uniform(y0 + 0.4, y1 - 1.0)
        meshes.append(
            shapes.quad(
                [x, y + 0.6, floor + look.ceiling - 0.01],
                [0.6, 0, 0],
                [0, -0.6, 0],
                Surface((1, 1, 1)),
                single_sided=True,
            )
        )
    if ward:
        meshes += _ward_fittings(look, floor, rng)
    return shapes.joined(meshes)


def _ward_fittings(look: RoomLook, floor: float, rng: np.random.Generator) -> list[Mesh]:
    (_, y0), (_, y1) = look.low, look.high
    meshes = []
    service = Surface(linear(*(rng.uniform(0.65, 0.95) * rng.uniform(0.94, 1.0, 3))))
    width = float(min(rng.uniform(1.4, 2.6), y1 - y0 - 0.2))
    low = float(rng.uniform(1.15, 1.5))
    start = float(np.clip(-y0 - width / 2, 0, y1 - y0 - width))
    meshes.append(_panel(look, "head", floor, start, width, low, low + 0.18, 0.05, service))
    for _ in range(int(rng.integers(3, 8))):
        at = start + float(rng.uniform(0.05, width - 0.15))
        color = Surface(linear(*rng.uniform(0.2, 1.0, 3)))
        meshes.append(_panel(look, "head", floor, at, 0.07, low + 0.05, low + 0.13, 0.055, color))
    return meshes


def build_curtain(look: RoomLook, floor: float) -> list[Mesh]:
    """The curtain beside the bed on the side away from the window, gathered toward the head wall, if any."""
    if look.curtain_color is None:
        return []
    rng = np.random.default_rng([look.seed, 14])
    (x0, y0), (_, y1) = look.low, look.high
    fabric = textures.fabric(rng, str(rng.choice(["plain", "stripes", "bands", "blotches"])))
    at = max(y0 + 0.15, -1.35) if look.window_side > 0 else min(y1 - 0.15, 1.35)
    end = x0 + 0.1 + float(rng.uniform(0.5, 1.1))
    top = floor + min(2.3, look.ceiling - 0.1)
    return [_curtain(rng, (x0 + 0.1, at), (end, at), top, floor + 0.25, Surface(look.curtain_color, fabric, 0.5))]
