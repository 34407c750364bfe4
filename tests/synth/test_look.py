"""Skin, clothes and hair: clean cuts, nothing of the skin through the cloth."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from calibration.camera import CameraModel
from calibration.viewpoint import Viewpoint
from synth.body.anny_body import AVERAGE_ADULT, anny_body
from synth.body.body_model import JOINT_INDEX, Pose
from synth.body.measure import vertex_areas
from synth.color import from_hex, linear
from synth.look.anatomy import Anatomy
from synth.look.clothes import PATIENT_OUTFITS, STAFF_OUTFITS, VISITOR_OUTFITS, Wardrobe
from synth.look.fabric import footwear, print_tile
from synth.look.flat import laid_flat
from synth.look.fringe import Fringe
from synth.look.garment import cut
from synth.look.glasses import Glasses
from synth.look.hair import BEARDS, STYLES, Hair
from synth.look.skin import MONK_SCALE, Skin
from synth.look.skirt import Skirt
from synth.pose.bank import pose_bank
from synth.render.mesh import Mesh
from synth.render.numba_renderer import render_depth_ids

OUTFITS = sorted({*PATIENT_OUTFITS, *STAFF_OUTFITS, *VISITOR_OUTFITS})


@cache
def anatomy() -> Anatomy:
    return Anatomy(anny_body().topology)


@cache
def wardrobe() -> Wardrobe:
    return Wardrobe(anatomy())


def standing() -> Pose:
    return Pose(np.eye(3), np.zeros(3), np.zeros((21, 3)))


def test_a_cut_follows_the_fields_zero_line() -> None:
    a = anatomy()
    field = a.z - 0.0123
    piece = cut(field, a.topology.triangles)
    height = piece.on(a.z.astype(np.float32))
    at_edge = piece.a != piece.b
    assert at_edge.any() and height.min() > 0.0
    # Linear along each edge, so the hem is flat to the clamp that keeps slivers away.
    assert np.abs(height[at_edge] - 0.0123).max() < 0.002


def test_a_cut_and_its_complement_make_the_whole_surface() -> None:
    a = anatomy()
    field = (a.z - 0.2).astype(np.float64)

    def area(vertices: np.ndarray, triangles: np.ndarray) -> float:
        p, q, r = (vertices[triangles[:, k]] for k in range(3))
        return float(np.linalg.norm(np.cross(q - p, r - p), axis=1).sum() / 2)

    surface = a.topology.template
    parts = sum(
        area(piece.on(surface), piece.triangles)
        for piece in (cut(field, a.topology.triangles), cut(-field, a.topology.triangles))
    )
    assert parts == pytest.approx(area(surface, a.topology.triangles), rel=1e-4)


def test_a_cut_keeps_the_triangles_orientation() -> None:
    a = anatomy()
    piece = cut(a.z - 0.2, a.topology.triangles)
    surface = piece.on(a.topology.template)
    p, q, r = (surface[piece.triangles[:, k]] for k in range(3))
    facing = (np.cross(q - p, r - p) * piece.on(a.template_normals)[piece.triangles[:, 0]]).sum(1)
    assert (facing > -1e-9).mean() > 0.98


@pytest.mark.parametrize("outfit", OUTFITS)
def test_cloth_stays_clear_of_the_skin_it_covers(outfit: str) -> None:
    body, a = anny_body(), anatomy()
    rng = np.random.default_rng(OUTFITS.index(outfit))
    rest = body.rest(body.sample_shape(rng, 50.0))
    normals = a.normals(rest.vertices)
    posed = body.pose(rest, standing())
    dressed = wardrobe().dress(rng, rest, normals, posed, outfit, 3)
    assert dressed.meshes and dressed.hidden.any()
    shown = np.unique(a.topology.triangles[~dressed.hidden])
    skin_normals = a.normals(posed.vertices)
    for mesh in dressed.meshes:
        assert mesh.instance == 3
        assert np.isfinite(mesh.vertices).all() and 0 <= mesh.colors.min() <= mesh.colors.max() <= 1
        # Cloth lies outside the skin that is still drawn beneath it, near the hems.
        tree = cKDTree(posed.vertices[shown])
        distance, nearest = tree.query(mesh.vertices)
        above = ((mesh.vertices - posed.vertices[shown][nearest]) * skin_normals[shown][nearest]).sum(1)
        touching = above[distance < 0.01]
        assert len(touching) == 0 or (touching > -0.004).mean() > 0.97


@pytest.mark.parametrize("outfit", OUTFITS)
@pytest.mark.parametrize(("posture", "painted"), [("supine", False), ("lateral_left", False), ("supine", True)])
def test_hardly_any_skin_pokes_through_the_cloth_of_somebody_lying(outfit: str, posture: str, painted: bool) -> None:
    body, a = anny_body(), anatomy()
    rng = np.random.default_rng(OUTFITS.index(outfit))
    rest = body.rest(body.sample_shape(rng, 50.0))
    posed = body.pose(rest, pose_bank().sample(rng, posture, 0.0))
    dressed = wardrobe().dress(rng, rest, a.normals(rest.vertices), posed, outfit, 1, painted=painted)
    shown = a.topology.triangles[~dressed.hidden]
    under = (dressed.worn > 0)[shown].all(1)  # what is drawn although cloth lies on it: a margin beneath the hems
    bare, covered = (
        Mesh(posed.vertices, shown[rows], np.zeros_like(posed.vertices), number)
        for rows, number in ((~under, 1), (under, 2))
    )
    cloth = [replace(mesh, instance=3) for mesh in dressed.meshes]
    middle = posed.keypoints.mean(0)
    camera = CameraModel(240, 240, 200.0, 200.0, 119.5, 119.5)
    seen = {1: 0, 2: 0, 3: 0}
    for azimuth in (40.0, 100.0, -70.0):
        view = Viewpoint(azimuth, 45.0, 2.2, 0.0, tuple(float(v) for v in middle)).camera_from_bed
        _, instance, _ = render_depth_ids([bare, covered, *cloth], view, camera)
        for number in seen:
            seen[number] += int((instance == number).sum())
    assert seen[3] > 1000
    assert seen[2] < 0.02 * seen[3]


@pytest.mark.parametrize("outfit", OUTFITS)
def test_a_painted_outfit_lies_on_the_skin_and_the_same_as_cloth_hangs_off_it(outfit: str) -> None:
    body, a = anny_body(), anatomy()
    rest = body.rest(AVERAGE_ADULT)
    posed = body.pose(rest, standing())
    surface = trimesh.Trimesh(posed.vertices, a.topology.triangles, process=False)
    skin = cKDTree(trimesh.sample.sample_surface(surface, 200_000, seed=1)[0])  # some 3 mm apart
    furthest, covered = {}, {}
    for painted in (True, False):
        rng = np.random.default_rng(4)
        dressed = wardrobe().dress(rng, rest, a.normals(rest.vertices), posed, outfit, 1, painted=painted)
        points = np.concatenate([mesh.vertices for mesh in dressed.meshes])
        furthest[painted] = float(np.percentile(skin.query(points)[0], 95))
        covered[painted] = float(vertex_areas(posed.vertices, a.topology.triangles[dressed.hidden]).sum())
    assert furthest[True] < 0.006, "two layers and a sock at most"
    assert furthest[False] > 0.012
    assert covered[True] == pytest.approx(covered[False], rel=0.45)


def test_a_painted_gown_is_one_piece_from_the_collar_to_the_knees() -> None:
    body, a = anny_body(), anatomy()
    rest = body.rest(AVERAGE_ADULT)
    posed = body.pose(rest, standing())
    shod = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        dressed = wardrobe().dress(rng, rest, a.normals(rest.vertices), posed, "gown", 1, painted=True)
        gown = dressed.meshes[-1]
        shod += len(dressed.meshes) - 1
        low, high = gown.vertices[:, 1].min(), gown.vertices[:, 1].max()  # SMPL-X axes here: y is up
        knees, shoulders = posed.keypoints[13:15, 1].mean(), posed.keypoints[5:7, 1].mean()
        assert abs(low - knees) < 0.16 and high > shoulders
        bare = dressed.worn == 0
        assert bare[a.head > 0.9].all() and bare[a.hand > 0.9].all()
    assert shod < 6


def test_an_upper_layer_lies_outside_the_lower_one() -> None:
    body, a = anny_body(), anatomy()
    rest = body.rest(AVERAGE_ADULT)
    posed = body.pose(rest, standing())
    for seed in range(6):
        dressed = wardrobe().dress(np.random.default_rng(seed), rest, a.normals(rest.vertices), posed, "scrubs", 1)
        thickness = {}
        for name, level, mesh in (("trousers", 0.0, dressed.meshes[-2]), ("top", -0.3, dressed.meshes[-1])):
            pattern = wardrobe()._cut(name, level)
            thickness[name] = np.full(len(posed.vertices), np.nan)
            whole = pattern.a == pattern.b  # cloth vertices right over a skin vertex
            over = pattern.a[whole]
            thickness[name][over] = np.linalg.norm(mesh.vertices[whole] - posed.vertices[over], axis=1)
        both = np.isfinite(thickness["trousers"]) & np.isfinite(thickness["top"])
        assert both.sum() > 100
        assert (thickness["top"][both] > thickness["trousers"][both] + 0.002).all()


def test_an_unknown_outfit_is_refused() -> None:
    body = anny_body()
    rest = body.rest(AVERAGE_ADULT)
    with pytest.raises(ValueError, match="armour"):
        wardrobe().dress(
            np.random.default_rng(0), rest, anatomy().normals(rest.vertices), body.pose(rest, standing()), "armour", 1
        )


def test_the_monk_scale_runs_from_light_to_dark() -> None:
    skin = Skin(anatomy())
    hair = np.full(3, 0.02, np.float32)
    brightness = [skin.paint(np.random.default_rng(0), tone, hair).mean() for tone in range(1, 11)]
    # The fairest skin reflects half the light, not all of it; the darkest a few per cent.
    assert 0.4 < brightness[0] < 0.65 and brightness[-1] < 0.06
    assert all(a > b for a, b in pairwise(brightness[2:]))


def test_linear_light_matches_the_standards_values() -> None:
    # IEC 61966-2-1: 0.5 encodes 0.21404; 0.04 lies on the straight piece.
    np.testing.assert_allclose(linear([0.0, 0.04, 0.5, 1.0]), [0.0, 0.04 / 12.92, 0.214041, 1.0], atol=1e-6)
    np.testing.assert_allclose(from_hex(MONK_SCALE[9]) * 255, [0x29, 0x24, 0x20])


@pytest.mark.parametrize("kind", ["stripes", "bands", "checks", "dots", "diamonds"])
def test_prints_hold_two_colours_and_repeat(kind: str) -> None:
    ground, ink = np.full(3, 0.9, np.float32), np.full(3, 0.1, np.float32)
    tile = print_tile(np.random.default_rng(1), ground, ink, kind)
    assert tile.shape == (64, 64, 3) and tile.dtype == np.uint8
    shades = {int(shade) for shade in np.unique(tile)}
    assert len(shades) == (3 if kind == "checks" else 2)
    assert min(shades) == pytest.approx(25.5, abs=1) and max(shades) == pytest.approx(229.5, abs=1)


def test_a_print_keeps_its_size_all_over_the_body() -> None:
    a = anatomy()
    uv = laid_flat(a).astype(np.float64)
    worn = (a.head < 0.5) & (a.hand < 0.5) & (a.foot < 0.5)
    corners = a.topology.triangles[worn[a.topology.triangles].all(1)]
    surface, print_ = (points[corners[:, 1:]] - points[corners[:, :1]] for points in (a.template, uv))
    # Singular values of the map from a triangle to its print: lengths in the print for one metre of cloth.
    squared = np.linalg.inv(surface @ surface.transpose(0, 2, 1)) @ (print_ @ print_.transpose(0, 2, 1))
    lengths = np.sqrt(np.abs(np.linalg.eigvals(squared)))
    area = np.linalg.norm(np.cross(surface[:, 0], surface[:, 1]), axis=1)
    even = (lengths.min(1) > 0.6) & (lengths.max(1) < 1.6)
    assert area[even].sum() > 0.93 * area.sum()


def test_socks_and_shoes_are_of_muted_colours() -> None:
    colors = [footwear(np.random.default_rng(seed)).color for seed in range(40)]
    assert max(float(np.ptp(color)) for color in colors) < 0.2


def test_cloth_lies_on_the_shoulders_and_stands_off_below() -> None:
    body, a = anny_body(), anatomy()
    rest = body.rest(AVERAGE_ADULT)
    posed = body.pose(rest, standing())
    normals = a.normals(rest.vertices)
    dressed = wardrobe().dress(np.random.default_rng(1), rest, normals, posed, "scrubs", 1)
    shoulders = (dressed.worn > 0) & (a.z > a.neck_z - 0.05)
    waist = (dressed.worn > 0) & (np.abs(a.z - a.hip_z - 0.15) < 0.05) & (a.arm < 0.3)
    assert dressed.worn[shoulders].mean() < 0.5 * dressed.worn[waist].mean()


def test_shorts_cover_the_upper_half_of_the_thigh() -> None:
    body, a = anny_body(), anatomy()
    rest = body.rest(AVERAGE_ADULT)
    posed = body.pose(rest, standing())
    for seed in range(6):
        dressed = wardrobe().dress(np.random.default_rng(seed), rest, a.normals(rest.vertices), posed, "shorts", 1)
        above = (a.leg > 0.5) & (a.arm < 0.3) & (a.z > 0.5 * (a.knee_z + a.hip_z))
        assert (dressed.worn[above] > 0).mean() > 0.95


def test_a_skirts_print_is_not_drawn_out_between_spread_legs() -> None:
    body = anny_body()
    rest = body.rest(AVERAGE_ADULT)
    pose = standing()
    pose.joints[[JOINT_INDEX["left_hip"], JOINT_INDEX["right_hip"]]] = [[0, 0.5, 0], [0, -0.5, 0]]
    vertices, _, uv = Skirt(anatomy(), 0.0).drape(np.random.default_rng(0), rest, body.pose(rest, pose), 0.02, 0.02)
    cloth, print_ = (np.linalg.norm(np.diff(x.reshape(16, 44, -1), axis=1), axis=2) for x in (vertices, uv))
    assert np.quantile(print_ / cloth, 0.1) > 0.7 and np.quantile(print_ / cloth, 0.9) < 1.4


def test_hair_ends_in_pointed_locks() -> None:
    a = anatomy()
    scalp = cut((a.z - a.eye_z - 0.05).astype(np.float64), a.topology.triangles)
    vertices = scalp.on(a.topology.template)
    rim = vertices[scalp.a != scalp.b]
    corners, triangles, roots = Fringe(scalp).grow(np.random.default_rng(0), vertices, 0.02)
    assert triangles.max() + 1 == len(corners) == len(roots) >= 3 * len(rim)
    below = rim[:, 2].min() - corners[:, 2].reshape(-1, 3)
    assert below[:, :2].max() < 0.003, "rooted in the rim"
    assert 0.008 < below[:, 2].max() < 0.03 and below[:, 2].std() > 0.002, "of uneven length"


@pytest.mark.parametrize("style", STYLES)
def test_hair_covers_the_crown_but_not_the_face(style: str) -> None:
    body, a = anny_body(), anatomy()
    hair = Hair(a)
    rng = np.random.default_rng(0)
    rest = body.rest(AVERAGE_ADULT)
    posed = body.pose(rest, standing())
    mesh = hair.grow(
        rng,
        rest,
        a.normals(rest.vertices),
        posed,
        style,
        hair.color(rng, 40.0),
        2,
        np.zeros(len(rest.vertices), np.float32),
    )
    if style == "bald":
        assert mesh is None
        return
    assert mesh is not None
    if style != "receding":
        assert mesh.vertices[:, 1].max() > posed.vertices[:, 1].max()  # SMPL-X axes here: y is up
    eyes = posed.keypoints[1:3]
    assert min(np.linalg.norm(mesh.vertices - eye, axis=1).min() for eye in eyes) > 0.03


@pytest.mark.parametrize("kind", BEARDS)
def test_a_beard_grows_below_the_nose_and_leaves_the_eyes_free(kind: str) -> None:
    body, a = anny_body(), anatomy()
    rng = np.random.default_rng(0)
    rest = body.rest(AVERAGE_ADULT)
    posed = body.pose(rest, standing())
    color = np.full(3, 0.03, np.float32)
    mesh = Hair(a).grow_beard(rng, rest, a.normals(rest.vertices), posed, kind, color, 2)
    if kind == "none":
        assert mesh is None
        return
    assert mesh is not None and len(mesh.triangles) > 30
    nose, eyes = posed.keypoints[0], posed.keypoints[1:3]
    assert mesh.vertices[:, 1].max() < nose[1] + 0.03, "SMPL-X axes here: y is up"
    assert min(np.linalg.norm(mesh.vertices - eye, axis=1).min() for eye in eyes) > 0.03


def test_women_and_children_have_no_beards() -> None:
    hair, rng = Hair(anatomy()), np.random.default_rng(0)
    assert {hair.beard(rng, age, sex) for age, sex in ((40, "female"), (9, "male")) for _ in range(40)} == {"none"}


def test_most_people_have_hair() -> None:
    hair, rng = Hair(anatomy()), np.random.default_rng(0)
    styles = [hair.style(rng, age, sex) for age in (25.0, 80.0) for sex in ("female", "male") for _ in range(200)]
    assert styles.count("bald") / len(styles) < 0.12
    assert set(styles) == set(STYLES)


@pytest.mark.parametrize("seed", range(4))
def test_glasses_sit_before_the_eyes_and_reach_the_ears(seed: int) -> None:
    body, a = anny_body(), anatomy()
    rest = body.rest(AVERAGE_ADULT)
    posed = body.pose(rest, standing())
    mesh = Glasses(a).put_on(np.random.default_rng(seed), rest, posed, 1)
    eyes, ears = posed.keypoints[1:3], posed.keypoints[3:5]
    for eye in eyes:
        distance = np.linalg.norm(mesh.vertices - eye, axis=1)
        assert 0.008 < distance.min() < 0.04
    for ear in ears:
        assert np.linalg.norm(mesh.vertices - ear, axis=1).min() < 0.05
    assert np.ptp(mesh.vertices[:, 0]) < 0.18


def test_old_people_are_greyer() -> None:
    hair = Hair(anatomy())
    spread = {
        age: np.mean(
            [np.ptp(c) / max(c.max(), 1e-6) for c in (hair.color(np.random.default_rng(s), age) for s in range(60))]
        )
        for age in (20.0, 85.0)
    }
    assert spread[85.0] < spread[20.0] - 0.2
