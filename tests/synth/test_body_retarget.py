"""Poses written in SMPL-X's joints move anny's bones as SMPL-X means them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from synth.body.anny_body import AVERAGE_ADULT, AnnyBody, anny_body
from synth.body.body_model import JOINT_INDEX, JOINTS, PARENTS, Pose
from synth.body.retarget import rotation_between

angles = st.lists(st.floats(-1.2, 1.2), min_size=63, max_size=63)
NOSE, LEFT_WRIST, RIGHT_WRIST, LEFT_ANKLE = 0, 9, 10, 15


@pytest.fixture(scope="module")
def body() -> AnnyBody:
    return anny_body()


def bent(**joints: tuple[float, float, float]) -> Pose:
    vectors = np.zeros((21, 3))
    for name, degrees in joints.items():
        vectors[JOINT_INDEX[name]] = np.radians(degrees)
    return Pose(np.eye(3), np.zeros(3), vectors)


@settings(max_examples=12, deadline=None)
@given(angles)
def test_skin_agrees_with_annys_own_skinning(numbers: list[float]) -> None:
    # The independent source is anny's forward pass, given the same bone orientations in the world.
    import torch

    body = anny_body()
    rest = body.rest(AVERAGE_ADULT)
    joints = np.array(numbers).reshape(21, 3)
    root = Rotation.from_rotvec(joints[3] * 2).as_matrix()
    pose = Pose(root, np.array([0.3, -0.2, 0.5]), joints)
    rotation, position = body._retargeter.bone_transforms(rest.heads, pose)
    with torch.no_grad():
        coefficients = body._model.get_phenotype_blendshape_coefficients(**AVERAGE_ADULT.parameters)
        at_rest = body._model.get_rest_model(coefficients)["rest_bone_poses"][0].numpy()
        world = np.tile(np.eye(4, dtype=np.float32), (len(rotation), 1, 1))
        world[:, :3, :3] = rotation @ at_rest[:, :3, :3]
        world[0, :3, 3] = position[0]
        theirs = body._model(
            pose_parameters=torch.tensor(world[None]),
            phenotype_kwargs=AVERAGE_ADULT.parameters,
            pose_parameterization="world-orient",
        )["vertices"][0].numpy()
    np.testing.assert_allclose(body.pose(rest, pose).vertices, theirs, atol=2e-4)


def test_pelvis_lies_where_the_pose_says(body: AnnyBody) -> None:
    rest = body.rest(AVERAGE_ADULT)
    _, position = body._retargeter.bone_transforms(rest.heads, bent().moved(np.array([1.0, 2.0, 3.0])))
    np.testing.assert_allclose(position[0], [1.0, 2.0, 3.0])


def test_t_pose_stretches_the_arms_sideways(body: AnnyBody) -> None:
    positions = body.joint_positions(body.rest(AVERAGE_ADULT))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        arm = positions[f"{side}_wrist"] - positions[f"{side}_shoulder"]
        np.testing.assert_allclose(arm / np.linalg.norm(arm), [sign, 0, 0], atol=1e-6)
        assert positions[f"{side}_ankle"][1] < positions[f"{side}_knee"][1] < positions[f"{side}_hip"][1] < 0


def test_knee_flexion_carries_the_ankle_backward(body: AnnyBody) -> None:
    rest = body.rest(AVERAGE_ADULT)
    straight, flexed = (body.pose(rest, pose).keypoints for pose in (bent(), bent(left_knee=(90, 0, 0))))
    assert flexed[LEFT_ANKLE, 2] < straight[LEFT_ANKLE, 2] - 0.3  # SMPL-X's z points to the front
    assert flexed[LEFT_ANKLE, 1] > straight[LEFT_ANKLE, 1] + 0.3


def test_hip_flexion_carries_the_ankle_forward(body: AnnyBody) -> None:
    rest = body.rest(AVERAGE_ADULT)
    assert body.pose(rest, bent(left_hip=(-80, 0, 0))).keypoints[LEFT_ANKLE, 2] > 0.6


def test_elbow_flexion_carries_the_wrist_forward(body: AnnyBody) -> None:
    rest = body.rest(AVERAGE_ADULT)
    assert body.pose(rest, bent(left_elbow=(0, -90, 0))).keypoints[LEFT_WRIST, 2] > 0.15
    assert body.pose(rest, bent(right_elbow=(0, 90, 0))).keypoints[RIGHT_WRIST, 2] > 0.15


def test_finger_curl_brings_the_fingertips_down_toward_the_palm(body: AnnyBody) -> None:
    rest = body.rest(AVERAGE_ADULT)
    hands = np.zeros((2, 15, 3))
    hands[0, 3:6, 2], hands[1, 3:6, 2] = -1.0, 1.0
    curled = Pose(np.eye(3), np.zeros(3), np.zeros((21, 3)), hands)
    names = body.topology.bone_names
    for letter in "LR":
        tip = names.index(f"finger3-3.{letter}")
        flat_tip = body._retargeter.bone_transforms(rest.heads, bent())[1][tip]
        assert body._retargeter.bone_transforms(rest.heads, curled)[1][tip][1] < flat_tip[1] - 0.02


@settings(max_examples=10, deadline=None)
@given(angles)
def test_a_mirrored_pose_gives_the_mirrored_skeleton(numbers: list[float]) -> None:
    from runtime.skeleton import MIRRORED

    body = anny_body()
    rest = body.rest(AVERAGE_ADULT)
    pose = Pose(np.eye(3), np.array([0.1, 0.2, 0.3]), np.array(numbers).reshape(21, 3))
    plain, mirrored = body.pose(rest, pose).keypoints, body.pose(rest, pose.mirrored()).keypoints
    np.testing.assert_allclose(mirrored[list(MIRRORED)] * [1, -1, 1], plain, atol=5e-3)


def test_mirroring_twice_gives_the_pose_back() -> None:
    rng = np.random.default_rng(0)
    pose = Pose(Rotation.random(rng=rng).as_matrix(), rng.random(3), rng.random((21, 3)), rng.random((2, 15, 3)))
    back = pose.mirrored().mirrored()
    for name in ("root", "pelvis", "joints", "hands"):
        np.testing.assert_allclose(getattr(back, name), getattr(pose, name), atol=1e-12)


def test_every_joint_has_a_parent_listed_before_it() -> None:
    seen = {"pelvis"}
    for joint in JOINTS:
        assert PARENTS[joint] in seen
        seen.add(joint)


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=6))
def test_the_smallest_rotation_takes_start_to_end(numbers: list[float]) -> None:
    start, end = np.array(numbers[:3]), np.array(numbers[3:])
    lengths = float(np.linalg.norm(start)), float(np.linalg.norm(end))
    if min(lengths) < 0.1 or start @ end < -0.99 * lengths[0] * lengths[1]:
        return
    turned = rotation_between(start, end) @ (start / np.linalg.norm(start))
    np.testing.assert_allclose(turned, end / np.linalg.norm(end), atol=1e-6)


def test_a_pose_refuses_what_is_no_rotation() -> None:
    with pytest.raises(ValueError, match="rotation"):
        Pose(np.eye(3) * 2, np.zeros(3), np.zeros((21, 3)))
