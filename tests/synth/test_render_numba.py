"""The numba renderer against rays cast in numpy, OpenCV's projection, and itself in another process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.camera import CameraModel
from calibration.viewpoint import Viewpoint
from synth.render.mesh import Mesh
from synth.render.numba_renderer import NumbaRenderer, render_depth_ids
from synth.render.renderer import Light, Scene
from tests.conftest import REPOSITORY

CAMERA = CameraModel(96, 64, 80.0, 82.0, 46.3, 33.1)


def soup(rng: np.random.Generator, count: int, instance: int, spread: float = 1.0, size: float = 0.5) -> Mesh:
    """Triangles of random place and shape."""
    corners = rng.normal(0, spread, (count, 1, 3)) + rng.normal(0, size, (count, 3, 3))
    return Mesh(
        corners.reshape(-1, 3).astype(np.float32),
        np.arange(3 * count, dtype=np.int32).reshape(-1, 3),
        rng.random((3 * count, 3)).astype(np.float32),
        instance,
    )


def sphere(centre: tuple[float, float, float], radius: float, instance: int, rings: int = 24) -> Mesh:
    polar, around = np.meshgrid(np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, 2 * rings), indexing="ij")
    unit = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1).reshape(-1, 3)
    index = np.arange(rings * 2 * rings).reshape(rings, -1)
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    return Mesh((unit * radius + centre).astype(np.float32), triangles, np.full(unit.shape, 0.6, np.float32), instance)


def plane(z: float, reach: float, albedo: float = 0.8) -> Mesh:
    corners = np.array([[-reach, -reach, z], [reach, -reach, z], [reach, reach, z], [-reach, reach, z]], np.float32)
    return Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32), np.full((4, 3), albedo, np.float32))


def cast_rays(
    meshes: list[Mesh], camera_from_bed: NDArray[np.float64], camera: CameraModel, near: float = 0.05
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Depth and mesh number + 1 at every pixel centre by Möller and Trumbore's intersection."""
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    pixels = np.column_stack([columns.ravel(), rows.ravel()])
    rays = np.column_stack([(pixels - [camera.cx, camera.cy]) / [camera.fx, camera.fy], np.ones(len(pixels))])
    depth = np.full(len(rays), np.inf)
    part = np.zeros(len(rays), np.int64)
    for number, mesh in enumerate(meshes, 1):
        points = mesh.vertices.astype(np.float64) @ camera_from_bed[:3, :3].T + camera_from_bed[:3, 3]
        for a, b, c in points[mesh.triangles]:
            ab, ac = b - a, c - a
            p = np.cross(rays, ac)
            determinant = p @ ab
            with np.errstate(divide="ignore", invalid="ignore"):
                u = (p @ -a) / determinant
                q = np.cross(-a, ab)
                v = (rays @ q) / determinant
                z = (ac @ q) / determinant
                hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (z >= near) & (z < depth)
            depth[hit], part[hit] = z[hit], number
    depth[np.isinf(depth)] = 0
    return depth.reshape(rows.shape), part.reshape(rows.shape)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 4.0), st.floats(-60, 60))
def test_depth_and_parts_match_rays_even_from_inside_the_triangles(
    seed: int, distance: float, elevation: float
) -> None:
    rng = np.random.default_rng(seed)
    meshes = [soup(rng, 12, 0), soup(rng, 12, 1, size=0.1), soup(rng, 6, 2, size=2.0)]
    view = Viewpoint(float(rng.uniform(-180, 180)), elevation, distance).camera_from_bed
    depth, instance, part = render_depth_ids(meshes, view, CAMERA)
    true_depth, true_part = cast_rays(meshes, view, CAMERA)
    same = part == true_part
    assert same.mean() > 0.999  # a pixel centre within rounding of an edge may fall either way
    np.testing.assert_allclose(depth[same], true_depth[same], rtol=2e-5)
    np.testing.assert_array_equal(instance[same], np.array([0, 0, 1, 2])[true_part[same]])


