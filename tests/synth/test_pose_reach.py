"""A hand goes where it is sent."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from calibration.bed import Bed
from synth.body.anny_body import AVERAGE_ADULT, anny_body
from synth.people import make_assistant, make_patient
from synth.pose.clinical import make_pose, sample_upright
from synth.pose.reach import reach


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from(["left", "right"]),
    st.floats(0.15, 0.4),
    st.floats(-0.3, 0.1),
    st.floats(-0.2, 0.2),
)
def test_the_wrist_arrives_at_a_target_within_reach(
    seed: int, side: str, ahead: float, up: float, across: float
) -> None:
    assume(np.linalg.norm([ahead, across, up]) < 0.49)
    body = anny_body()
    rest = body.rest(AVERAGE_ADULT)
    pose = make_pose(np.random.default_rng(seed), *sample_upright(np.random.default_rng(seed), 0.0, "standing"))
    bones = body.topology.bone_names
    letter = side[0].upper()
    shoulder = body._retargeter.bone_transforms(rest.heads, pose)[1][bones.index(f"upperarm01.{letter}")]
    target = shoulder + [ahead, across, up]
    moved = reach(pose, body.joint_positions(rest), side, target)
    wrist = body._retargeter.bone_transforms(rest.heads, moved)[1][bones.index(f"wrist.{letter}")]
    np.testing.assert_allclose(wrist, target, atol=1e-6)


def test_a_target_out_of_reach_is_pointed_at() -> None:
    body = anny_body()
    rest = body.rest(AVERAGE_ADULT)
    rng = np.random.default_rng(0)
    pose = make_pose(rng, *sample_upright(rng, 0.0, "standing"))
    moved = reach(pose, body.joint_positions(rest), "left", np.array([5.0, 0.2, 0.4]))
    keypoints = body.pose(rest, moved).keypoints
    arm = keypoints[9] - keypoints[5]
    assert arm[0] / np.linalg.norm(arm) > 0.95


def test_an_assistant_stands_beside_the_bed_with_a_hand_on_the_patient() -> None:
    bed = Bed()
    near = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        patient = make_patient(rng, bed, 1, "supine")
        helper = make_assistant(rng, patient, bed, 2)
        assert {mesh.instance for mesh in helper.meshes} == {2}
        skin = helper.meshes[0].vertices
        assert abs(float(skin[:, 2].min()) + bed.height) < 0.02
        hands, touched = helper.keypoints[9:11], patient.keypoints[[5, 6, 9, 10]]
        near.append(np.linalg.norm(hands[:, None] - touched, axis=2).min())
    assert np.median(near) < 0.15
