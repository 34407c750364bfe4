"""The gate lets a model through on evidence only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from calibration.errors import WardposeError
from tuning.evaluate.keypoints import KeypointFigures
from tuning.export import ExportReport
from tuning.gate import Judged, judge, of_pose


def evaluation(scores: np.ndarray, AP50: float = 0.8) -> Judged:
    """One model's scores of people who came five to a scene."""
    people = dict(enumerate(scores.tolist()))
    return Judged("person score", people, "AP50", AP50, {person: person // 5 for person in people}, 30)


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


def test_effect_interval_p_and_who_was_asked_stand_in_one_statement() -> None:
    better = OLD + np.repeat([0.12, 0.0, 0.05], 20)
    verdict = judge({"ward": evaluation(better), "upright": evaluation(OLD)}, SETS_BEFORE, export(), target="ward")
    (told,) = (reason for reason in verdict.reasons if "ward" in reason)
    change = ttest_1samp((better - OLD).reshape(12, 5).mean(1), 0)
    interval = change.confidence_interval(0.95)
    assert f"a mean change of {(better - OLD).mean():+.3f}" in told
    assert f"95 % interval {interval.low:+.3f} to {interval.high:+.3f}, p = {change.pvalue:.2g} if nothing" in told
    assert "60 people in 30 pictures of 12 scenes: 40 better, 0 worse, 20 as before" in told


def test_one_scene_is_not_enough() -> None:
    def alone(scores: np.ndarray) -> Judged:
        return replace(evaluation(scores), scenes=dict.fromkeys(range(60), "the only one"))

    verdict = judge({"ward": alone(OLD + 0.1)}, {"ward": alone(OLD)}, export(), target="ward")
    assert not verdict.passed and "one scene cannot show what is chance" in verdict.reasons[-1]


def test_a_model_that_is_its_own_export_has_nothing_to_differ_from() -> None:
    own = export(0.0).model_copy(update={"pictures": 0})
    sets = {"ward": evaluation(OLD + 0.1), "upright": evaluation(OLD)}
    verdict = judge(sets, SETS_BEFORE, own, target="ward")
    assert verdict.passed and verdict.reasons[0].startswith("passed: the model is its own export")


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
    judged = of_pose(found, [])
    assert (judged.scores, judged.guarded) == ({4: 0.6, 7: 0.8}, 0.7)
