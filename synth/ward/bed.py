"""A hospital bed: mattress, frame, boards, rails, raisable backrest; in the bed frame.

The mattress top is the plane z = 0. With the backrest raised, the part toward the head turns up about a line across the
bed at `hinge_x(bed)`; `bend` is the one place that says how, for the mattress, the pillow, and whoever lies on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from synth.pose.support import HINGE_FRACTION
from synth.render.mesh import Mesh
from synth.ward import shapes, textures
from synth.ward.shapes import Surface, linear

MATTRESS_THICKNESS = 0.14
RAILS = ("none", "left", "right", "both")
BEND_LENGTH = 0.10  # metres of mattress over which the backrest's angle is taken up
_BLANK = (0.0, 0.0, 0.0)
_RUBBER = linear(0.2, 0.2, 0.22)  # of wheels and of what is under the mattress
# What a bed's parts are made of, as shares of the three in the colours of a `BedShape`.
FRAME, BOARD, RUBBER = Surface((1.0, 0.0, 0.0)), Surface((0.0, 1.0, 0.0)), Surface((0.0, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class BedLook:
    """A bed's appearance. colours are linear albedo."""

    sheet_color: tuple[float, float, float] = (0.8, 0.82, 0.85)
    sheet_fabric: str = "plain"
    frame_color: tuple[float, float, float] = (0.55, 0.56, 0.58)
    board_color: tuple[float, float, float] = (0.6, 0.45, 0.3)
    rails: str = "none"
    boards: bool = True
    pillows: int = 1
    seed: int = 0

    def unpainted(self) -> BedLook:
        """Without its colours: equal for beds that differ in nothing else."""
        return replace(self, sheet_color=_BLANK, frame_color=_BLANK, board_color=_BLANK)


@dataclass(frozen=True, slots=True)
class BedShape:
    """A bed or cot yet to be painted. mattress: in any colour; shade (V, 1) float32: what its colour is multiplied by.
    parts: all else, in the colours of `FRAME`, `BOARD` and `RUBBER`."""

    mattress: Mesh
    shade: NDArray[np.float32]
    parts: tuple[Mesh, ...]

    def painted(self, look: BedLook) -> list[Mesh]:
        """The meshes in the look's colours, the mattress first."""
        sheet = (np.asarray(look.sheet_color, dtype=np.float32) * self.shade).clip(0, 1)
        paints = np.array([look.frame_color, look.board_color, _RUBBER], dtype=np.float32)
        parts = [replace(part, colors=part.colors @ paints) for part in self.parts]
        return [replace(self.mattress, colors=sheet), *parts]


def hinge_x(bed: Bed) -> float:
    """Where along x the backrest is hinged: where the settled poses sat on it."""
    return -HINGE_FRACTION * bed.length


