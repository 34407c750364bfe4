"""What stands about in a ward, each thing as a few meshes at its own origin on the floor (z = 0), front toward +x."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from synth.render.mesh import Mesh
from synth.ward import shapes, textures
from synth.ward.palette import pick
from synth.ward.shapes import Surface, linear

Maker = Callable[[np.random.Generator], list[Mesh]]


def _plastic(rng: np.random.Generator) -> Surface:
    """Paint or moulded plastic."""
    return Surface(pick(rng, "plastic", 0.06), gloss=float(rng.uniform(0.2, 0.5)))


def _wood(rng: np.random.Generator) -> Surface:
    return Surface(pick(rng, "wood"), textures.grain(rng), 1.2, float(rng.uniform(0.1, 0.4)))


def _bar(points: list[tuple[float, float, float]], radius: float, surface: Surface) -> Mesh:
    """A straight or bent bar through the given points."""
    corners = np.asarray(points, dtype=np.float64)
    path = np.concatenate([np.linspace(a, b, 6) for a, b in pairwise(corners)])
    keep = np.concatenate([[True], np.linalg.norm(np.diff(path, axis=0), axis=1) > 1e-6])
    return shapes.tube(path[keep], radius, surface)


def clutter(rng: np.random.Generator, low: tuple[float, float], high: tuple[float, float], z: float) -> list[Mesh]:
    """Cups, bottles, boxes and books on a tabletop."""
    meshes = []
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(low[0], high[0]), rng.uniform(low[1], high[1])
        surface = _plastic(rng)
        if rng.random() < 0.5:
            radius, height = rng.uniform(0.025, 0.05), rng.uniform(0.07, 0.24)
            profile = [
                (0.0, 0.0),
                (radius, 0.0),
                (radius, height * 0.75),
                (radius * rng.uniform(0.4, 1.0), height),
                (0.0, height),
            ]
            meshes.append(shapes.disc_stack([x, y, z], profile, surface, 12))
        else:
            size = rng.uniform([0.05, 0.08, 0.02], [0.16, 0.22, 0.14])
            block = shapes.box(-size * [0.5, 0.5, 0], size * [0.5, 0.5, 1], surface)
            meshes.append(shapes.moved(block, float(rng.uniform(0, 180)), [x, y, z]))
    return meshes


def bedside_cabinet(rng: np.random.Generator) -> list[Mesh]:
    width, depth, height = rng.uniform(0.4, 0.55), rng.uniform(0.4, 0.5), rng.uniform(0.65, 0.9)
    body, top = (_wood(rng) if rng.random() < 0.5 else _plastic(rng)), _plastic(rng)
    x, y = depth / 2, width / 2
    meshes = [shapes.rounded_box([-x, -y, 0.08], [x, y, height - 0.03], 0.01, body, 0.3)]
    meshes.append(
        shapes.rounded_box([-x - 0.02, -y - 0.02, height - 0.03], [x + 0.02, y + 0.02, height], 0.012, top, 0.3)
    )
    handle, seam = Surface(linear(0.55, 0.55, 0.58), gloss=0.6), Surface(linear(0.2, 0.18, 0.17))
    for level in (0.4, 0.78):
        meshes.append(shapes.box([x, -0.07, height * level], [x + 0.02, 0.07, height * level + 0.015], handle))
        meshes.append(
            shapes.box(
                [x - 0.001, -y + 0.01, height * (level + 0.1)],
                [x + 0.002, y - 0.01, height * (level + 0.1) + 0.006],
                seam,
            )
        )
    for sx in (-x + 0.04, x - 0.04):
        for sy in (-y + 0.04, y - 0.04):
            meshes.append(shapes.box([sx - 0.02, sy - 0.015, 0], [sx + 0.02, sy + 0.015, 0.09], seam))
    return meshes + clutter(rng, (-x + 0.06, -y + 0.06), (x - 0.06, y - 0.06), float(height))


def overbed_table(rng: np.random.Generator) -> list[Mesh]:
    """A C-shaped table on wheels; its top reaches out toward +x."""
    height, steel = rng.uniform(0.85, 1.05), Surface(linear(0.75, 0.76, 0.78), gloss=0.6)
    top = _wood(rng) if rng.random() < 0.6 else _plastic(rng)
    meshes = [shapes.rounded_box([-0.2, -0.4, height - 0.025], [0.2, 0.4, height], 0.012, top, 0.3)]
    meshes.append(shapes.box([-0.04, -0.39, 0.08], [0.04, -0.33, height - 0.02], steel))
    for x in (-0.25, 0.25):
        meshes.append(_bar([(x * 0.2, -0.36, 0.09), (x, -0.36, 0.07), (x, 0.25, 0.05)], 0.018, steel))
    return meshes + clutter(rng, (-0.15, -0.32), (0.15, 0.32), float(height))


def drip_stand(rng: np.random.Generator) -> list[Mesh]:
    """An IV stand with one or two bags and their line."""
    steel, height = Surface(linear(0.8, 0.81, 0.83), gloss=0.6), rng.uniform(1.7, 2.05)
    meshes = [_bar([(0, 0, 0.08), (0, 0, height)], 0.012, steel)]
    for angle in np.arange(5) * 2 * np.pi / 5:
        meshes.append(_bar([(0, 0, 0.1), (0.28 * np.cos(angle), 0.28 * np.sin(angle), 0.04)], 0.011, steel))
    meshes.append(_bar([(0, -0.12, height), (0, 0.12, height)], 0.008, steel))
    for side in (-1, 1)[: int(rng.integers(1, 3))]:
        bag = shapes.rounded_box(
            [-0.02, -0.055, -0.24], [0.02, 0.055, 0], 0.018, Surface(linear(0.86, 0.88, 0.86)), 0.06
        )
        meshes.append(shapes.moved(bag, 0, [0, side * 0.12, height - 0.04]))
    if rng.random() < 0.6:
        pump = shapes.rounded_box([-0.06, -0.08, 1.05], [0.1, 0.08, 1.3], 0.02, _plastic(rng), 0.1)
        meshes.append(pump)
    return meshes


def infusion_line(stand: Sequence[Mesh], wrist: NDArray[np.floating]) -> Mesh:
    """The line from a drip stand's bag to somebody's wrist (3,), sagging as it hangs."""
    points = np.concatenate([mesh.vertices for mesh in stand]).astype(np.float64)
    top = points[points[:, 2].argmax()]
    start = np.array([top[0], top[1], top[2] - 0.32])
    t = np.linspace(0, 1, 18)[:, None]
    path = start + t * (np.asarray(wrist, dtype=np.float64) + [0.0, 0.0, 0.02] - start)
    path[:, 2] -= 0.35 * float(np.linalg.norm((start - wrist)[:2])) * (4 * t * (1 - t))[:, 0] * (1 - 0.6 * t[:, 0])
    path[:, 2] = np.maximum(path[:, 2], float(wrist[2]) + 0.01)
    return shapes.tube(path, 0.003, Surface(linear(0.85, 0.87, 0.86), gloss=0.5), 5)


def monitor_cart(rng: np.random.Generator) -> list[Mesh]:
    """A vital-signs monitor on a rolling pole."""
    casing, steel = Surface(linear(0.85, 0.85, 0.83), gloss=0.4), Surface(linear(0.5, 0.5, 0.53), gloss=0.6)
    height = rng.uniform(1.1, 1.4)
    meshes = [
        _bar([(0, 0, 0.06), (0, 0, height)], 0.02, steel),
        shapes.rounded_box([-0.25, -0.25, 0.04], [0.25, 0.25, 0.09], 0.02, steel, 0.3),
    ]
    meshes.append(shapes.rounded_box([-0.09, -0.17, height], [0.06, 0.17, height + 0.27], 0.02, casing, 0.2))
    glow = Surface((1.6, 1.6, 1.6), textures.screen(rng), 0.28, 0.5)
    meshes.append(shapes.quad([0.062, -0.14, height + 0.03], [0, 0.28, 0], [0, 0, 0.21], glow))
    meshes.append(shapes.rounded_box([-0.12, -0.15, 0.55], [0.12, 0.15, 0.6], 0.01, casing, 0.3))
    return meshes


def chair(rng: np.random.Generator) -> list[Mesh]:
    """A visitor's chair, four legs or an upholstered armchair."""
    cover = Surface(pick(rng, "upholstery", 0.08), textures.fabric(rng, "plain"), 0.4)
    leg = Surface(linear(0.35, 0.35, 0.37)) if rng.random() < 0.5 else Surface(linear(0.6, 0.45, 0.3))
    if rng.random() < 0.5:
        meshes = [
            *(
                shapes.box([x - 0.025, y - 0.025, 0], [x + 0.025, y + 0.025, 0.16], leg)
                for x in (-0.28, 0.22)
                for y in (-0.3, 0.3)
            ),
            shapes.rounded_box([-0.3, -0.28, 0.15], [0.3, 0.28, 0.45], 0.05, cover, 0.2),
            shapes.rounded_box([-0.38, -0.3, 0.15], [-0.24, 0.3, 1.0], 0.05, cover, 0.2),
        ]
        for side in (-1, 1):
            meshes.append(
                shapes.rounded_box([-0.3, side * 0.33 - 0.06, 0.1], [0.28, side * 0.33 + 0.06, 0.62], 0.04, cover, 0.2)
            )
        return meshes
    meshes = [
        shapes.rounded_box([-0.22, -0.22, 0.42], [0.22, 0.22, 0.47], 0.02, cover, 0.2),
        shapes.rounded_box([-0.25, -0.21, 0.55], [-0.21, 0.21, 0.88], 0.018, cover, 0.2),
    ]
    for y in (-0.19, 0.19):
        meshes.append(_bar([(-0.2, y, 0.0), (-0.22, y, 0.88)], 0.014, leg))
        meshes.append(_bar([(0.2, y, 0.0), (0.2, y, 0.43)], 0.014, leg))
    return meshes


