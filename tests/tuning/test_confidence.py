"""Joint confidence: the fitted map rises, states true shares, and comes from what the pipeline finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from calibration.errors import WardposeError
from runtime.detections import Detections
from runtime.model_info import ModelInfo
from runtime.skeleton import Skeletons
from runtime.turn import Aims
from tests.tuning.drawn import draw_people
from tuning.coco_folder import Picture, read_people
from tuning.confidence import (
    Pairs,
    calibrate,
    expected_calibration_error,
    fit_confidence,
    observe_joints,
    trunk_length,
)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    """Drawn people, slim enough for a trunk that is seen from the side."""
    return read_people(draw_people(tmp_path / "slim", 12, width=100, height=160) / "annotations.json")


def joints_of(probability: NDArray[np.float64], seed: int = 0) -> NDArray[np.bool_]:
    return np.asarray(np.random.default_rng(seed).random(len(probability)) < probability)


def pool_adjacent_violators(shares: list[float], weights: list[float]) -> list[float]:
    """Isotonic regression by its definition: merge neighbours that fall until none does (Barlow et al. 1972)."""
    blocks = [[share, weight, 1] for share, weight in zip(shares, weights, strict=True)]
    at = 0
    while at < len(blocks) - 1:
        (a, wa, na), (b, wb, nb) = blocks[at], blocks[at + 1]
        if a <= b:
            at += 1
            continue
        blocks[at : at + 2] = [[(a * wa + b * wb) / (wa + wb), wa + wb, na + nb]]
        at = max(at - 1, 0)
    return [float(value) for value, _, count in blocks for _ in range(int(count))]


def test_a_known_relation_is_found() -> None:
    score = np.random.default_rng(1).random(20_000)
    pairs = fit_confidence(score, joints_of(score**2))
    asked = np.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(np.interp(asked, *np.array(pairs).T), asked**2, atol=0.05)


def test_the_fit_is_isotonic_regression_of_equal_groups() -> None:
    rng = np.random.default_rng(2)
    score = np.sort(rng.random(600))
    right = rng.random(600) < 0.5 + 0.3 * np.sin(6 * score)
    pairs = fit_confidence(score, right)
    shares = right.reshape(12, 50).mean(1).tolist()
    np.testing.assert_allclose([p for _, p in pairs], pool_adjacent_violators(shares, [50.0] * 12), atol=1e-4)
    np.testing.assert_allclose([s for s, _ in pairs], score.reshape(12, 50).mean(1), atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_fitted_map_is_one_that_a_model_can_carry_and_errs_less(data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 10_000))
    bend = data.draw(st.floats(0.2, 5))
    steps = data.draw(st.sampled_from((0, 3, 40)))
    score = np.random.default_rng(seed).random(3000)
    if steps:
        score = np.round(score * steps) / steps
    right = joints_of(score**bend, seed + 1)
    pairs = fit_confidence(score, right)
    info = ModelInfo(name="m", task="pose", layout="movenet", width=256, height=256, confidence=pairs)
    before = expected_calibration_error(score, right)
    after = expected_calibration_error(info.probability(np.maximum(score, 1e-6)), right)
    assert after <= before + 0.03


def test_too_few_joints_are_refused() -> None:
    with pytest.raises(WardposeError, match="too few"):
        fit_confidence(np.linspace(0, 1, 50), np.arange(50) % 2 == 0)
    with pytest.raises(WardposeError, match="too few"):
        fit_confidence(np.linspace(0, 1, 500), np.ones(500, bool))


def test_calibration_error_by_hand() -> None:
    """Bins 0.2…0.3 (two joints, one right) and 0.9…1 (two, both right): (2·|.25 − .5| + 2·|.95 − 1|) / 4."""
    probability, right = np.array([0.2, 0.3 - 1e-9, 0.9, 1.0]), np.array([True, False, True, True])
    assert expected_calibration_error(probability, right) == pytest.approx((2 * 0.25 + 2 * 0.05) / 4)
    assert expected_calibration_error(np.empty(0), np.empty(0, bool)) == 0


def test_a_trunk_is_measured_only_where_it_is_seen_from_the_side() -> None:
    keypoints = np.zeros((17, 3))
    keypoints[[5, 6, 11, 12]] = [(10, 0, 2), (0, 0, 2), (10, 30, 2), (0, 30, 1)]
    assert trunk_length(keypoints) == pytest.approx(30)
    keypoints[[11, 12], 1] = 6
    assert trunk_length(keypoints) is None
    keypoints[[11, 12], 1], keypoints[5, 2] = 30, 0
    assert trunk_length(keypoints) is None


class Answers:
    """A pose estimator that answers the truth of the picture, some joints moved by a share of the trunk's length."""

    def __init__(self, pictures: list[Picture], away: float, joints: list[int]) -> None:
        self.truth = iter([p for p in pictures for _ in range(2)])
        self.away, self.joints = away, joints
        self.known: list[bool] = []

    def estimate(self, color: NDArray[np.uint8], people: Detections, aims: Aims | None = None) -> Skeletons:
        self.known.append(aims is not None)
        keypoints = next(self.truth).keypoints[..., :2].copy()
        for person in keypoints:
            length = np.hypot(*(person[[5, 6]].mean(0) - person[[11, 12]].mean(0)))
            person[self.joints, 0] += self.away * length
        score = np.full(keypoints.shape[:2], 0.9, np.float32)
        score[:, self.joints] = 0.3
        return Skeletons(keypoints.astype(np.float32), score)