def bend(bed: Bed, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points (N, 3) above or in a flat mattress, carried along as the backrest rises; the foot part stays."""
    out = np.array(points, dtype=np.float64)
    angle = np.radians(bed.backrest_deg)
    if angle == 0:
        return out
    run = hinge_x(bed) + BEND_LENGTH / 2 - out[:, 0]
    turned = run > 0
    run, rise = run[turned], out[turned, 2]
    theta = angle * np.minimum(run / BEND_LENGTH, 1.0)
    rate = angle / BEND_LENGTH
    straight = np.maximum(run - BEND_LENGTH, 0.0)
    along = np.sin(theta) / rate + straight * np.cos(angle)
    up = (1 - np.cos(theta)) / rate + straight * np.sin(angle)
    out[turned, 0] = hinge_x(bed) + BEND_LENGTH / 2 - along + rise * np.sin(theta)
    out[turned, 2] = up + rise * np.cos(theta)
    return out


def unbend(bed: Bed, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """The inverse of `bend` where the mattress is straight again, footward and headward of the bend itself."""
    out = np.array(points, dtype=np.float64)
    angle = np.radians(bed.backrest_deg)
    if angle == 0:
        return out
    rate = angle / BEND_LENGTH
    along = hinge_x(bed) + BEND_LENGTH / 2 - out[:, 0] - np.sin(angle) / rate
    up = out[:, 2] - (1 - np.cos(angle)) / rate
    straight = along * np.cos(angle) + up * np.sin(angle)
    turned = straight > 0
    out[turned, 0] = hinge_x(bed) - BEND_LENGTH / 2 - straight[turned]
    out[turned, 2] = (up * np.cos(angle) - along * np.sin(angle))[turned]
    return out


def _bent(bed: Bed, mesh: Mesh) -> Mesh:
    return replace(mesh, vertices=bend(bed, mesh.vertices).astype(np.float32))


def make_mattress(bed: Bed, fabric: str, rng: np.random.Generator) -> tuple[Mesh, NDArray[np.float32]]:
    """A `BedShape`'s mattress in its sheet, bent with the backrest, and the shade (V, 1) on it."""
    x, y = bed.length / 2, bed.width / 2
    surface = Surface(_BLANK, textures.fabric(rng, fabric), 0.5)
    mattress = shapes.rounded_box([-x, -y, -MATTRESS_THICKNESS], [x, y, 0.0], 0.045, surface, step=0.05)
    vertices = mattress.vertices.astype(np.float64)
    # Creases of the sheet, downward only: nothing may rise above the mattress plane.
    crease = textures.noise(rng, 128, 10, 5) + 0.6 * textures.noise(rng, 128, 24, 18)
    column = ((vertices[:, 0] / bed.length + 0.5) * 127).clip(0, 127).astype(int)
    row = ((vertices[:, 1] / bed.width + 0.5) * 127).clip(0, 127).astype(int)
    top = vertices[:, 2] > -0.01
    vertices[top, 2] -= 0.0025 * np.clip(crease[row, column][top] + 1.5, 0, 3)
    # Shading creases finer than the mesh: a slight darkening along them.
    shade = 1 + 0.018 * np.clip(crease[row, column], -2, 2)
    return _bent(bed, replace(mattress, vertices=vertices.astype(np.float32))), shade[:, None]


def build_bed(bed: Bed, look: BedLook) -> list[Mesh]:
    """The bed's meshes, all of instance 0; the mattress first."""
    return _shape(bed, look.unpainted()).painted(look)


@lru_cache(maxsize=8)
def _shape(bed: Bed, look: BedLook) -> BedShape:
    rng = np.random.default_rng([look.seed, 11])
    x, y, floor = bed.length / 2, bed.width / 2, -bed.height
    under = -MATTRESS_THICKNESS
    board = replace(BOARD, texture=textures.grain(rng), repeat=1.5) if rng.random() < 0.5 else BOARD
    mattress, shade = make_mattress(bed, look.sheet_fabric, rng)
    deck = shapes.rounded_box([-x, -y + 0.02, under - 0.04], [x, y - 0.02, under], 0.01, FRAME, 0.1)
    meshes = [_bent(bed, deck)]
    low = floor + 0.42 * (under - floor)
    meshes.append(shapes.box([-x - 0.04, -y - 0.01, low], [x + 0.04, -y + 0.03, low + 0.07], FRAME))
    meshes.append(shapes.box([-x - 0.04, y - 0.03, low], [x + 0.04, y + 0.01, low + 0.07], FRAME))
    meshes.append(shapes.box([-0.7 * x, -0.6 * y, floor + 0.12], [0.7 * x, 0.6 * y, low + 0.05], RUBBER))
    for px in (-x + 0.1, x - 0.1):
        for py in (-y + 0.06, y - 0.06):
            meshes.append(
                shapes.box([px - 0.025, py - 0.025, floor + 0.1], [px + 0.025, py + 0.025, under - 0.03], FRAME)
            )
            wheel = shapes.disc_stack([0, 0, 0], [(0.0, -0.02), (0.055, -0.02), (0.055, 0.02), (0.0, 0.02)], RUBBER)
            upright = wheel.vertices[:, [0, 2, 1]] + np.array([px, py, floor + 0.055], np.float32)
            meshes.append(replace(wheel, vertices=upright.astype(np.float32)))
    if look.boards:
        head, foot = float(rng.uniform(0.28, 0.5)), float(rng.uniform(0.1, 0.3))
        meshes.append(shapes.rounded_box([-x - 0.08, -y - 0.02, low], [-x - 0.035, y + 0.02, head], 0.02, board, 0.15))
        meshes.append(shapes.rounded_box([x + 0.035, -y - 0.02, low], [x + 0.08, y + 0.02, foot], 0.02, board, 0.15))
    meshes += _rails(bed, look, rng)
    return BedShape(mattress, shade, tuple(shapes.joined(meshes)))


def _rails(bed: Bed, look: BedLook, rng: np.random.Generator) -> list[Mesh]:
    x, y = bed.length / 2, bed.width / 2
    height = float(rng.uniform(0.26, 0.36))
    solid = rng.random() < 0.45
    surface = BOARD if solid else FRAME
    meshes: list[Mesh] = []
    for side, names in ((-1, ("right", "both")), (1, ("left", "both"))):
        if look.rails not in names:
            continue
        at = side * (y + 0.035)
        for start, end in ((-x + 0.08, -0.02), (0.12, x - 0.25)):
            if solid:
                panel = shapes.rounded_box([start, at - 0.015, -0.05], [end, at + 0.015, height], 0.015, surface, 0.08)
                meshes.append(_bent(bed, panel) if start < 0 else panel)
                continue
            bars = []
            for level in np.linspace(0.04, height, 3):
                path = np.column_stack([np.linspace(start, end, 16), np.full(16, at), np.full(16, level)])
                bars.append(shapes.tube(path, 0.014, surface))
            for post in (start + 0.02, (start + end) / 2, end - 0.02):
                path = np.column_stack([np.full(6, post), np.full(6, at), np.linspace(-0.12, height, 6)])
                bars.append(shapes.tube(path, 0.012, surface))
            bars = shapes.joined(bars)
            meshes += [_bent(bed, bar) for bar in bars] if start < 0 else bars
    return meshes
