"""The pillow under a head: placed where the head lies, as thick as the neck is bent, dented by what rests in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.bed import Bed
from synth.body.figure import Figure
from synth.render import kernels
from synth.render.mesh import Mesh
from synth.ward import shapes, textures
from synth.ward.bed import bend, unbend
from synth.ward.shapes import Surface

_COUNT = 30  # points along each side of the grid
_SEAM = 0.012  # metres: as thin as a pillow gets, at its seams and under a skull
_YIELD = 0.004  # metres that flesh sinks into the cushion
_CELL = 0.012
_UPRIGHT = 0.30  # metres above the mattress; a head that high lies on no pillow
_NOTHING = 1e3
_SKULL = 0.11  # metres from the middle of the head


def lay_pillows(rng: np.random.Generator, bed: Bed, count: int, patient: Figure | None, surface: Surface) -> list[Mesh]:
    """Up to two pillows, one upon the other. A lying head that would hover above the mattress gets one in any case.

    They conform to the mattress with its backrest, and to the underside of whoever lies on them.
    """
    length, width = float(rng.uniform(0.38, 0.46)), min(float(rng.uniform(0.6, 0.7)), bed.width * 0.78)
    offset, yaw = rng.normal(0.0, 0.025, 2), float(rng.normal(0, 4))
    spare, fluff = rng.uniform(0.025, 0.05), rng.uniform(0.06, 0.1)
    centre = np.array([-bed.length / 2 + 0.6 * length + 0.02, 0.0])
    head = None if patient is None else unbend(bed, patient.keypoints[[3, 4]].mean(0)[None])[0]
    underside = None
    if head is not None and patient is not None and head[2] < _UPRIGHT and head[0] < -0.15 * bed.length:
        inside = np.array([(bed.length - length) / 2 + 0.03, max((bed.width - width) / 2, 0.0) + 0.03])
        centre = np.clip(head[:2] + offset + [0.02, 0.0], -inside, inside)
        underside = _underside(bed, patient.meshes, centre)
        shown = np.zeros(len(patient.meshes[0].vertices), bool)
        shown[patient.meshes[0].triangles] = True
        skull = unbend(bed, patient.meshes[0].vertices[shown])
        hovering = max(float(skull[np.linalg.norm(skull - head, axis=1) < _SKULL, 2].min(initial=_NOTHING)), 0.0)
        fluff = float(np.clip(hovering + spare, 0.045, 0.22))
        count = max(count, 1) if hovering > 0.03 else count
    meshes = []
    for k in range(count):
        share = 1.0 if count == 1 else (0.5, 1.0)[k]
        meshes.append(_cushion(rng, bed, centre, (length, width), yaw + 5.0 * k, share * fluff, underside, surface))
    return meshes


def _underside(bed: Bed, meshes: Sequence[Mesh], centre: NDArray[np.float64]) -> NDArray[np.float32]:
    """Heights above the mattress of the lowest surface over a square metre around `centre`, on a grid of `_CELL`."""
    size = round(1.0 / _CELL) + 1
    upside_down = np.full((size, size), -_NOTHING, np.float32)
    for mesh in meshes:
        points = unbend(bed, mesh.vertices)
        near: NDArray[np.bool_] = np.abs(points[:, :2] - centre).max(1) < 0.5
        triangles = mesh.triangles[near[mesh.triangles].any(1)]
        if not len(triangles):
            continue
        cells = np.column_stack([(points[:, :2] - centre + 0.5) / _CELL, -points[:, 2]])
        kernels.rasterize_heights(cells, triangles, upside_down)
    return -upside_down


def _cushion(
    rng: np.random.Generator, bed: Bed, centre: NDArray[np.float64], size: tuple[float, float], yaw_deg: float,
    height: float, underside: NDArray[np.float32] | None, surface: Surface,
) -> Mesh:  # fmt: skip
    """Thin at the seams, thick in the middle, pressed down by whatever rests on it, whose underside is `underside`."""
    u, v = np.meshgrid(np.linspace(-1, 1, _COUNT), np.linspace(-1, 1, _COUNT))
    swell = ((1 - np.abs(u) ** 2.8) * (1 - np.abs(v) ** 2.8)).clip(0, 1) ** 0.5
    lump, crease = textures.noise(rng, _COUNT, 5, 5), textures.noise(rng, _COUNT, 11, 11)
    top = _SEAM + height * swell * (1 + 0.05 * lump) + 0.004 * crease * swell
    pinch = 1 - 0.06 * np.abs(u * v) ** 2
    x, y = u * size[0] / 2 * pinch, v * size[1] / 2 * pinch
    turn = np.radians(yaw_deg)
    x, y = centre[0] + x * np.cos(turn) - y * np.sin(turn), centre[1] + x * np.sin(turn) + y * np.cos(turn)
    if underside is not None:
        columns, rows = (((axis - middle + 0.5) / _CELL) for axis, middle in ((x, centre[0]), (y, centre[1])))
        roof = cv2.erode(underside, np.ones((3, 3), np.uint8))
        ceiling = roof[np.rint(rows).astype(int) % len(roof), np.rint(columns).astype(int) % len(roof)] + _YIELD
        dent = np.maximum(top - ceiling, 0.0).astype(np.float32)
        # Cushions are dented wider than what lies in them, and bulge beside it.
        soft = cv2.GaussianBlur(cv2.dilate(dent, np.ones((3, 3), np.uint8)), (0, 0), 1.4)
        pressed = np.minimum(top, np.maximum(ceiling, _SEAM))
        top = np.maximum(np.minimum(top - 0.85 * soft, pressed), np.maximum(pressed - 0.006, 0.6 * _SEAM))
    made = shapes.sheet(np.stack([x, y, top], -1), surface)
    return replace(made, vertices=bend(bed, made.vertices).astype(np.float32))