@pytest.mark.parametrize(("away", "right"), [(0.09, True), (0.11, False)])
def test_a_joint_is_right_within_a_tenth_of_the_trunks_length(
    pictures: list[Picture], away: float, right: bool
) -> None:
    pose = Answers(pictures, away, [0, 9])
    joints = observe_joints(pose, pictures, every_joint_labelled=True)
    assert pose.known == [False, True] * len(pictures)
    assert len(joints.score) == 2 * 17 * len(pictures)
    assert joints.right[joints.score > 0.5].all()
    assert (joints.right[joints.score < 0.5] == right).all()


def test_the_model_sees_the_pictures_in_their_own_colours(pictures: list[Picture]) -> None:
    seen: list[NDArray[np.uint8]] = []

    class Looks(Answers):
        def estimate(self, color: NDArray[np.uint8], people: Detections, aims: Aims | None = None) -> Skeletons:
            seen.append(color)
            return super().estimate(color, people, aims)

    observe_joints(Looks(pictures, 0, []), pictures, every_joint_labelled=True)
    for picture, color in zip(pictures, seen[::2], strict=True):
        np.testing.assert_array_equal(color, np.asarray(Image.open(picture.path).convert("RGB")))


def test_a_joint_without_a_label_is_wrong_in_a_synthetic_picture_and_unknown_in_a_photograph(
    pictures: list[Picture],
) -> None:
    for picture in pictures:
        picture.keypoints[:, 15] = 0
    synthetic = observe_joints(Answers(pictures, 0, []), pictures, every_joint_labelled=True)
    real = observe_joints(Answers(pictures, 0, []), pictures, every_joint_labelled=False)
    assert (~synthetic.right).sum() == 2 * 12 and len(synthetic.score) == 2 * 12 * 17
    assert real.right.all() and len(real.score) == 2 * 12 * 16


def test_calibrating_makes_a_map_that_states_the_share_of_right_joints(pictures: list[Picture]) -> None:
    pairs, report = calibrate(Answers(pictures, 0.5, [0, 1, 2, 3]), pictures)
    assert _stated(pairs, 0.9) == pytest.approx(1.0, abs=0.1) and _stated(pairs, 0.3) == pytest.approx(0.0, abs=0.1)
    assert report.error_after < report.error_before
    assert report.joints == 2 * 17 * len(pictures) and report.right == pytest.approx(13 / 17, abs=1e-3)


def _stated(pairs: Pairs, score: float) -> float:
    return float(np.interp(score, *np.array(pairs).T))
