"""The gate lets a model through on evidence only."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.errors import WardposeError
from tuning.evaluate.keypoints import KeypointFigures
from tuning.export import ExportReport
from tuning.gate import Judged, judge, of_pose


def evaluation(scores: np.ndarray, AP50: float = 0.8) -> Judged:
    return Judged("person score", dict(enumerate(scores.tolist())), "AP50", AP50)


def export(error: float = 1e-6) -> ExportReport:
    return ExportReport(
        path="m.onnx", sha256="", layout="yolo", width=64, height=64, pictures=3, inputs="pictures",
        max_error=error, tolerance=1e-3,
    )  # fmt: skip


OLD = np.random.default_rng(0).uniform(0, 0.9, 60)
SETS_BEFORE = {"ward": evaluation(OLD), "upright": evaluation(OLD)}


def test_a_better_model_passes_and_says_why() -> None:
    verdict = judge({"ward": evaluation(OLD + 0.1), "upright": evaluation(OLD)}, SETS_BEFORE, export(), target="ward")
    assert verdict.passed and any("ward: person score" in reason for reason in verdict.reasons)


def test_a_gain_that_may_be_chance_does_not_pass() -> None:
    noise = np.random.default_rng(1).normal(0.001, 0.1, 60)
    assert not judge(
        {"ward": evaluation(OLD + noise), "upright": evaluation(OLD)}, SETS_BEFORE, export(), target="ward"
    ).passed


def test_a_model_that_forgot_upright_people_does_not_pass() -> None:
    sets = {"ward": evaluation(OLD + 0.1), "upright": evaluation(OLD, AP50=0.7)}
    assert not judge(sets, SETS_BEFORE, export(), target="ward").passed


def test_an_export_that_is_not_the_model_does_not_pass() -> None:
    sets = {"ward": evaluation(OLD + 0.1), "upright": evaluation(OLD)}
    assert not judge(sets, SETS_BEFORE, export(0.01), target="ward").passed
    assert not judge(sets, None, export(0.01), target="ward").passed


def test_evaluations_of_other_people_cannot_be_compared() -> None:
    with pytest.raises(WardposeError, match="changed"):
        judge({"ward": evaluation(OLD[:50]), "upright": evaluation(OLD)}, SETS_BEFORE, export(), target="ward")


def test_a_pose_model_is_judged_by_what_can_be_seen() -> None:
    found = KeypointFigures(
        AP=0, AP50=0, AR=0, mean_oks=0.4, mean_oks_visible=0.7, people=2, oks={4: 0.3, 7: 0.5}, seen={4: 0.6, 7: 0.8}
    )
    judged = of_pose(found)
    assert (judged.scores, judged.guarded) == ({4: 0.6, 7: 0.8}, 0.7)
