"""Settling drops a posture onto the mattress; the bank that ships holds what came to rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from calibration.errors import WardposeError
from synth.body.anny_body import AVERAGE_ADULT, anny_body
from synth.body.body_model import JOINT_INDEX, Pose
from synth.pose.bank import SHIPPED, PoseBank
from synth.pose.clinical import SIDES, relaxed_hands
from synth.pose.in_bed import sample_in_bed
from synth.pose.infant import INFANT_POSTURES, sample_infant
from synth.pose.make_bank import RECIPE, make_bank, write_bank
from synth.pose.mechanism import Build, skin_parts
from synth.pose.settle import Settler
from synth.pose.support import Support


def heights(backrest: float, pose) -> np.ndarray:  # type: ignore[no-untyped-def]
    body = anny_body()
    vertices = body.pose(body.rest(AVERAGE_ADULT), pose).vertices
    return Support(2.0, 0.9, backrest).height(vertices)


@pytest.mark.parametrize(("posture", "backrest"), [("supine", 0.0), ("lateral_left", 0.0), ("fowler", 40.0)])
def test_settled_bodies_touch_the_mattress_and_do_not_sink_in(posture: str, backrest: float) -> None:
    body = anny_body()
    settler = Settler(body, body.rest(AVERAGE_ADULT), backrest, held=0.3)
    found: list[np.ndarray] = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        settled = settler.settle(*sample_in_bed(rng, posture, backrest), relaxed_hands(rng))
        if settled.pose is not None:
            found.append(heights(backrest, settled.pose))
        if len(found) == 4:
            break
    assert len(found) == 4
    assert np.median([(np.abs(height) < 0.05).mean() for height in found]) > 0.1
    for height in found:
        assert (np.abs(height) < 0.05).mean() > 0.05
        assert np.quantile(height, 0.01) > -0.04


def test_a_raised_leg_stays_up_where_muscles_hold_it() -> None:
    body = anny_body()
    rng = np.random.default_rng(1)
    root, angles = sample_in_bed(rng, "supine")
    angles |= {"left_hip": (-50.0, 0.0, 3.0), "left_knee": (0.0, 0.0, 0.0)}
    raised = {}
    for held in (0.0, 0.9):
        settled = Settler(body, body.rest(AVERAGE_ADULT), 0.0, held=held).settle(root, angles, relaxed_hands(rng))
        assert settled.pose is not None, settled.rejected
        raised[held] = -np.degrees(settled.pose.joints[JOINT_INDEX["left_hip"], 0])
    assert raised[0.9] > raised[0.0] + 8


def test_the_measured_limbs_of_an_infant_are_an_infants() -> None:
    body = anny_body()
    adult = Build.of(body, body.rest(AVERAGE_ADULT))
    infant = Build.of(body, body.rest(body.sample_shape(np.random.default_rng(0), 0.3)))
    assert adult.radius["left_hip"] == pytest.approx(0.073, abs=0.006)
    assert adult.head_scale == pytest.approx(1.0, abs=0.02)
    assert 0.3 < infant.radius["left_hip"] / adult.radius["left_hip"] < 0.6
    assert infant.head_scale > 1.3 * infant.height_m / adult.height_m  # a large head for its size
    waist, belly = adult.slabs["spine1"], infant.slabs["spine1"]
    assert (waist.half_width, waist.radius) == pytest.approx((0.157, 0.112), abs=0.01)
    assert belly.radius / waist.radius > 1.4 * infant.height_m / adult.height_m  # and a round belly


@pytest.mark.parametrize("posture", INFANT_POSTURES)
def test_infants_settle_in_a_cot(posture: str) -> None:
    body = anny_body()
    rest = body.rest(body.sample_shape(np.random.default_rng(2), 0.4))
    settler = Settler(body, rest, 0.0, held=0.3, length=1.25, width=0.65)
    kept = []
    for seed in range(9):
        rng = np.random.default_rng(seed)
        settled = settler.settle(*sample_infant(rng, posture), relaxed_hands(rng))
        if settled.pose is not None:
            kept.append(body.pose(rest, settled.pose).vertices[:, 2])
    assert len(kept) >= 6
    for height in kept:
        assert height.min() > -0.03 and (height < 0.03).mean() > 0.12


def bank_of(count: int, seed: int, progress=None):  # type: ignore[no-untyped-def]
    body = anny_body()
    return make_bank(body, body.rest(AVERAGE_ADULT), count, seed, progress)[0]


def test_the_same_seed_makes_the_same_bank(tmp_path: Path) -> None:
    first, second = (bank_of(10, 5) for _ in range(2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
    write_bank(tmp_path / "a.npz", first)
    assert len(PoseBank(tmp_path / "a.npz")) == len(first["posture"])
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_progress_can_cancel_settling() -> None:
    def stop(done: int, total: int, note: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bank_of(10, 5, stop)


def test_the_bank_that_ships_is_small_and_covers_every_lying_class() -> None:
    assert SHIPPED.stat().st_size < 400_000
    bank = PoseBank()
    assert len(bank) >= 2000
    assert set(bank.posture) == {entry.name for entry in RECIPE}


def inside(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(N,) whether points lie in a surface of triangles (F, 3, 3): its winding number about them."""
    a, b, c = (corners[None, :, k] - points[:, None] for k in range(3))
    la, lb, lc = (np.linalg.norm(side, axis=2) for side in (a, b, c))
    dot_ab, dot_bc, dot_ca = (a * b).sum(2), (b * c).sum(2), (c * a).sum(2)
    volume = (a * np.cross(b, c)).sum(2)
    angle = 2.0 * np.arctan2(volume, la * lb * lc + dot_ab * lc + dot_bc * la + dot_ca * lb)
    return np.asarray(np.abs(angle.sum(1)) > 2.0 * np.pi)