def test_a_floor_that_passes_under_the_camera_is_drawn_up_to_the_near_plane() -> None:
    floor = plane(-0.5, 20.0)
    view = Viewpoint(10, 35, 1.5).camera_from_bed
    depth, _, part = render_depth_ids([floor], view, CAMERA)
    true_depth, true_part = cast_rays([floor], view, CAMERA)
    assert true_part.mean() > 0.9
    np.testing.assert_array_equal(part, true_part)
    np.testing.assert_allclose(depth, true_depth, rtol=2e-6)


def test_nothing_in_front_of_the_near_plane_is_drawn() -> None:
    ball = sphere((0, 0, 0), 0.3, 1)
    view = Viewpoint(0, 0, 0.32).camera_from_bed
    depth, _, _ = render_depth_ids([ball], view, CAMERA, near=0.1)
    assert depth[depth > 0].min() >= 0.1


def test_no_pixel_falls_between_triangles_that_share_an_edge() -> None:
    grid = np.linspace(-1, 1, 40)
    x, y = np.meshgrid(grid, grid)
    rng = np.random.default_rng(3)
    points = np.column_stack([x.ravel(), y.ravel(), rng.normal(0, 0.002, x.size)]).astype(np.float32)
    index = np.arange(x.size).reshape(x.shape)
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], -1).reshape(-1, 4)
    sheet = Mesh(
        points, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32), np.ones_like(points)
    )
    camera = CameraModel(200, 200, 300.0, 300.0, 99.5, 99.5)
    depth, _, _ = render_depth_ids([sheet], Viewpoint(20, 80, 2.0).camera_from_bed, camera)
    assert (depth > 0).all()


@settings(max_examples=30, deadline=None)
@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(-0.3, 0.3), st.floats(-170, 170), st.floats(5, 80))
def test_a_small_triangle_lands_where_opencv_projects_it(
    x: float, y: float, z: float, azimuth: float, elevation: float
) -> None:
    view = Viewpoint(azimuth, elevation, 2.5).camera_from_bed
    camera = CameraModel(640, 360, 460.0, 455.0, 322.0, 177.0)
    centre = np.array([x, y, z])
    right, down = view[0, :3], view[1, :3]
    corners = centre + 0.02 * np.array([-right - down, right - down, 2 * down])
    mesh = Mesh(corners.astype(np.float32), np.array([[0, 1, 2]], np.int32), np.ones((3, 3), np.float32), 1)
    depth, _, _ = render_depth_ids([mesh], view, camera)
    rotation, _ = cv2.Rodrigues(view[:3, :3])
    projected, _ = cv2.projectPoints(corners, rotation, view[:3, 3], camera.matrix, None)
    rows, columns = np.nonzero(depth)
    np.testing.assert_allclose([columns.mean(), rows.mean()], projected.reshape(-1, 2).mean(0), atol=0.6)


def lit_scene() -> Scene:
    rng = np.random.default_rng(5)
    floor = plane(-0.4, 3.0)
    texture = rng.integers(60, 255, (64, 96, 3)).astype(np.uint8)
    floor = Mesh(floor.vertices, floor.triangles, floor.colors, 0, floor.vertices[:, :2].copy(), texture)
    lights = (Light((0.4, 0.5, 1.0), (1.2, 1.1, 1.0), True), Light((-1.0, 0.0, 0.5), (0.3, 0.3, 0.3)))
    return Scene((floor, sphere((0, 0, 0), 0.35, 1), sphere((0.6, 0.2, 0.0), 0.3, 2)), lights)


