"""A job in sentences: what it is, how far it is, what came of it, and what to do then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from appliance.jobs.store import DEFECT, STOPPED, Job
from appliance.models.in_use import KINDS
from appliance.tui.pace import Paces
from appliance.tui.widgets import span

_RATES = {"synth": "images/s", "tune": "steps/s"}


PAUSED = "paused: it keeps its memory and what it has done"


def title(job: Job, task: str = "") -> str:
    """What is done, and to what. task: `detect` or `pose`, where the job itself does not say."""
    task = str(job.parameters.get("task") or task)
    if task in KINDS:
        return f"{job.title} the {KINDS[task]}"
    subject = str(job.parameters.get("model") or job.parameters.get("count") or "")
    return f"{job.title} ({subject})" if subject and len(subject) <= 20 else job.title


def task_of(job: Job, jobs: Iterable[Job]) -> str:
    """`detect` or `pose`, where one of the jobs made what this one works on; empty where nobody knows."""
    named = {other.parameters.get("name"): other.parameters.get("task") for other in jobs if other.kind == "tune"}
    return str(named.get(job.parameters.get("model")) or "")


def state_of(job: Job) -> str:
    """Its state in a word: `paused` before `running` or `queued`."""
    return "paused" if job.paused else "pausing" if job.pause_requested and job.active else job.state


def told(job: Job, task: str = "") -> str:
    """A job in one line: how far it is, or what came of it. task: see `title`."""
    what = f"#{job.id} {title(job, task)}"
    if job.pause_requested and job.active:
        how_far = f" at {job.done} of {job.total}" if job.total else ""
        return f"{what}: {state_of(job)}{how_far}"
    if job.state == "running":
        amount = f" {job.done} of {job.total}" if job.total else ""
        return f"{what}:{amount}{f', {job.note}' if job.note else ''}" if amount or job.note else f"{what}: begins"
    if job.state == "queued":
        return f"{what}: waits for its turn"
    return f"{what}: {outcome(job)[0]}"


def pace(job: Job, paces: Paces) -> str:
    """Rate and time left of a running job, as far as they are known."""
    rate, left = paces.rate(job), paces.left_s(job)
    if job.state != "running" or job.pause_requested or rate is None or left is None:
        return ""
    unit = _RATES.get(job.kind, "a second")
    speed = f"{rate:.1f} {unit}" if rate >= 1 else f"{60 * rate:.1f} a minute"
    return f"{speed}, {span(left)} left"


def outcome(job: Job) -> tuple[str, str]:
    """What came of a job that has ended, in one sentence, and its mark."""
    if job.state == "failed":
        return f"failed: {job.error or 'it did not say why'}", "bad"
    if job.state in STOPPED:
        kept = "; what was finished is kept" if job.resumable else ""
        return f"{job.state}{f': {job.error}' if job.error else ''}{kept}", "warn"
    if job.pause_requested and job.active:
        return PAUSED if job.paused else "pausing: it goes on until its next step", "warn"
    if job.state != "done":
        return ("waits for its turn" if job.state == "queued" else "goes on"), ""
    result = job.result or {}
    say = _OUTCOMES.get(job.kind)
    return say(result) if say else ("done", "good")


def mend(job: Job) -> str:
    """What to do next, after how a job ended, its keys by what they mean (see `Keys.told`); empty where nothing is."""
    if job.state == "failed" and job.error.startswith(DEFECT):
        return "report it with its log (<log>)"
    if job.pause_requested and job.active:
        return "<resume> lets it go on; <stop> stops it and frees its memory"
    if job.state == "failed":
        return f"mend that, then <resume> {'resumes it' if job.resumable else 'starts it again'}"
    if job.state in STOPPED:
        return "<resume> resumes it where it stopped" if job.resumable else "<resume> starts it again"
    if job.kind == "promote" and job.state == "done" and not (job.result or {}).get("accepted"):
        return "make more images (4 Retarget: <make>), or tune for more epochs, and judge again"
    if job.kind == "promote" and job.state == "done":
        taken = (job.result or {}).get("taken_over")
        return "the live picture goes over to it" if taken else "the next start of the live picture uses it (6 Live)"
    if job.kind == "synth" and job.state == "done":
        return "tune on them (4 Retarget: <tune>)"
    if job.kind == "tune" and job.state == "done":
        return "let the gate judge it (4 Retarget: <judge>)"
    return ""


def kept_of(job: Job) -> str:
    """What is left of a job that is stopped, and how it goes on; its keys by what they mean."""
    if job.resumable:
        return "What is finished is kept, and <resume> resumes it."
    return "<resume> begins it from the start."


def why_not_paused(job: Job) -> str:
    """Why a job can't be paused, and what can be done instead; its keys by what they mean. Empty where it can."""
    if not job.active:
        return "the selected job has ended"
    if job.pause_requested:
        return "it is paused; <resume> lets it go on"
    return f"{job.why_not_paused}; <stop> stops it" if job.why_not_paused else ""