@pytest.mark.parametrize("posture", ["supine", "lateral_left", "fowler"])
def test_hands_rest_on_the_body_not_in_it(posture: str) -> None:
    body, bank = anny_body(), PoseBank()
    rest, part = body.rest(AVERAGE_ADULT), skin_parts(body)
    trunk = np.isin(part, ["pelvis", "spine1", "spine2", "spine3", "left_hip", "right_hip", "neck", "head"])
    triangles = body.topology.triangles[trunk[body.topology.triangles].all(1)]
    hands = [np.flatnonzero(part == f"{side}_wrist") for side in ("left", "right")]
    rows = np.flatnonzero(bank.posture == posture)[::10][:20]
    buried = []
    for row in rows:
        root = Rotation.from_rotvec(bank.root[row]).as_matrix()
        vertices = body.pose(rest, Pose(root, bank.pelvis[row], bank.joints[row])).vertices.astype(float)
        middles = np.array([vertices[hand].mean(0) for hand in hands])
        buried.append(inside(middles, vertices[triangles]).any())
    assert np.mean(buried) <= 0.1


def angles_of(posture: str, joint: str, axis: int) -> np.ndarray:
    """Degrees of one axis in the bank's poses of a class, both sides, as on the left."""
    bank = PoseBank()
    found = []
    for side, sign in SIDES:
        vectors = bank.joints[bank.posture == posture, JOINT_INDEX[f"{side}_{joint}"]]
        found.append(np.degrees(vectors[:, axis]) * (1.0 if axis == 0 else sign))
    return np.concatenate(found)


@pytest.mark.parametrize(
    ("posture", "joint", "axis", "low", "middle", "high"),
    [
        # 5th, 50th and 95th percentiles of fits of real people in beds (Clever et al. 2022).
        ("supine", "hip", 0, -47, -11, 5),
        ("supine", "elbow", 1, -132, -90, -14),
        ("lateral_left", "hip", 0, -71, -29, 5),
        ("lateral_left", "knee", 0, 4, 60, 117),
        ("lateral_left", "elbow", 1, -143, -106, -1),
    ],
)
def test_settled_angles_are_spread_like_real_peoples(
    posture: str, joint: str, axis: int, low: float, middle: float, high: float
) -> None:
    found = np.percentile(angles_of(posture, joint, axis), [5, 50, 95])
    assert np.abs(found - [low, middle, high]).max() < 30


def test_knees_drawn_up_are_in_the_bank() -> None:
    assert np.median(angles_of("knees_bent", "knee", 0)) > 60


def test_a_right_lateral_is_a_left_one_mirrored() -> None:
    bank = PoseBank()
    left = bank.sample(np.random.default_rng(4), "lateral_left")
    right = bank.sample(np.random.default_rng(4), "lateral_right")
    np.testing.assert_allclose(right.joints, left.mirrored().joints)
    assert (left.root @ [1, 0, 0])[2] < -0.5 < 0.5 < (right.root @ [1, 0, 0])[2]


def test_a_chest_between_two_backrests_turns_with_the_backrest() -> None:
    bank = PoseBank()
    spine = [JOINT_INDEX[name] for name in ("spine1", "spine2", "spine3")]
    for angle in (20.0, 33.0, 60.0):
        front = np.zeros(3)
        for seed in range(20):
            pose = bank.sample(np.random.default_rng(seed), "fowler", angle)
            bends = Rotation.from_rotvec(pose.joints[spine])
            front += (Rotation.from_matrix(pose.root) * bends[0] * bends[1] * bends[2]).apply([0, 0, 1])
        assert np.degrees(np.arctan2(front[0], front[2])) == pytest.approx(angle, abs=10)


def test_a_posture_that_does_not_go_with_the_bed_is_refused() -> None:
    with pytest.raises(WardposeError, match="raise the backrest"):
        PoseBank().sample(np.random.default_rng(0), "fowler", 0.0)


def test_a_file_that_is_no_bank_says_how_to_make_one(tmp_path: Path) -> None:
    broken = tmp_path / "settled.npz"
    broken.write_bytes(b"no zip")
    with pytest.raises(WardposeError, match=r"no \.npz file"):
        PoseBank(broken)
    np.savez(broken, poses=np.zeros((3, 156)))
    with pytest.raises(WardposeError, match=r"backrest_deg, joints.*wardpose poses"):
        PoseBank(broken)
