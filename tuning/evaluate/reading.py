"""What the figures say, in a sentence, a verdict and its reason, for somebody who reads nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from tuning.evaluate.fairness import EVERYBODY, GroupFigures, PairedTests

ENOUGH, SIGNIFICANT = 20, 0.05
_MEANING = {
    "person score": "How tightly people are boxed (the person score, 0 to 1)",
    "joints": "How near joints lie (the similarity of visible joints, 0 to 1)",
}
FOUND, JOINTS = "found", "joints"  # measures by which people are told
BeforeAfter = tuple[float | None, float | None]
UNKNOWN: BeforeAfter = (None, None)


def sentence(
    model: str, against: str | None, everybody: GroupFigures, error_cm: BeforeAfter, false_people: BeforeAfter = UNKNOWN
) -> str:
    """What a bystander would say of it. error_cm: the median joint's, where space is known; false_people: a picture."""
    if FOUND in everybody.after:
        now = everybody.after[FOUND]
        sure = "" if now.low is None or now.high is None else f" ({_of_100(now.low)} to {_of_100(now.high)})"
        said = f"{model} finds {_of_100(now.mean)} of 100 people{sure}"
        if against and FOUND in everybody.before:
            said += f"; {against} finds {_of_100(everybody.before[FOUND].mean)}"
        was, is_now = false_people
        if is_now is not None:
            who = "person who is" if _of_100(is_now) == "1" else "people who are"
            said += f". In 100 pictures it shows {_of_100(is_now)} {who} not there"
            said += f"; {against} shows {_of_100(was)}" if against and was is not None else ""
        return f"{said}."
    before, after = error_cm
    if after is not None:
        said = f"{model} places half of all visible joints within {after:.1f} cm"
        return f"{said}; {against} within {before:.1f} cm." if against and before is not None else f"{said}."
    said = f"{model} comes to {everybody.after[JOINTS].mean:.2f} of 1 on visible joints"
    return f"{said}; {against} to {everybody.before[JOINTS].mean:.2f}." if against else f"{said}."


def verdict(
    tests: PairedTests | None, groups: Sequence[GroupFigures], first: str, false_people: BeforeAfter = UNKNOWN,
    allowed: float = 0.0,
) -> tuple[str, str, str]:  # fmt: skip
    """The verdict, why, and its tone: better, worse or open. false_people: a picture; allowed: by how many more."""
    if tests is None:
        weakest = _weakest(groups, first)
        why = "No other model was scored on the same pictures, so that nothing says whether this one is better."
        return "Nothing to compare with.", f"{why} {weakest}".strip(), "open"
    low, high, p = tests.by_scenes
    said = _MEANING.get(tests.measure, tests.measure)
    change = (
        f"{said} went from {tests.before:.3f} to {tests.after:.3f} (95 % confidence interval of the "
        f"change: {low:+.3f} to {high:+.3f})"
    )
    chance = f"chance alone brings such a change {_often(p)}"
    lost = [row for row in groups if row.holm is not None and row.holm < SIGNIFICANT and row.change is not None
            and row.change.mean < 0 and row.people >= ENOUGH]  # fmt: skip
    worse_for = ", ".join(f"{row.kind} {row.group}" for row in lost)
    if tests.scenes < 2:
        return "One scene alone shows nothing.", f"{change}; other scenes may differ.", "open"
    if p < SIGNIFICANT and tests.difference > 0:
        if lost:
            return f"Better in the mean, and worse for: {worse_for}.", f"{change}; {chance}.", "worse"
        was, is_now = false_people
        if was is not None and is_now is not None and is_now > was + allowed:
            why = f"{change}; {chance}. False people a picture went from {was:.2f} to {is_now:.2f}."
            return "Better at finding people, but it shows more who are not there.", why, "open"
        return "Better.", f"{change}; {chance}. No group with {ENOUGH} people or more is shown to have lost.", "better"
    if p < SIGNIFICANT and tests.difference < 0:
        return "Worse.", f"{change}; {chance}.", "worse"
    why = f"{change}; {chance}, so that these pictures can't tell the two apart."
    return "No difference shown." + (f" Worse for: {worse_for}." if lost else ""), why, "worse" if lost else "open"


def _weakest(groups: Sequence[GroupFigures], measure: str) -> str:
    enough = [row for row in groups if row.kind != EVERYBODY and row.people >= ENOUGH and measure in row.after]
    if not enough:
        return ""
    least = min(enough, key=lambda row: row.after[measure].mean)
    who, mean = f"“{least.kind}: {least.group}”", least.after[measure].mean
    if measure == FOUND:
        return f"Of the groups below it finds fewest of {who}: {_of_100(mean)} of 100."
    return f"Of the groups below it does worst by {who}: {mean:.2f} of 1."


def _of_100(share: float) -> str:
    return f"{100 * share:.0f}"


def _often(p: float) -> str:
    if p < 1e-4:
        return "less than once in 10,000 tries"
    return f"{100 * p:.0f} times in 100" if p >= 0.02 else f"once in {float(f'{1 / p:.2g}'):,.0f} tries"
