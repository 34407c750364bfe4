"""What is mounted on a ward's walls and ceiling: panels of light, the bed-head unit, rails, notices, dispensers."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from synth.render.mesh import Mesh
from synth.ward import shapes, textures
from synth.ward.palette import pick
from synth.ward.shapes import Surface, linear
from synth.ward.walls import Wall

_OUTLETS = ((236, 236, 232), (240, 240, 236), (70, 74, 80), (226, 226, 220), (190, 60, 55), (60, 120, 80))


def luminaires(
    rng: np.random.Generator, low: tuple[float, float], high: tuple[float, float], ceiling: float, lit: bool
) -> list[Mesh]:
    """One to six panels in a regular pattern beneath the ceiling; they shine where they are `lit`."""
    size = np.array(((0.6, 0.6), (0.3, 1.2), (1.2, 0.3))[int(rng.integers(3))])
    count = np.array([int(rng.integers(1, 3)), int(rng.integers(1, 4))])
    shine = float(rng.uniform(3.0, 8.0)) if lit else 0.75
    surface = Surface((shine, shine, shine))
    span = np.array(high) - np.array(low)
    meshes = []
    for i in range(count[0]):
        for j in range(count[1]):
            middle = np.array(low) + span * (np.array([i, j]) + 0.5) / count
            x, y = middle - size / 2
            meshes.append(
                shapes.quad(
                    [x, y + size[1], ceiling - 0.012], [size[0], 0, 0], [0, -size[1], 0], surface, single_sided=True
                )
            )
    return meshes


def _sockets(rng: np.random.Generator, width: float) -> NDArray[np.uint8]:
    """The face of a bed-head unit: a bright rail with sockets, outlets and labels, 200 px a metre."""
    height, columns = 40, max(64, round(width * 200))
    face = np.full((height, columns, 3), 235, np.uint8)
    face[:4], face[-4:] = 205, 190
    face[height // 2 - 1 : height // 2 + 1] = 210
    x = int(rng.integers(6, 30))
    while x < columns - 24:
        kind = rng.random()
        if kind < 0.55:  # a double socket
            for k in range(2):
                left = x + 13 * k
                cv2.rectangle(face, (left, 8), (left + 11, 19), (250, 250, 248), -1)
                cv2.circle(face, (left + 5, 13), 4, (175, 178, 180), -1)
                cv2.circle(face, (left + 5, 13), 1, (70, 70, 72), -1)
            x += 32
        elif kind < 0.85:  # a gas outlet
            color = _OUTLETS[int(rng.integers(len(_OUTLETS)))]
            cv2.circle(face, (x + 7, 14), 7, (215, 215, 212), -1)
            cv2.circle(face, (x + 7, 14), 4, color, -1)
            x += 22
        else:
            cv2.rectangle(face, (x, 25), (x + 18, 33), (250, 250, 250), -1)
            cv2.line(face, (x + 2, 29), (x + 15, 29), (90, 90, 95), 1)
            x += 26
        x += int(rng.integers(4, 40))
    return face


def bed_head_unit(rng: np.random.Generator, wall: Wall) -> list[Mesh]:
    """The trunking behind a hospital bed, its sockets, a reading lamp, a hand set on its cable."""
    width = float(min(rng.uniform(1.4, 2.8), wall.length - 0.2))
    low, depth = float(rng.uniform(1.2, 1.5)), float(rng.uniform(0.05, 0.1))
    start = float(np.clip(-wall.corner[1] - width / 2, 0, wall.length - width))
    body = Surface(pick(rng, "plastic"), gloss=0.3)
    meshes = [wall.block(start, width, low, low + 0.2, depth, body)]
    # The picture hangs once over the unit's width: its v runs from the top down.
    face = shapes.quad(
        wall.at(start, low, depth + 0.003), wall.along * width, [0, 0, 0.2], Surface(body.color, gloss=0.3),
        single_sided=True,
    )  # fmt: skip
    uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32) * np.float32(0.999)
    meshes.append(
        Mesh(face.vertices, face.triangles, face.colors, 0, uv, _sockets(rng, width), single_sided=True, gloss=0.3)
    )
    dark, steel = Surface(linear(0.25, 0.26, 0.28), gloss=0.3), Surface(pick(rng, "steel"), gloss=0.6)
    middle = start + width / 2
    if rng.random() < 0.6:  # a reading lamp on its arm
        at = middle + float(rng.uniform(-0.5, 0.5)) * width * 0.8
        bend = [wall.at(at, low + 0.2, depth), wall.at(at, low + 0.45, 0.2), wall.at(at + 0.1, low + 0.4, 0.42)]
        meshes.append(shapes.tube(np.array(bend), 0.01, steel, 6))
        head = wall.at(at + 0.1, low + 0.34, 0.44)
        meshes.append(shapes.disc_stack(head, [(0.0, 0.0), (0.06, 0.0), (0.035, 0.07), (0.0, 0.08)], body, 12))
    for _ in range(int(rng.integers(1, 4))):  # cables and hoses that hang from it
        at = start + float(rng.uniform(0.1, 0.9)) * width
        t = np.linspace(0, 1, 14)[:, None]
        sag, shift = float(rng.uniform(0.2, 0.55)), float(rng.uniform(-0.35, 0.35))
        path = wall.at(at + shift * t, low + 0.05 - sag * 4 * t * (1 - t) - 0.3 * t, depth + 0.12 * t)
        meshes.append(shapes.tube(path, 0.005, dark if rng.random() < 0.6 else body, 5))
    return meshes


def on_the_walls(rng: np.random.Generator, walls: Sequence[Wall], ceiling: float, ward: bool) -> list[Mesh]:
    """Notices, pictures, a clock, a dispenser, a bumper rail: some of them, apart from each other."""
    meshes: list[Mesh] = []
    taken: list[tuple[int, float, float]] = []

    def free(width: float) -> tuple[Wall, float] | None:
        for _ in range(6):
            index = int(rng.integers(len(walls)))
            start = float(rng.uniform(0.1, max(0.11, walls[index].length - width - 0.1)))
            if all(index != i or start > b + 0.1 or start + width < a - 0.1 for i, a, b in taken):
                taken.append((index, start, start + width))
                return walls[index], start
        return None

    for _ in range(int(rng.integers(0, 4))):
        sheet = rng.random() < 0.6
        width = float(rng.choice([0.21, 0.3, 0.42])) if sheet else float(rng.uniform(0.3, 0.8))
        height = width * (1.414 if sheet else float(rng.uniform(0.6, 1.3)))
        place = free(width)
        if place is None or height > 0.9:
            continue
        low = float(rng.uniform(1.25, max(1.3, min(1.7, ceiling - height - 0.3))))
        picture = Surface((0.92, 0.92, 0.92), textures.poster(rng, notice=sheet), max(width, height) * 1.01, 0.2)
        wall, start = place
        if not sheet:
            frame = Surface(pick(rng, "wood"), gloss=0.3)
            meshes.append(wall.block(start - 0.02, width + 0.04, low - 0.02, low + height + 0.02, 0.02, frame))
        meshes.append(wall.panel(start, width, low, low + height, 0.024 if not sheet else 0.006, picture))
    if rng.random() < 0.5 and (place := free(0.14)):  # a soap or glove dispenser
        wall, start = place
        meshes.append(wall.block(start, 0.12, 1.1, 1.38, 0.1, Surface(pick(rng, "plastic"), gloss=0.4)))
    if rng.random() < 0.35 and (place := free(0.32)):  # a clock: octagonal at this size
        wall, start = place
        middle, angles = wall.at(start + 0.15, ceiling - 0.55, 0.03), np.linspace(0, 2 * np.pi, 17)[:-1]
        ring = middle + 0.15 * (np.cos(angles)[:, None] * wall.along + np.sin(angles)[:, None] * [0, 0, 1.0])
        points = np.vstack([middle[None], ring])
        fan = [[0, 1 + k, 1 + (k + 1) % 16] for k in range(16)]
        meshes.append(shapes.make_mesh(points, fan, None, Surface((0.85, 0.85, 0.83), gloss=0.3), single_sided=True))
        hand = Surface((0.02, 0.02, 0.02))
        meshes.append(wall.panel(start + 0.144, 0.012, ceiling - 0.55, ceiling - 0.45, 0.036, hand))
        meshes.append(wall.panel(start + 0.15, 0.07, ceiling - 0.556, ceiling - 0.544, 0.036, hand))
    if ward and rng.random() < 0.45:  # a rail that keeps beds and trolleys off the wall
        rail = Surface(pick(rng, "wood" if rng.random() < 0.5 else "plastic"), gloss=0.3)
        height = float(rng.uniform(0.75, 0.95))
        meshes += [wall.block(0.0, wall.length, height, height + 0.14, 0.03, rail) for wall in walls]
    return meshes
