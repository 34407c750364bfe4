"""A hospital cot for infants and toddlers: slatted sides, one of which may be let down, in the bed frame."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from calibration.bed import Bed
from synth.render.mesh import Mesh
from synth.ward import shapes, textures
from synth.ward.bed import BOARD, FRAME, MATTRESS_THICKNESS, RUBBER, BedLook, BedShape, make_mattress
from synth.ward.shapes import Surface

_COT_LENGTH = 1.5  # metres: a shorter bed is a cot
_UP, _DOWN = (0.5, 0.62), (0.04, 0.12)  # metres of a side's upper rail above the mattress
_SLATS = (0.055, 0.075)  # metres between them: EN 716 allows 45 to 65 mm of clear space


def is_cot(bed: Bed) -> bool:
    """Whether a bed of this length is a cot."""
    return bed.length < _COT_LENGTH


def build_cot(bed: Bed, look: BedLook) -> list[Mesh]:
    """The cot's meshes, all of instance 0. look.rails: "left" or "right" lets the other side down, "both" neither."""
    return _shape(bed, look.unpainted()).painted(look)


@lru_cache(maxsize=8)
def _shape(bed: Bed, look: BedLook) -> BedShape:
    rng = np.random.default_rng([look.seed, 17])
    x, y, floor, under = bed.length / 2, bed.width / 2, -bed.height, -MATTRESS_THICKNESS
    board = replace(BOARD, texture=textures.grain(rng), repeat=1.5) if rng.random() < 0.5 else BOARD
    top, spacing = float(rng.uniform(*_UP)), float(rng.uniform(*_SLATS))
    boarded = rng.random() < 0.4
    # The side let down, +1 the patient's left; 0 for neither.
    lowered = {"left": -1.0, "right": 1.0, "both": 0.0}.get(look.rails, float(rng.integers(-1, 2)))
    mattress, shade = make_mattress(bed, look.sheet_fabric, rng)
    meshes = [shapes.rounded_box([-x, -y + 0.02, under - 0.03], [x, y - 0.02, under], 0.01, FRAME, 0.1)]
    for side in (-1.0, 1.0):
        px = side * (x + 0.025)
        for py in (-y - 0.02, y + 0.02):
            meshes.append(shapes.box([px - 0.02, py - 0.02, floor + 0.1], [px + 0.02, py + 0.02, top + 0.03], FRAME))
            wheel = shapes.disc_stack([0, 0, 0], [(0.0, -0.018), (0.05, -0.018), (0.05, 0.018), (0.0, 0.018)], RUBBER)
            upright = wheel.vertices[:, [0, 2, 1]] + np.array([px, py, floor + 0.05], np.float32)
            meshes.append(replace(wheel, vertices=upright.astype(np.float32)))
        meshes += _end(px, y, top, board if boarded else None, spacing)
        upper = float(rng.uniform(*_DOWN)) if side == lowered else top
        meshes += _slatted((-x - 0.01, side * (y + 0.02)), (x + 0.01, side * (y + 0.02)), upper, spacing)
    return BedShape(mattress, shade, tuple(shapes.joined(meshes)))


def _end(x: float, half_width: float, top: float, board: Surface | None, spacing: float) -> list[Mesh]:
    """Head or foot end: slats like the sides', or a board that leaves the upper part open."""
    bars = _slatted((x, -half_width), (x, half_width), top, spacing)
    if board is None:
        return bars
    low, high = [x - 0.012, -half_width, -MATTRESS_THICKNESS - 0.05], [x + 0.012, half_width, 0.45 * top]
    return [*bars, shapes.rounded_box(low, high, 0.008, board, 0.15)]


def _slatted(start: tuple[float, float], end: tuple[float, float], top: float, spacing: float) -> list[Mesh]:
    """Two rails from `start` to `end` (x, y) and the slats between them, down to below the mattress."""
    bottom = min(-0.1, top - 0.5)
    a, b = np.array(start), np.array(end)
    along = a + np.linspace(0, 1, 12)[:, None] * (b - a)
    bars = [shapes.tube(np.column_stack([along, np.full(12, z)]), 0.014, FRAME) for z in (bottom, top)]
    count = round(float(np.linalg.norm(b - a)) / spacing)
    for share in np.arange(1, count) / count:
        at = np.tile(a + share * (b - a), (3, 1))
        bars.append(shapes.tube(np.column_stack([at, np.linspace(bottom, top, 3)]), 0.007, FRAME, 6))
    return bars
