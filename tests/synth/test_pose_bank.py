"""Settling drops a posture onto the mattress; the bank that ships holds what came to rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.errors import WardposeError
from synth.body.anny_body import AVERAGE_ADULT, anny_body
from synth.pose.bank import SHIPPED, PoseBank
from synth.pose.clinical import relaxed_hands, sample_in_bed
from synth.pose.settle import Settler, make_bank, write_bank
from synth.pose.support import Support


def heights(backrest: float, pose) -> np.ndarray:  # type: ignore[no-untyped-def]
    body = anny_body()
    vertices = body.pose(body.rest(AVERAGE_ADULT), pose).vertices
    return Support(2.0, 0.9, backrest).height(vertices)


@pytest.mark.parametrize(("posture", "backrest"), [("supine", 0.0), ("lateral_left", 0.0), ("fowler", 40.0)])
def test_a_settled_body_touches_the_mattress_and_does_not_sink_in(posture: str, backrest: float) -> None:
    body = anny_body()
    settler = Settler(body, body.rest(AVERAGE_ADULT), backrest)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        settled = settler.settle(*sample_in_bed(rng, posture, backrest), relaxed_hands(rng))
        if settled.pose is not None:
            break
    assert settled.pose is not None, settled.rejected
    height = heights(backrest, settled.pose)
    assert (np.abs(height) < 0.05).mean() > 0.08
    assert np.quantile(height, 0.01) > -0.07


def test_the_same_seed_makes_the_same_bank(tmp_path: Path) -> None:
    first, second = (make_bank(10, 5)[0] for _ in range(2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
    write_bank(tmp_path / "a.npz", first)
    assert len(PoseBank(tmp_path / "a.npz")) == len(first["posture"])
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_progress_can_cancel_settling() -> None:
    def stop(done: int, total: int, note: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_bank(10, 5, stop)


def test_the_bank_that_ships_is_small_and_covers_every_lying_class() -> None:
    assert SHIPPED.stat().st_size < 400_000
    bank = PoseBank()
    assert len(bank) >= 300
    assert set(bank.posture) == {"supine", "lateral_left", "prone", "knees_bent", "arm_over_head", "fowler"}


def test_a_right_lateral_is_a_left_one_mirrored() -> None:
    bank = PoseBank()
    left = bank.sample(np.random.default_rng(4), "lateral_left")
    right = bank.sample(np.random.default_rng(4), "lateral_right")
    np.testing.assert_allclose(right.joints, left.mirrored().joints)
    assert (left.root @ [1, 0, 0])[2] < -0.5 < 0.5 < (right.root @ [1, 0, 0])[2]


def test_a_pose_between_two_backrests_turns_with_the_backrest() -> None:
    bank = PoseBank()
    for angle in (20.0, 33.0, 60.0):
        front = np.mean(
            [bank.sample(np.random.default_rng(s), "fowler", angle).root @ [0, 0, 1] for s in range(12)], axis=0
        )
        assert np.degrees(np.arctan2(front[0], front[2])) == pytest.approx(angle, abs=12)


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
