"""Jobs in sentences: how far, how long yet, what came of them, and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.jobs.kinds import JOB_KINDS
from appliance.jobs.store import Job
from appliance.tui.job_words import mend, outcome, pace, task_of, title, why_not_paused
from appliance.tui.keys import Keys
from appliance.tui.pace import Paces, guess_images, guess_tuning, seconds_of


def job(kind: str = "synth", state: str = "running", **values: object) -> Job:
    begun = Job(
        id=1, kind=kind, title="Making training images", parameters={}, state="running", heavy=True, resumable=True,
        created_at="2026-01-01T10:00:00.000Z", started_at="2026-01-01T10:00:00.000Z", finished_at="", process="",
        attempts=1, cancel_requested=False, done=0, total=100, note="", result=None, error="", asked_by="root",
        outcome="",
    )  # fmt: skip
    return replace(begun, state=state, **values)  # type: ignore[arg-type]


def test_a_rate_is_told_once_a_job_was_watched_for_some_seconds() -> None:
    paces = Paces()
    for second in range(21):
        paces.look([job(done=2 * second)], float(second))
        if second < 4:
            assert paces.rate(job()) is None
    assert paces.rate(job()) == pytest.approx(2.0)
    assert paces.left_s(job(done=40)) == pytest.approx(30.0)
    assert pace(job(done=40), paces) == "2.0 images/s, 30 s left"


def test_a_new_stage_of_a_job_has_a_rate_of_its_own() -> None:
    paces = Paces()
    for second in range(20):
        paces.look([job(done=5 * second)], float(second))
    for second in range(20, 30):
        paces.look([job(done=second - 20, total=40)], float(second))
    assert paces.rate(job(total=40)) == pytest.approx(1.0)


def test_a_refusal_says_by_how_much_and_what_to_do() -> None:
    result = {
        "model": "tuned", "accepted": False, "before": {"person_score": 0.267}, "after": {"person_score": 0.265},
        "reasons": ["passed: its own export", "failed: this bedside: no better (p = 0.67; 136 people)"],
    }  # fmt: skip
    refused = job("promote", "done", result=result)
    words, mark = outcome(refused)
    assert words == "refused: person score 0.267 → 0.265; this bedside: no better" and mark == "warn"
    assert "make more images" in mend(refused)


def test_what_is_judged_is_told_by_the_job_that_tuned_it() -> None:
    tuned = job("tune", parameters={"name": "a-model-of-a-long-name-400", "task": "pose"}, title="Tuning")
    judged = job("promote", parameters={"model": "a-model-of-a-long-name-400"}, title="Judging")
    assert title(judged, task_of(judged, [judged, tuned])) == "Judging the pose model"


def test_a_score_is_told_with_its_figures() -> None:
    scored = job("evaluate", "done", result={"model": "a", "person_score": 0.5, "AP": 0.4, "images": 9})
    assert outcome(scored)[0] == "a: person score 0.500, AP 0.400 on 9 pictures"


@pytest.mark.parametrize("kind", [kind.name for kind in JOB_KINDS])
def test_of_every_kind_it_is_told_what_came_of_it(kind: str) -> None:
    assert outcome(job(kind, "done", result={"model": "a"}))[0] != "done"


def test_a_failure_says_why_and_that_it_can_be_resumed() -> None:
    failed = job(state="failed", error="the disk is full")
    assert outcome(failed) == ("failed: the disk is full", "bad") and "resumes" in mend(failed)


@pytest.mark.parametrize("resumable", [True, False])
def test_what_is_done_then_is_told_by_the_sites_own_keys(resumable: bool) -> None:
    own = Keys({"resume": "f8"})
    stopped = job(state="cancelled", resumable=resumable)
    assert own.told(mend(stopped)).startswith("f8 resumes it" if resumable else "f8 starts it again")
    assert ("is kept" in outcome(stopped)[0]) is resumable
    assert own.told(why_not_paused(job(pause_requested=True))) == "it is paused; f8 lets it go on"
    assert own.told("a <b> of <undo>") == "a <b> of u"  # what is no key's meaning stays as it is


def test_a_guess_goes_by_this_box_s_own_jobs_where_there_are_some() -> None:
    assert not guess_images([], 100).measured
    made = job("synth", "done", result={"images": 50, "seconds": 25.0})
    assert guess_images([made], 100).seconds == pytest.approx(50.0)
    tuned = job("tune", "done", result={"task": "detect", "images": 50, "seconds": 100.0}, parameters={"epochs": 2})
    assert guess_tuning([tuned], "detect", 10, 3).seconds == pytest.approx(30.0)
    assert not (guess_images([made], 100) + guess_tuning([], "pose", 10, 1)).measured


def test_how_long_a_job_took() -> None:
    assert seconds_of(job(finished_at="2026-01-01T10:01:30.000Z")) == pytest.approx(90.0)
