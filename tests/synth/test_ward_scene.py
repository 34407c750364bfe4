"""The ward: its measures, its people and things, and that equal seeds give equal scenes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calibration.bed import Bed
from calibration.camera import CameraModel
from calibration.viewpoint import Viewpoint
from synth.body.figure import Figure, Traits
from synth.pose.support import Support
from synth.render.mesh import Mesh
from synth.render.numba_renderer import NumbaRenderer
from synth.render.renderer import Scene
from synth.ward import shapes, textures
from synth.ward.bed import BedLook, bend, build_bed
from synth.ward.furniture import FURNITURE
from synth.ward.lights import PRESETS, make_lighting
from synth.ward.look import sample_look
from synth.ward.room import RoomLook, build_room
from synth.ward.scene import WardScene, compose, compose_open, make_bedding
from synth.ward.shapes import Surface

CAMERA = CameraModel(160, 90, 105.0, 105.0, 79.5, 44.5)


def person(instance: int = 1, at: tuple[float, float, float] = (0.0, 0.0, 0.0), upright: bool = False) -> Figure:
    """A trunk, a head and legs of rounded boxes, lying on the mattress with the head toward −x, or standing at `at`."""
    parts = [
        ((-0.8, -0.1, 0.0), (-0.58, 0.1, 0.2)),
        ((-0.58, -0.2, 0.0), (0.05, 0.2, 0.2)),
        ((0.05, -0.18, 0.0), (0.85, -0.04, 0.14)),
        ((0.05, 0.04, 0.0), (0.85, 0.18, 0.14)),
    ]
    meshes = []
    for low, high in parts:
        mesh = shapes.rounded_box(low, high, 0.06, Surface((0.4, 0.3, 0.25)))
        points = mesh.vertices[:, [2, 1, 0]] * np.float32([1, 1, -1]) if upright else mesh.vertices
        offset = np.float32(at) + (np.float32([0, 0, 0.85]) if upright else 0)
        meshes.append(Mesh((points + offset).astype(np.float32), mesh.triangles, mesh.colors, instance))
    keypoints = np.tile(np.asarray(at, dtype=np.float64) + [0, 0, 0.1], (17, 1))
    posture = "standing" if upright else "supine"
    skin = np.ones((len(meshes[0].vertices), 17), bool)
    return Figure(tuple(meshes), keypoints, skin, posture, Traits(40, "female", 24, 1.7, 5, "gown"))


def scene(seed: int, bed: Bed = Bed(), **arguments: float) -> WardScene:  # noqa: B008 (frozen)
    rng = np.random.default_rng(seed)
    look = sample_look(rng)
    return compose(rng, bed, person(), [person(2, (0.2, 1.2, -bed.height), upright=True)], look, **arguments)


def digest(scene: Scene) -> str:
    state = hashlib.sha256(repr((scene.lights, scene.sky, scene.ground)).encode())
    for mesh in scene.meshes:
        for part in (mesh.vertices, mesh.triangles, mesh.colors, mesh.uv, mesh.texture):
            state.update(b"none" if part is None else np.ascontiguousarray(part).tobytes())
    return state.hexdigest()


def test_equal_seeds_give_equal_scenes_in_another_process_whatever_was_made_before() -> None:
    scene(1)
    repository = Path(__file__).resolve().parents[2]
    code = "from tests.synth.test_ward_scene import digest, scene; print(digest(scene(7, blanket_coverage=0.5)))"
    environment = os.environ | {"PYTHONPATH": str(repository)}
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == digest(scene(7, blanket_coverage=0.5))


def test_other_seeds_give_other_scenes() -> None:
    assert len({digest(scene(seed)) for seed in range(5)}) == 5


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_only_people_have_instances_and_the_floor_lies_a_bed_height_down(seed: int) -> None:
    bed = Bed(height=0.7)
    made = scene(seed, bed)
    assert {mesh.instance for mesh in made.meshes} == {0, 1, 2}
    lowest = min(float(mesh.vertices[:, 2].min()) for mesh in made.meshes)
    assert lowest == pytest.approx(-0.7, abs=2e-3)


@settings(max_examples=8, deadline=None)
@given(st.floats(-180, 180), st.floats(20, 60), st.integers(0, 1000))
@example(-129.25, 21.484375, 41)  # looks under the hall's wall if that ends above its floor
def test_a_camera_sees_the_ward_wherever_it_stands(azimuth: float, elevation: float, seed: int) -> None:
    view = Viewpoint(azimuth, elevation, 3.0)
    rng = np.random.default_rng(seed)
    look = sample_look(rng, {"ceiling": 1.0})
    made = compose(rng, Bed(), person(), [], look, 0.0, camera_centre=view.centre)
    rendering = NumbaRenderer(antialias=False).render(made, view.camera_from_bed, CAMERA)
    assert (rendering.part > 0).all()
    assert (rendering.instance == 1).sum() > 60
    assert 30 < rendering.color.mean() < 235


def test_the_mattress_top_is_the_plane_z_0() -> None:
    mattress = build_bed(Bed(), BedLook(pillows=0, boards=False))[0]
    inner = mattress.vertices[
        (np.abs(mattress.vertices[:, :2]) < [0.9, 0.35]).all(1) & (mattress.vertices[:, 2] > -0.05)
    ]
    assert inner[:, 2].max() <= 0.0
    assert inner[:, 2].min() > -0.01


@settings(max_examples=20, deadline=None)
@given(st.floats(5, 60), st.floats(1.7, 2.3))
def test_the_raised_mattress_lies_where_the_poses_were_settled(backrest: float, length: float) -> None:
    bed = Bed(length=length, backrest_deg=backrest)
    support = Support(bed.length, bed.width, bed.backrest_deg)
    line = np.column_stack([np.linspace(-length / 2, length / 2, 50), np.zeros(50), np.zeros(50)])
    bent = bend(bed, line)
    assert np.abs(support.height(bent)).max() < 0.015
    np.testing.assert_allclose(np.linalg.norm(np.diff(bent, axis=0), axis=1), length / 49, rtol=2e-2)


def test_a_level_backrest_bends_nothing() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_array_equal(bend(Bed(), points), points)


def test_walls_face_inward() -> None:
    look = RoomLook(seed=3)
    middle = np.array([1.0, 0.2, 0.8])
    for mesh in build_room(look, -0.55, ward=False):
        if not mesh.single_sided:
            continue
        a, b, c = (mesh.vertices[mesh.triangles[:, k]].astype(np.float64) for k in range(3))
        assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), middle - a) > 0).all()


def test_nothing_mounted_on_a_wall_hangs_before_a_camera_behind_that_wall() -> None:
    look = RoomLook(seed=5, window_side=1.0)

    def on_the_left_wall(behind: tuple[str, ...]) -> int:
        solid = [m.vertices for m in build_room(look, -0.55, ward=True, behind=behind) if not m.single_sided]
        points = np.concatenate(solid)
        inner = (points[:, 0] > look.low[0] + 0.3) & (points[:, 0] < look.high[0] - 0.3)
        return int((inner & (points[:, 1] > look.high[1] - 0.2)).sum())

    assert on_the_left_wall(()) > 0
    assert on_the_left_wall(("left",)) == 0


@pytest.mark.parametrize("kind", sorted(FURNITURE))
def test_furniture_stands_on_the_floor(kind: str) -> None:
    for seed in range(3):
        made = FURNITURE[kind](np.random.default_rng(seed))
        meshes = [shapes.moved(mesh, 30.0, (1.0, 2.0, -0.6)) for mesh in made]
        low = min(float(mesh.vertices[:, 2].min()) for mesh in meshes)
        assert -0.602 < low < -0.55


def test_furniture_in_somebodys_place_is_left_out() -> None:
    rng = np.random.default_rng(11)
    look = sample_look(rng)
    bed = Bed()
    alone = compose(np.random.default_rng(0), bed, None, [], look)
    crowd = [
        person(k + 1, (piece.at[0], piece.at[1], -bed.height), upright=True) for k, piece in enumerate(look.pieces)
    ]
    crowded = compose(np.random.default_rng(0), bed, None, crowd, look)
    assert look.pieces
    assert len(crowded.meshes) - sum(len(figure.meshes) for figure in crowd) < len(alone.meshes)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(PRESETS)), st.integers(0, 10_000))
def test_light_is_exposed_and_one_light_casts_the_shadow(preset: str, seed: int) -> None:
    light = make_lighting(np.random.default_rng(seed), preset)
    upward = np.mean(light.sky) + sum(np.mean(each.color) * max(0.0, each.toward[2]) for each in light.lights)
    assert 0.05 < upward < 1.65
    assert sum(each.casts_shadow for each in light.lights) == 1
    assert all(np.linalg.norm(each.toward) == pytest.approx(1) for each in light.lights)


def test_the_papers_light_has_five_directions_within_its_intensities() -> None:
    light = make_lighting(np.random.default_rng(0), "paper")
    strength = np.array([np.mean(each.color) for each in light.lights])
    assert len(strength) == 5
    assert strength.max() / strength.min() <= 3.0 / 0.3 * 1.3  # a tint's mean differs a little from its luminance


@pytest.mark.parametrize("seed", range(4))
def test_a_bed_that_nobody_lies_in_keeps_its_blanket(seed: int) -> None:
    bed, look = Bed(), sample_look(np.random.default_rng(seed))
    made = make_bedding(np.random.default_rng(seed), bed, None, look.bed, 0.7)
    assert made.blanket and made.coverage == 0
    points = np.concatenate([mesh.vertices for mesh in made.blanket])
    on_it = (np.abs(points[:, 0]) < bed.length / 2 - 0.05) & (np.abs(points[:, 1]) < bed.width / 2 - 0.05)
    assert on_it.mean() > 0.3
    assert (points[on_it, 2] > 0).all() and points[:, 2].max() < 0.6
    assert not make_bedding(np.random.default_rng(seed), bed, None, look.bed, 0.0).blanket


def test_an_open_room_holds_its_people_on_its_floor() -> None:
    figures = [person(1, (0.0, 0.0, 0.4), upright=True), person(2, (1.5, 1.0, 0.4), upright=True)]
    made = compose_open(np.random.default_rng(3), figures)
    floor = min(float(mesh.vertices[:, 2].min()) for mesh in figures[0].meshes)
    lowest = min(float(mesh.vertices[:, 2].min()) for mesh in made.meshes)
    assert lowest == pytest.approx(floor, abs=2e-3)
    assert {mesh.instance for mesh in made.meshes} == {0, 1, 2}
    assert made.blanket_coverage == 0


def test_a_window_shows_a_bright_sky_over_a_darker_soft_skyline() -> None:
    for seed in range(8):
        view = textures.outlook(np.random.default_rng(seed)).astype(float)
        top, bottom = view[: len(view) // 25].mean(), view[5 * len(view) // 8 :].mean()
        assert top > 195 and top > bottom + 50
        assert np.abs(np.diff(view, axis=0)).max() < 40, "out of focus"
        assert np.ptp(view.mean((0, 1))) < 30, "muted"