def test_a_shadow_falls_opposite_the_light_and_nowhere_else() -> None:
    floor, ball = plane(0.0, 3.0), sphere((0, 0, 0.5), 0.3, 1)
    straight_down = Viewpoint(0, 89, 4.0).camera_from_bed
    light = Light((1.0, 0.0, 1.0), (1.0, 1.0, 1.0), True)
    camera = CameraModel(200, 200, 150.0, 150.0, 99.5, 99.5)
    renderer = NumbaRenderer(antialias=False, occlusion=0)
    shaded = renderer.render(Scene((floor, ball), (light,)), straight_down, camera).color.astype(int)

    def at(x: float, y: float) -> int:
        pixel = (
            camera.project((straight_down[:3, :3] @ [x, y, 0.0] + straight_down[:3, 3])[None])[0].round().astype(int)
        )
        return int(shaded[pixel[1], pixel[0]].sum())

    # Light from +x at 45°: the ball's centre, half a metre up, throws its shadow half a metre toward −x.
    assert at(-0.7, 0.0) < 0.7 * at(0.6, 0.0)
    assert abs(at(0.6, 0.0) - at(-0.7, 0.9)) <= 6
    assert abs(at(0.6, 0.0) - at(0.9, -0.9)) <= 6


def test_a_soft_light_blurs_the_shadows_edge_over_its_softness() -> None:
    floor, ball = plane(0.0, 3.0), sphere((0, 0, 0.5), 0.3, 1)
    camera = CameraModel(200, 200, 150.0, 150.0, 99.5, 99.5)
    above = Viewpoint(0, 89, 4.0).camera_from_bed

    def half_lit(softness: float) -> int:
        light = Light((1.0, 0.0, 1.0), (1.0, 1.0, 1.0), True, softness)
        seen = NumbaRenderer(antialias=False, occlusion=0).render(Scene((floor, ball), (light,)), above, camera)
        floor_only = seen.color[..., 0][seen.part == 1].astype(int)
        dark, bright = floor_only.min(), floor_only.max()
        return int(
            ((floor_only > dark + 0.15 * (bright - dark)) & (floor_only < bright - 0.15 * (bright - dark))).sum()
        )

    assert half_lit(0.12) > 3 * half_lit(0.0)


def test_gloss_mirrors_a_light_where_the_reflected_ray_meets_it_and_nowhere_else() -> None:
    camera = CameraModel(201, 201, 400.0, 400.0, 100.0, 100.0)
    view = Viewpoint(0, 45, 2.0).camera_from_bed  # the middle pixel sees the origin from +x at 45°
    light = Light((-1.0, 0.0, 1.0), (0.3, 0.3, 0.3))  # and its mirrored ray leaves toward −x at 45°
    ground = plane(0.0, 3.0, albedo=0.2)
    matt, glossy = (
        NumbaRenderer(antialias=False, occlusion=0)
        .render(Scene((replace(ground, gloss=gloss),), (light,), (0, 0, 0), (0, 0, 0)), view, camera)
        .color[..., 1]
        .astype(int)
        for gloss in (0.0, 0.9)
    )
    gain = glossy - matt
    assert gain[100, 100] > 15 and gain[100, 100] >= gain.max() - 1
    assert gain[5:20, :].mean() < 0.3 * gain[100, 100]


def test_a_panel_in_the_ceiling_throws_no_shadow() -> None:
    floor = plane(0.0, 3.0)
    panel = Mesh(
        floor.vertices / 6 + np.float32([0, 0, 2.5]), floor.triangles[:, ::-1], floor.colors, single_sided=True
    )
    view, light = Viewpoint(0, 89, 2.0).camera_from_bed, Light((0.0, 0.0, 1.0), (1.0, 1.0, 1.0), True)
    renderer = NumbaRenderer(occlusion=0)
    with_panel, without = (
        renderer.render(Scene(meshes, (light,)), view, CAMERA) for meshes in ((floor, panel), (floor,))
    )
    np.testing.assert_array_equal(with_panel.color, without.color)


