"""The default body: who it makes, and what its joints are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from runtime.skeleton import KEYPOINTS
from synth.body.ages import draw_age
from synth.body.anny_body import AVERAGE_ADULT, anny_body
from synth.body.body_model import Pose, Shape

T_POSE = Pose(np.eye(3), np.zeros(3), np.zeros((21, 3)))


def test_adults_have_human_height_and_mass() -> None:
    body = anny_body()
    rng = np.random.default_rng(3)
    people = [body.rest(body.sample_shape(rng, draw_age(rng))) for _ in range(40)]
    heights, bmis = np.array([p.height_m for p in people]), np.array([p.bmi for p in people])
    assert heights.min() > 1.35 and heights.max() < 2.0
    assert bmis.min() > 13.0 and bmis.max() < 42.0
    assert np.ptp(bmis) > 8.0  # both thin and heavy people are met


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
