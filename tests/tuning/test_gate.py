"""The gate lets a model through on evidence only."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from calibration.errors import WardposeError
from tuning.evaluate.keypoints import KeypointFigures
from tuning.export import ExportReport
from tuning.gate.fairness import group_changes
from tuning.gate.judged import Judged, of_pose
from tuning.gate.probe import Likeness, Rate, measured_rate
from tuning.gate.settings import GateSettings
from tuning.gate.spending import allowed_p
from tuning.gate.verdict import Probed, judge, shows_gain


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
    bound = allowed_p(GateSettings().significance, 1)
    interval = change.confidence_interval(1 - bound)
    assert f"a mean change of {(better - OLD).mean():+.3f}" in told
    level = f"{100 * (1 - bound):.3g} % interval"
    assert f"{level} {interval.low:+.3f} to {interval.high:+.3f}, p = {change.pvalue:.2g} if nothing" in told
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


def test_a_file_of_another_trainer_is_judged_as_it_runs_and_says_that_nobody_compared_it() -> None:
    own = export(0.0).model_copy(update={"compared": False})
    sets = {"ward": evaluation(OLD + 0.1), "upright": evaluation(OLD)}
    verdict = judge(sets, SETS_BEFORE, own, target="ward")
    assert verdict.passed and "nobody compared" in verdict.reasons[0]


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


BETTER = {"ward": evaluation(OLD + 0.1), "upright": evaluation(OLD)}


def verdict_of(probed: Probed | None = None, tries: int = 1, **sets: Judged) -> tuple[bool, str]:
    found = judge(BETTER | sets, SETS_BEFORE, export(), target="ward", probed=probed, tries=tries)
    return found.passed, "\n".join(found.reasons)


def test_a_gain_that_is_certain_and_too_small_does_not_pass() -> None:
    assert not verdict_of(ward=evaluation(OLD + 0.005))[0]
    assert verdict_of(ward=evaluation(OLD + 0.015))[0]


def test_each_further_candidate_on_the_same_pictures_must_show_more() -> None:
    rng = np.random.default_rng(3)
    some = evaluation(OLD + 0.06 + rng.normal(0, 0.03, 12).repeat(5))
    assert verdict_of(ward=some)[0]
    passed, said = verdict_of(tries=40, ward=some)
    assert not passed and "candidate number 40 tried on these pictures" in said
    parts = [allowed_p(0.01, tries) for tries in range(1, 20_000)]
    assert parts == sorted(parts, reverse=True) and 0.00999 < sum(parts) < 0.01


def test_more_false_people_where_nobody_is_do_not_pass() -> None:
    def empty(alarms: float) -> Judged:
        return replace(evaluation(OLD[:0]), alarms=alarms)

    before, after = SETS_BEFORE | {"empty": empty(0.1)}, BETTER | {"empty": empty(0.3)}
    assert not judge(after, before, export(), target="ward").passed
    assert judge(BETTER | {"empty": empty(0.12)}, before, export(), target="ward").passed


def test_a_better_mean_with_a_lost_group_does_not_pass() -> None:
    dark, few = frozenset(range(40, 60)), frozenset(range(3))

    def grouped(scores: np.ndarray) -> Judged:
        return replace(evaluation(scores), groups={"skin tone: 8 to 10 (dark)": dark, "age: under 2": few})

    before = {"ward": grouped(OLD), "upright": evaluation(OLD)}
    lost = OLD + 0.2
    lost[40:] = OLD[40:] - 0.1
    found = judge({"ward": grouped(lost), "upright": evaluation(OLD)}, before, export(), target="ward")
    assert not found.passed and any("failed: skin tone: 8 to 10 (dark) (20 people)" in r for r in found.reasons)
    small = OLD + 0.2
    small[:3] = 0
    assert judge({"ward": grouped(small), "upright": evaluation(OLD)}, before, export(), target="ward").passed


def test_groups_are_people_of_all_sets_together() -> None:
    half = {name: replace(evaluation(OLD), groups={"sex: female": frozenset(range(12))}) for name in SETS_BEFORE}
    (change,) = group_changes({"ward": replace(half["ward"], scores=BETTER["ward"].scores)} | half, half)
    assert (change.people, change.change) == (24, 0)


PROBED: dict[str, tuple[Probed, str]] = {
    "an engine with other boxes": (Probed([Likeness("as it was trained", 8, 20, 3.0, 0)]), "within 3 px"),
    "an engine that misses boxes": (Probed([Likeness("as it was trained", 8, 20, 0.0, 2)]), "2 of either are missing"),
    "a slow one": (Probed(rate=Rate(12.0, 25.0)), "12.0 frames a second"),
    "an unsure one": (Probed(confidence_error=0.3, confidence_before=0.1, joints=900), "off by 0.300"),
    "one that has seen the pictures": (Probed(leaked=7), "trained on 7 pictures of those"),
    "one that may have": (Probed(leaked=None), "nobody can tell"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBED)
def test_what_is_measured_on_this_box_counts(name: str) -> None:
    probed, says = PROBED[name]
    passed, said = verdict_of(probed)
    assert not passed and says in said


def test_a_slower_model_that_is_quick_enough_and_an_unsure_one_that_is_no_worse_pass() -> None:
    assert verdict_of(Probed([Likeness("on the processor", 8, 20, 0.2, 0)], rate=Rate(31.0, 90.0)))[0]
    assert verdict_of(Probed(confidence_error=0.3, confidence_before=0.31, joints=900))[0]


def test_the_other_pictures_are_worth_a_look_only_where_something_is_gained() -> None:
    old, better = evaluation(OLD), evaluation(OLD + 0.1)
    assert shows_gain("ward", better, old) and not shows_gain("ward", old, old)
    for new in (better, old):
        alone = judge({"ward": new}, {"ward": old}, export(), target="ward")
        assert shows_gain("ward", new, old) == alone.passed
    unseen = judge({"ward": better}, {"ward": old}, export(), target="ward", unseen=["upright people", "empty rooms"])
    assert not unseen.passed and "not shown the other pictures (upright people, empty rooms)" in unseen.reasons[-1]


@pytest.mark.parametrize(("quick", "rounds"), [(True, 2), (False, 7)])
def test_the_rate_is_measured_on_only_while_it_may_be_too_low(quick: bool, rounds: int) -> None:
    seen: list[str] = []

    def worked(name: str, seconds: float) -> Callable[[object], None]:
        def work(color: object) -> None:
            seen.append(name)
            time.sleep(seconds)

        return work

    settings = GateSettings(full_rate=1.0 if quick else 1e6, least_rate=0.8 if quick else 1e6)
    frames = [np.zeros((4, 4, 3), np.uint8)] * 3
    rate = measured_rate(worked("new", 1e-4), worked("old", 1e-4), frames, settings)
    assert seen.count("new") == seen.count("old") == 2 + 3 * rounds  # two frames to warm up
    assert rate.candidate > 0 and rate.wanted(settings) == min(settings.least_rate * rate.current, settings.full_rate)