def score_words(figures: Mapping[str, Any]) -> str:
    """An evaluation's main figures."""
    said = []
    if figures.get("person_score") is not None:
        said.append(f"person score {figures['person_score']:.3f}")
    for name in ("AP", "AR"):
        if figures.get(name) is not None:
            said.append(f"{name} {figures[name]:.3f}")
    keypoints = figures.get("keypoints") or {}
    if keypoints.get("mean_oks") is not None:
        said.append(f"mean OKS {keypoints['mean_oks']:.3f}")
    return ", ".join(said) or "no figure"


def change_words(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The figure that the gate judges by, before and after."""
    for name, said in (("person_score", "person score"), ("keypoints_mean_oks", "mean OKS"), ("AP", "AP")):
        if after.get(name) is not None:
            old = f"{before[name]:.3f} → " if before.get(name) is not None else ""
            return f"{said} {old}{after[name]:.3f}"
    return ""


def _made(result: Mapping[str, Any]) -> tuple[str, str]:
    name = Path(str(result.get("out", ""))).name
    return f"{result.get('images', 'the')} images are made{f' in {name}' if name else ''}", "good"


def _tuned(result: Mapping[str, Any]) -> tuple[str, str]:
    on = f" on {result['images']} images" if result.get("images") else ""
    return f"{result.get('model', 'the model')} is tuned{on}", "good"


def _scored(result: Mapping[str, Any]) -> tuple[str, str]:
    on = f" on {result['images']} pictures" if result.get("images") else ""
    return f"{result.get('model', '')}: {score_words(result)}{on}", "good"


def _judged(result: Mapping[str, Any]) -> tuple[str, str]:
    change = change_words(result.get("before") or {}, result.get("after") or {})
    if result.get("accepted"):
        return f"{result.get('model', 'the model')} went live{f': {change}' if change else ''}", "good"
    why = next((r for r in result.get("reasons", ()) if r.startswith("failed")), "it does not prove better")
    plain = why.removeprefix("failed: ").partition(" (")[0]  # its statistics stand on the job's page
    return f"refused: {f'{change}; ' if change else ''}{plain}", "warn"


def _taken_in(result: Mapping[str, Any]) -> tuple[str, str]:
    size = f", {result['width']}×{result['height']}" if result.get("width") else ""
    return f"{result.get('model')} is imported: {KINDS.get(str(result.get('task')), 'a model')}{size}", "good"


def _fetched(result: Mapping[str, Any]) -> tuple[str, str]:
    added = result.get("added") or []
    return f"fetched {', '.join(map(str, added))}" if added else "they were all here", "good"


def _exported(result: Mapping[str, Any]) -> tuple[str, str]:
    error = result.get("max_error")
    off = f", at most {error:.2g} off the trained one" if isinstance(error, float) else ""
    return f"{result.get('model')} is ready to run ({result.get('engine', 'onnx')}{off})", "good"


def _built(result: Mapping[str, Any]) -> tuple[str, str]:
    return f"{result.get('model')} is there: {KINDS.get(str(result.get('task')), 'a model')} of random weights", "good"


def _drawn(result: Mapping[str, Any]) -> tuple[str, str]:
    return f"{result.get('images')} images, {result.get('people')} people; its card: {result.get('card')}", "good"


def _based(result: Mapping[str, Any]) -> tuple[str, str]:
    return f"{result.get('model')} is made, in {result.get('out')}", "good"


_OUTCOMES = {
    "synth": _made, "tune": _tuned, "evaluate": _scored, "promote": _judged, "import": _taken_in, "fetch": _fetched,
    "export": _exported, "build": _built, "preview": _drawn, "base": _based,
}  # fmt: skip
