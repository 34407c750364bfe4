"""The default body: who it makes, and what its joints are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import trimesh

from runtime.skeleton import KEYPOINTS
from synth.body.ages import draw_age
from synth.body.anny_body import AVERAGE_ADULT, AnnyBody, anny_body
from synth.body.body_model import Pose, Shape

T_POSE = Pose(np.eye(3), np.zeros(3), np.zeros((21, 3)))


DENSITY = 980.0  # kg/m³


def weighed(body: AnnyBody, shape: Shape) -> float:
    """Body mass index, kg/m², by trimesh's volume, which shares nothing with `synth.body.measure`."""
    rest = body.rest(shape)
    surface = trimesh.Trimesh(rest.vertices, body.topology.triangles, process=False)
    return float(abs(surface.volume)) * DENSITY / float(np.ptp(rest.vertices[:, 2])) ** 2


def test_adults_are_as_tall_as_adults_and_from_starved_to_very_heavy_in_both_sexes() -> None:
    body, rng = anny_body(), np.random.default_rng(3)
    people = [body.rest(body.sample_shape(rng, draw_age(rng))) for _ in range(400)]
    heights = np.array([person.height_m for person in people])
    assert heights.min() > 1.35 and heights.max() < 2.05
    for sex in ("female", "male"):
        bmis = np.array([person.bmi for person in people if person.shape.sex == sex])
        assert 12.5 < bmis.min() < 14.5 and 38.5 < bmis.max() < 40.5
        assert 22.0 < np.median(bmis) < 28.0
        assert np.mean(bmis < 16.0) > 0.01 and np.mean(bmis > 35.0) > 0.03


def test_bodies_are_mixed_as_anny_mixes_them() -> None:
    body, rng = anny_body(), np.random.default_rng(5)
    for age_years in (0.0, 0.4, 3.0, 12.0, 17.0, 40.0, 64.0, 95.0):
        parameters = body.sample_shape(rng, age_years).parameters | {"weight": float(rng.uniform(-0.25, 1.6))}
        theirs = body._model.get_phenotype_blendshape_coefficients(**parameters)
        np.testing.assert_array_equal(body._coefficients(parameters), theirs)
        vertices, heads = body._rest_arrays(parameters)
        rest = body._model.get_rest_model(theirs)
        np.testing.assert_array_equal(vertices, rest["rest_vertices"][0])
        np.testing.assert_allclose(heads, rest["rest_bone_heads"][0], atol=1e-6)


@pytest.mark.parametrize("sex", ["female", "male"])
@pytest.mark.parametrize("bmi", [13.0, 16.0, 20.0, 25.0, 32.0, 40.0])
def test_an_adult_weighs_what_is_asked_for_whoever_it_is(sex: str, bmi: float) -> None:
    body, rng = anny_body(), np.random.default_rng(int(bmi))
    shapes = (body.sample_shape(rng, float(rng.uniform(18.0, 90.0))) for _ in range(40))
    asked = [body.with_bmi(shape, bmi) for shape in shapes if shape.sex == sex]
    assert len(asked) > 8
    np.testing.assert_allclose([weighed(body, shape) for shape in asked], bmi, atol=0.5)


# Medians of both sexes, WHO Child Growth Standards (2006) and Reference (2007), kg/m².
@pytest.mark.parametrize(("age_years", "bmi"), [(0.5, 17.1), (1.0, 16.6), (2.0, 15.9), (5.0, 15.3), (10.0, 16.5)])
def test_children_weigh_what_children_of_their_age_weigh(age_years: float, bmi: float) -> None:
    body, rng = anny_body(), np.random.default_rng(1)
    weighing = [weighed(body, body.sample_shape(rng, age_years)) for _ in range(60)]
    assert np.median(weighing) == pytest.approx(bmi, abs=0.7)
    assert np.ptp(weighing) > 3.0


def test_a_child_is_smaller_than_an_adult() -> None:
    body = anny_body()
    child = body.rest(body.sample_shape(np.random.default_rng(1), age_years=6.0))
    assert 0.9 < child.height_m < 1.35


def test_men_are_taller_than_women_alike_in_everything_else() -> None:
    body = anny_body()
    heights = {
        sex: body.rest(Shape(40.0, sex, AVERAGE_ADULT.parameters | {"gender": gender})).height_m
        for sex, gender in (("male", 0.0), ("female", 1.0))
    }
    assert heights["male"] > heights["female"] + 0.05


def test_the_skin_of_a_joint_lies_about_it_and_on_its_own_side() -> None:
    body = anny_body()
    vertices = body.topology.template.astype(float)
    keypoints = body._regressor @ vertices
    for k, (name, over) in enumerate(zip(KEYPOINTS, body.joint_skin.T, strict=True)):
        distance = np.linalg.norm(vertices - keypoints[k], axis=1)
        assert over[distance.argmin()], name
        assert distance[over].max() < 0.45, name  # the longest bones' skin
        if k >= 5:
            assert (vertices[over, 0] * np.sign(keypoints[k, 0])).min() > -0.01, name


def test_keypoints_are_in_coco_order() -> None:
    body = anny_body()
    points = body.pose(body.rest(AVERAGE_ADULT), T_POSE).keypoints  # SMPL-X axes: y up, x to the left
    assert points.shape == (17, 3)
    assert (points[1::2, 0] > 0).all() and (points[2::2, 0] < 0).all()
    assert points[0, 1] > points[5, 1] > points[11, 1] > points[13, 1] > points[15, 1]


def test_blend_moves_the_resting_skin_to_the_posed_skin() -> None:
    body = anny_body()
    rest = body.rest(AVERAGE_ADULT)
    rng = np.random.default_rng(0)
    posed = body.pose(rest, Pose(np.eye(3), np.zeros(3), rng.normal(0, 0.4, (21, 3))))
    moved = np.einsum("vij,vj->vi", posed.blend[:, :, :3], rest.vertices) + posed.blend[:, :, 3]
    np.testing.assert_allclose(moved, posed.vertices, atol=1e-5)


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, synth.body.anny_body, synth.people, synth.pose.settle;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'anny', 'mujoco')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
