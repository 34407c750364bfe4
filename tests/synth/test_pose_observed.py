"""People lie as people were observed to lie: percentiles of 4,590 published fits, in the draws and in the bank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.body.body_model import JOINT_INDEX
from synth.pose.bank import PoseBank
from synth.pose.clinical import SIDES, joint_vectors
from synth.pose.in_bed import sample_in_bed
from synth.pose.observed import LATERAL, SUPINE, draw_limbs, quantile
from synth.pose.room import LOWER, ON_THE_BACK, UPPER, arm_points, leg_points

BODIES = (("", SUPINE, ON_THE_BACK), ("lower_", LATERAL, LOWER), ("upper_", LATERAL, UPPER))
percents = st.floats(-120, 120)


@given(st.lists(percents, min_size=3, max_size=3).map(sorted), st.floats(0, 1), st.floats(0, 1))
def test_a_quantile_goes_through_its_percentiles_and_never_falls(
    percentiles: list[float], one: float, other: float
) -> None:
    low, middle, high = percentiles
    assert quantile((low, middle, high), np.array([0.05, 0.5, 0.95])) == pytest.approx([low, middle, high])
    assert quantile((low, middle, high), min(one, other)) <= quantile((low, middle, high), max(one, other)) + 1e-9


@pytest.mark.parametrize(("limb", "spreads", "room"), BODIES)
def test_limbs_are_drawn_as_people_hold_them(limb: str, spreads: dict, room: object) -> None:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    drawn = [draw_limbs(rng, spreads, room, limb) for _ in range(600)]  # type: ignore[arg-type]
    for name in drawn[0]:
        vectors, wanted = np.array([found[name] for found in drawn]), spreads[limb + name]
        for axis in range(3):
            assert np.median(vectors[:, axis]) == pytest.approx(wanted[axis][1], abs=12), (name, axis)
            assert np.percentile(vectors[:, axis], [5, 95]) == pytest.approx(wanted[axis][::2], abs=22), (name, axis)
        sizes = np.linalg.norm(vectors, axis=1)
        assert np.percentile(sizes, [5, 50, 95]) == pytest.approx(wanted.angle, abs=12), name
    hips, knees = (np.linalg.norm([found[name] for found in drawn], axis=1) for name in ("hip", "knee"))
    assert 0.4 < np.corrcoef(hips, knees)[0, 1] < 0.75, "a hip goes with its own knee"


def test_an_arm_hangs_at_the_side_and_bends_forward() -> None:
    down, straight = np.array([0.0, 0.0, -90.0]), np.zeros(3)
    elbow, palm = arm_points(np.zeros(3), down, straight)
    np.testing.assert_allclose(elbow, [0.165, -0.26, 0.0], atol=1e-9)
    np.testing.assert_allclose(palm - elbow, [0.0, -0.33, 0.0], atol=1e-9)
    _, bent = arm_points(np.zeros(3), down, np.array([0.0, -90.0, 0.0]))
    np.testing.assert_allclose(bent - elbow, [0.0, 0.0, 0.33], atol=1e-9)


def test_a_flexed_hip_brings_the_knee_forward_and_a_knee_bends_back() -> None:
    knee, heel = leg_points(np.array([-90.0, 0.0, 0.0]), np.array([90.0, 0.0, 0.0]))
    np.testing.assert_allclose(knee, [0.085, 0.0, 0.4], atol=1e-9)
    np.testing.assert_allclose(heel - knee, [0.0, -0.42, 0.0], atol=1e-9)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_right_side_is_the_left_sides_mirror_image(seed: int) -> None:
    left, right = (
        joint_vectors(sample_in_bed(np.random.default_rng(seed), f"lateral_{side}")[1]) for side in ("left", "right")
    )
    for joint, index in JOINT_INDEX.items():
        other = JOINT_INDEX[joint.replace("left", "#").replace("right", "left").replace("#", "right")]
        np.testing.assert_allclose(left[index], right[other] * [1, -1, -1], atol=1e-6, err_msg=joint)


def bank_vectors(posture: str, joint: str) -> np.ndarray:
    """(P, 3) degrees, of one class of the bank on a flat bed."""
    bank = PoseBank()
    return np.asarray(np.degrees(bank.joints[(bank.posture == posture) & (bank.backrest_deg == 0), JOINT_INDEX[joint]]))


def bank_limbs(limb: str, name: str) -> np.ndarray:
    """(P, 3) degrees as on the left: of both sides of people on their back, of one limb of those on their left side."""
    if not limb:
        return np.concatenate([bank_vectors("supine", f"{side}_{name}") * [1, sign, sign] for side, sign in SIDES])
    side, sign = SIDES[0] if limb == "lower_" else SIDES[1]
    return bank_vectors("lateral_left", f"{side}_{name}") * [1, sign, sign]


@pytest.mark.parametrize(("limb", "spreads"), [(limb, spreads) for limb, spreads, _ in BODIES])
@pytest.mark.parametrize("name", ["hip", "knee", "collar", "shoulder", "elbow", "ankle", "wrist"])
def test_limbs_in_the_bank_lie_as_peoples_do(limb: str, spreads: dict, name: str) -> None:  # type: ignore[type-arg]
    vectors, wanted = bank_limbs(limb, name), spreads[limb + name]
    for axis in range(3):
        assert np.median(vectors[:, axis]) == pytest.approx(wanted[axis][1], abs=18), axis
        assert np.percentile(vectors[:, axis], [5, 95]) == pytest.approx(wanted[axis][::2], abs=25), axis
    sizes = np.linalg.norm(vectors, axis=1)
    assert np.percentile(sizes, [5, 50, 95]) == pytest.approx(wanted.angle, abs=18)


@pytest.mark.parametrize("name", ["spine1", "spine2", "spine3", "neck", "head"])
@pytest.mark.parametrize(("posture", "spreads"), [("supine", SUPINE), ("lateral_left", LATERAL)])
def test_trunks_in_the_bank_lie_as_peoples_do(posture: str, spreads: dict, name: str) -> None:  # type: ignore[type-arg]
    vectors, wanted = bank_vectors(posture, name), spreads[name]
    for axis in range(3):
        found = np.percentile(vectors[:, axis], [5, 50, 95])
        assert found == pytest.approx(wanted[axis], abs=20 if name == "spine1" else 12), axis  # a mattress flattens it


@pytest.mark.parametrize("posture", ["supine", "lateral_left"])
def test_left_and_right_are_nearly_independent_and_a_hip_goes_with_its_own_knee(posture: str) -> None:
    size = {joint: np.linalg.norm(bank_vectors(posture, joint), axis=1) for joint in JOINT_INDEX}
    for name in ("hip", "knee", "elbow"):
        assert abs(np.corrcoef(size[f"left_{name}"], size[f"right_{name}"])[0, 1]) < 0.3, name
    for side, _ in SIDES:
        assert np.corrcoef(size[f"{side}_hip"], size[f"{side}_knee"])[0, 1] > 0.35, side


@pytest.mark.parametrize(("posture", "share"), [("supine", 0.37), ("lateral_left", 0.51)])
def test_a_hand_lies_on_trunk_or_face_as_often_as_peoples_does(posture: str, share: float) -> None:
    bent = np.concatenate([np.linalg.norm(bank_vectors(posture, f"{side}_elbow"), axis=1) for side, _ in SIDES]) > 100
    assert bent.mean() == pytest.approx(share, abs=0.12)