def wardrobe(rng: np.random.Generator) -> list[Mesh]:
    width, height = rng.uniform(0.6, 1.3), rng.uniform(1.7, 2.1)
    body, seam = (_wood(rng) if rng.random() < 0.6 else _plastic(rng)), Surface(linear(0.25, 0.22, 0.2))
    meshes = [shapes.rounded_box([-0.28, -width / 2, 0.02], [0.28, width / 2, height], 0.008, body, 0.5)]
    meshes.append(shapes.box([0.28, -0.004, 0.06], [0.283, 0.004, height - 0.04], seam))
    for y in (-0.06, 0.05):
        meshes.append(shapes.box([0.28, y, height * 0.5], [0.305, y + 0.012, height * 0.5 + 0.18], seam))
    return meshes


def bin_(rng: np.random.Generator) -> list[Mesh]:
    height = rng.uniform(0.3, 0.7)
    profile = [(0.0, 0.0), (0.13, 0.0), (0.17, height), (0.15, height), (0.02, height * 0.6)]
    return [shapes.disc_stack([0, 0, 0], profile, _plastic(rng))]


def stool(rng: np.random.Generator) -> list[Mesh]:
    steel, height = Surface(linear(0.6, 0.6, 0.63), gloss=0.6), rng.uniform(0.42, 0.55)
    meshes = [
        shapes.disc_stack(
            [0, 0, height - 0.06], [(0, 0), (0.17, 0), (0.18, 0.03), (0.17, 0.06), (0, 0.06)], _plastic(rng)
        )
    ]
    meshes.append(_bar([(0, 0, 0.06), (0, 0, height - 0.05)], 0.025, steel))
    for angle in np.arange(5) * 2 * np.pi / 5:
        meshes.append(_bar([(0, 0, 0.09), (0.26 * np.cos(angle), 0.26 * np.sin(angle), 0.05)], 0.014, steel))
    return meshes


FURNITURE: dict[str, Maker] = {
    "bedside_cabinet": bedside_cabinet,
    "overbed_table": overbed_table,
    "drip_stand": drip_stand,
    "monitor_cart": monitor_cart,
    "chair": chair,
    "wardrobe": wardrobe,
    "bin": bin_,
    "stool": stool,
}
