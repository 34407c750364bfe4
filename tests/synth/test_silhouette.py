"""A silhouette is where the renderer draws anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.camera import CameraModel
from calibration.viewpoint import Viewpoint
from synth.render.numba_renderer import render_depth_ids
from synth.render.silhouette import silhouette
from tests.synth.test_render_numba import soup

CAMERA = CameraModel(96, 64, 80.0, 82.0, 46.3, 33.1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 4.0), st.floats(-60, 60))
def test_a_silhouette_is_what_a_rendering_fills_even_from_inside_the_triangles(
    seed: int, distance: float, elevation: float
) -> None:
    rng = np.random.default_rng(seed)
    meshes = [soup(rng, 12, 1), replace(soup(rng, 6, 1, size=0.1), single_sided=True)]
    view = Viewpoint(float(rng.uniform(-180, 180)), elevation, distance).camera_from_bed
    _, _, part = render_depth_ids(meshes, view, CAMERA)
    np.testing.assert_array_equal(silhouette(meshes, view, CAMERA), part > 0)