def test_a_texture_repeats_and_multiplies_the_colour() -> None:
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[:, 0] = 255
    quad = plane(0.0, 1.0, albedo=1.0)
    quad = Mesh(quad.vertices, quad.triangles, quad.colors, 0, (quad.vertices[:, :2] * 4).copy(), texture)
    camera = CameraModel(400, 400, 390.0, 390.0, 199.5, 199.5)
    picture = (
        NumbaRenderer(antialias=False, occlusion=0)
        .render(Scene((quad,), ()), Viewpoint(0, 89.8, 2.0).camera_from_bed, camera)
        .color
    )
    row = picture[80:320, 200, 0].astype(float)  # x of the bed frame runs along the picture's rows
    spectrum = np.abs(np.fft.rfft(row - row.mean()))
    stripes = 240 / 390 * 2.0 * 4
    assert abs(int(spectrum.argmax()) - stripes) <= 1


def test_antialiasing_softens_edges_but_leaves_depth_and_ids_alone() -> None:
    view = Viewpoint(30, 25, 2.5).camera_from_bed
    scene = lit_scene()
    plain = NumbaRenderer(antialias=False).render(scene, view, CAMERA)
    smooth = NumbaRenderer(antialias=True).render(scene, view, CAMERA)
    np.testing.assert_array_equal(plain.depth, smooth.depth)
    np.testing.assert_array_equal(plain.part, smooth.part)
    changed = np.abs(plain.color.astype(int) - smooth.color.astype(int)).sum(-1) > 12
    assert 0 < changed.mean() < 0.25


def test_a_distorted_camera_is_refused() -> None:
    camera = CameraModel(96, 64, 80.0, 80.0, 48.0, 32.0, (0.1, 0, 0, 0, 0, 0, 0, 0))
    with pytest.raises(ValueError, match="undistorted"):
        NumbaRenderer().render(lit_scene(), np.eye(4), camera)


def digest() -> str:
    rendering = NumbaRenderer().render(lit_scene(), Viewpoint(30, 25, 2.5).camera_from_bed, CAMERA)
    return hashlib.sha256(
        b"".join(part.tobytes() for part in (rendering.color, rendering.depth, rendering.instance, rendering.part))
    ).hexdigest()


def test_another_process_draws_the_same_bytes() -> None:
    repository = Path(__file__).resolve().parents[2]
    code = "from tests.synth.test_render_numba import digest; print(digest())"
    environment = os.environ | {"PYTHONPATH": str(repository)}
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == digest()


def test_the_compiled_code_is_kept_outside_the_checkout() -> None:
    from synth.render.jit import CACHE_FOLDER

    repository = Path(__file__).resolve().parents[2]
    assert CACHE_FOLDER is None or (repository / "synth") not in CACHE_FOLDER.parents


def test_compiled_code_is_not_used_once_kernels_or_constants_that_it_holds_have_changed(tmp_path: Path) -> None:
    from synth.render.kernel_cache import kernels_digest

    (tmp_path / "shading.py").write_text("from surfaces import f\n\n@njit\ndef shade(): f()\n")
    (tmp_path / "surfaces.py").write_text("\n@njit\ndef f(): pass\n")
    (tmp_path / "layout.py").write_text("BRIGHTEST = 1.0\n")
    states = [kernels_digest(tmp_path), kernels_digest(tmp_path)]
    (tmp_path / "layout.py").write_text("BRIGHTEST = 2.0\n")
    states.append(kernels_digest(tmp_path))
    (tmp_path / "surfaces.py").write_text("\n@njit\ndef f(): return 1\n")
    states.append(kernels_digest(tmp_path))
    assert states[0] == states[1] and len(set(states)) == 3


def test_a_process_started_by_another_finds_the_same_compiled_code() -> None:
    from synth.render.jit import CACHE_FOLDER

    code = "from synth.render.jit import CACHE_FOLDER; print(CACHE_FOLDER)"
    other = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(CACHE_FOLDER)
