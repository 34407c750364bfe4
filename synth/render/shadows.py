"""Shadow maps: how high the casters reach toward a light, drawn with `kernels.rasterize_heights`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synth.render import kernels
from synth.render.mesh import Mesh
from synth.render.renderer import Light
from synth.render.shading import SHADOW_BLOCK, ShadowTables

_NOTHING = -1e9  # height where nothing casts
_LARGEST_CASTER = 3.2  # metres; what is larger is the room's shell
_REACH = 1.0  # metres about the people within which things cast


def shadow_casters(meshes: Sequence[Mesh]) -> list[int]:
    """The meshes that cast: all but the room's shell, within reach of the people (or of everything, without people).

    Walls, floor and ceiling would shut a directional light out, and would spread the map over the whole room. A panel
    in the ceiling is part of the shell too, which its single side says.
    """
    solid = [(i, mesh) for i, mesh in enumerate(meshes) if len(mesh.vertices) and not mesh.single_sided]
    bounds = {i: kernels.extent(mesh.vertices) for i, mesh in solid}
    movable = [i for i, (low, high) in bounds.items() if ((high - low) ** 2).sum() < _LARGEST_CASTER**2]
    people = [bounds[i] for i in movable if meshes[i].instance > 0]
    if not people:
        return movable
    low = np.min(people, axis=0)[0] - _REACH
    high = np.max(people, axis=0)[1] + _REACH
    return [i for i in movable if (bounds[i][1] > low).all() and (bounds[i][0] < high).all()]


@dataclass(frozen=True, slots=True)
class ShadowFrame:
    """How a light sees its casters. map_from_bed (3, 4) takes a bed-frame point to column and row in texels and height
    toward the light in metres; texels along the map's side; heights: lowest and highest caster; step: how far a lit
    point moves along its normal, and toward the light, before it is looked up, metres."""

    map_from_bed: NDArray[np.float64]
    texels: int
    heights: tuple[float, float]
    step: tuple[float, float]


def shadow_frame(light: Light, points: NDArray[np.float32], most_texels: int) -> ShadowFrame:
    """The frame that holds the casters' `points` (N, 3), bed frame."""
    toward = np.asarray(light.toward, dtype=np.float64)
    toward /= np.linalg.norm(toward)
    across = np.cross([0.0, 1.0, 0.0] if abs(toward[1]) < 0.9 else [1.0, 0.0, 0.0], toward)
    across /= np.linalg.norm(across)
    light_from_bed = np.stack([across, np.cross(toward, across), toward])
    placed = np.empty((len(points), 3), np.float64)
    kernels.transform(points, np.column_stack([light_from_bed, np.zeros(3)]), placed)
    low, high = kernels.extent(placed)
    # The look-up spreads over three texels: a coarser map makes a softer shadow, and a cheaper one.
    texel = max(float((high - low)[:2].max()) / (most_texels - 8), light.softness / 3.0, 1e-6)
    size = min(most_texels, int(np.ceil((high - low)[:2].max() / texel)) + 9)
    scale = np.array([1.0 / texel, 1.0 / texel, 1.0])
    offset = np.array([4.0 - low[0] / texel, 4.0 - low[1] / texel, 0.0])
    return ShadowFrame(
        np.column_stack([scale[:, None] * light_from_bed, offset]),
        size,
        (float(low[2]), float(high[2])),
        (max(1.5 * texel, 0.004), max(1.2 * texel, 0.004)),
    )


@dataclass(frozen=True, slots=True)
class ShadowMaps:
    """K lights' maps, as `shading.shade` takes them.

    heights (K, S, S) float32, of which the first sizes[k] rows and columns count; least and greatest (K, B, B): bounds
    over all texels that a look-up within a block of `SHADOW_BLOCK` texels reaches; rows (K, 3, 7) take a camera-frame
    point and a bed-frame offset to column, row and height; step (K, 2) as in `ShadowFrame`.
    """

    heights: NDArray[np.float32]
    least: NDArray[np.float32]
    greatest: NDArray[np.float32]
    sizes: NDArray[np.int64]
    rows: NDArray[np.float32]
    step: NDArray[np.float32]

    @property
    def tables(self) -> ShadowTables:
        return ShadowTables(self.heights, self.least, self.greatest, self.sizes, self.rows, self.step)

    @classmethod
    def of(
        cls, meshes: Sequence[Mesh], lights: Sequence[Light], bed_from_camera: NDArray[np.float64], most_texels: int
    ) -> ShadowMaps:
        """Maps of at most (most_texels, most_texels) for the lights, all of which cast."""
        casters = shadow_casters(meshes) if lights else []
        lights = lights if casters else ()
        points = np.concatenate([meshes[i].vertices for i in casters]) if casters else np.empty((0, 3), np.float32)
        frames = [shadow_frame(light, points, most_texels) for light in lights]
        side = max([frame.texels for frame in frames], default=SHADOW_BLOCK)
        side = -(-side // SHADOW_BLOCK) * SHADOW_BLOCK
        heights = np.full((len(frames), side, side), _NOTHING, np.float32)
        placed = np.empty((len(points), 3), np.float64)
        rows = np.zeros((len(frames), 3, 7), np.float32)
        for frame, drawn, row in zip(frames, heights, rows, strict=True):
            kernels.transform(points, frame.map_from_bed, placed)
            first = 0
            for i in casters:
                kernels.rasterize_heights(placed[first : first + len(meshes[i].vertices)], meshes[i].triangles, drawn)
                first += len(meshes[i].vertices)
            row[:, :4] = frame.map_from_bed @ bed_from_camera
            row[:, 4:] = frame.map_from_bed[:, :3]
        return cls(
            heights, _block_bounds(heights, cv2.erode), _block_bounds(heights, cv2.dilate),
            np.array([frame.texels for frame in frames], np.int64), rows,
            np.array([frame.step for frame in frames], np.float32).reshape(-1, 2),
        )  # fmt: skip


def _block_bounds(heights: NDArray[np.float32], bound: Callable[..., Any]) -> NDArray[np.float32]:
    """(K, B, B): `cv2.erode` or `cv2.dilate` over each block and what its look-ups reach beyond it."""
    # A look-up at texel i of a block reads i − 1 … i + 2: the block, one texel before and two after it.
    kernel = np.ones((SHADOW_BLOCK + 3, SHADOW_BLOCK + 3), np.uint8)
    blocks = heights.shape[1] // SHADOW_BLOCK
    found = np.empty((len(heights), blocks, blocks), np.float32)
    for drawn, bounds in zip(heights, found, strict=True):
        bounds[:] = bound(drawn, kernel, anchor=(1, 1))[::SHADOW_BLOCK, ::SHADOW_BLOCK]
    return found
