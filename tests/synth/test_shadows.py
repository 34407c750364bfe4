"""Shadow maps are looked up block by block first; the blocks' bounds must hold for every look-up."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.render.mesh import Mesh
from synth.render.renderer import Light
from synth.render.shading import SHADOW_BLOCK
from synth.render.shadows import ShadowMaps


def rubble(seed: int) -> Mesh:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-0.6, 0.6, (60, 1, 3)) + rng.normal(0, 0.1, (60, 3, 3))
    triangles = np.arange(180, dtype=np.int32).reshape(-1, 3)
    return Mesh(corners.reshape(-1, 3).astype(np.float32), triangles, np.full((180, 3), 0.5, np.float32), 1)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_block_bounds_are_those_of_all_texels_a_look_up_reaches(seed: int) -> None:
    maps = ShadowMaps.of([rubble(seed)], [Light((0.3, -0.2, 1.0), (1.0, 1.0, 1.0), True)], np.eye(4), 96)
    size = int(maps.sizes[0])
    for y in range(1, size - 2):
        for x in range(1, size - 2):
            reached = maps.heights[0, y - 1 : y + 3, x - 1 : x + 3]
            block = (0, y // SHADOW_BLOCK, x // SHADOW_BLOCK)
            assert maps.least[block] <= reached.min()
            assert maps.greatest[block] >= reached.max()


def test_what_casts_nothing_makes_no_maps() -> None:
    maps = ShadowMaps.of([rubble(1)], [], np.eye(4), 96)
    assert len(maps.heights) == len(maps.sizes) == 0
