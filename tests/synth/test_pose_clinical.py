"""Sampled postures keep to the joints' limits and face the way their names say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from synth.body.body_model import JOINT_INDEX, JOINTS
from synth.pose.clinical import (
    FACE_UP,
    joint_vectors,
    limits_of,
    sample_sitting,
    sample_upright,
    upright_root,
)
from synth.pose.in_bed import sample_in_bed

FRONT, UP, LEFT = np.array([0.0, 0, 1]), np.array([0.0, 1, 0]), np.array([1.0, 0, 0])
seeds = st.integers(0, 10_000)


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(["supine", "lateral_left", "prone", "knees_bent", "arm_over_head"]))
def test_every_joint_stays_within_its_limits(seed: int, posture: str) -> None:
    _, angles = sample_in_bed(np.random.default_rng(seed), posture)
    rotations = Rotation.from_rotvec(joint_vectors(angles))
    for joint in JOINTS:
        low, high = np.array(limits_of(joint), dtype=float).T
        wanted = np.clip(angles.get(joint, (0.0, 0.0, 0.0)), low, high)
        # Compared as rotations: beyond a quarter turn Euler angles are not unique.
        difference = Rotation.from_euler("XYZ", wanted, degrees=True).inv() * rotations[JOINT_INDEX[joint]]
        assert difference.magnitude() < 1e-6


def test_face_up_means_face_up_head_first() -> None:
    np.testing.assert_allclose(FACE_UP @ FRONT, [0, 0, 1])
    np.testing.assert_allclose(FACE_UP @ UP, [-1, 0, 0])
    np.testing.assert_allclose(FACE_UP @ LEFT, [0, 1, 0])


@pytest.mark.parametrize(
    ("posture", "body_axis", "bed_direction"),
    [
        ("supine", FRONT, (0, 0, 1)),
        ("prone", FRONT, (0, 0, -1)),
        ("lateral_left", LEFT, (0, 0, -1)),  # lying on the left side
        ("lateral_right", LEFT, (0, 0, 1)),
    ],
)
def test_lying_postures_turn_the_right_side_down(
    posture: str, body_axis: np.ndarray, bed_direction: tuple[int, int, int]
) -> None:
    for seed in range(20):
        root, _ = sample_in_bed(np.random.default_rng(seed), posture)
        assert root @ body_axis @ np.array(bed_direction) > np.cos(np.radians(35))
        assert (root @ UP)[0] < -0.9  # the head is at the head end


@given(st.floats(20, 60), seeds)
@settings(max_examples=20, deadline=None)
def test_fowler_lies_against_the_backrest_or_has_slid_down_from_it(backrest: float, seed: int) -> None:
    root, angles = sample_in_bed(np.random.default_rng(seed), "fowler", backrest)
    tilt = np.radians(backrest)
    leaning = np.degrees(np.arccos(np.clip(root @ FRONT @ [np.sin(tilt), 0, np.cos(tilt)], -1, 1)))
    assert leaning < 14 + 25  # the pelvis slides by 25 degrees at most
    if leaning > 14:
        assert angles["spine1"][0] > 5  # and the back bends up to the backrest
    vectors = joint_vectors(angles)
    for side in ("left", "right"):
        thigh = root @ Rotation.from_rotvec(vectors[JOINT_INDEX[f"{side}_hip"]]).as_matrix() @ -UP
        assert thigh[0] > -0.2 and thigh[2] > -0.35, "the legs point to the foot end, about along the mattress"


@given(st.floats(-180, 180))
def test_upright_people_face_their_yaw(yaw: float) -> None:
    root = upright_root(yaw)
    np.testing.assert_allclose(root @ FRONT, [np.cos(np.radians(yaw)), np.sin(np.radians(yaw)), 0], atol=1e-9)
    np.testing.assert_allclose(root @ UP, [0, 0, 1], atol=1e-9)
    assert np.linalg.det(root) == pytest.approx(1.0)


def test_bed_edge_sits_facing_the_chosen_side() -> None:
    for side in (-1.0, 1.0):
        root, angles = sample_sitting(np.random.default_rng(0), "bed_edge", side)
        assert (root @ FRONT)[1] * side > 0.9
        assert angles["left_hip"][0] < -70 and angles["left_knee"][0] > 65


def test_walking_moves_the_arms_against_the_legs() -> None:
    _, angles = sample_upright(np.random.default_rng(0), 0.0, "walking")
    left_leg_ahead = angles["left_hip"][0] < 0
    # Left shoulder y below zero carries the left arm forward.
    assert (angles["left_shoulder"][1] < 0) != left_leg_ahead


def test_an_unknown_posture_is_refused() -> None:
    with pytest.raises(ValueError, match="hovering"):
        sample_in_bed(np.random.default_rng(0), "hovering")
