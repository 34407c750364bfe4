"""May a model go live? Only if it is better where it is meant to be, worse nowhere, and itself when it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from calibration.errors import WardposeError
from tuning.evaluate.statistics import Comparison, compare
from tuning.export import ExportReport
from tuning.gate.fairness import told_of_groups
from tuning.gate.judged import Judged
from tuning.gate.probe import Likeness, Rate
from tuning.gate.settings import GateSettings
from tuning.gate.spending import allowed_p

__all__ = ["Probed", "Verdict", "judge", "shows_gain"]


class Verdict(BaseModel):
    """`passed`, and every reason in words, those in favour as well as those against."""

    passed: bool
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Probed:
    """What was measured of the candidate on this box, None where it does not apply or was not measured.

    likenesses: of its engine to other forms of it; rate; confidence_error, confidence_before: the expected calibration
    error of its joints' confidence and of the current model's, over `joints` joints; leaked: how many of the pictures
    it is judged by it was trained on, None where nobody can tell; finite: whether all its answers are numbers.
    """

    likenesses: Sequence[Likeness] = field(default=())
    rate: Rate | None = None
    confidence_error: float | None = None
    confidence_before: float | None = None
    joints: int = 0
    leaked: int | None = 0
    finite: bool = True


class _Told:
    """Reasons as they come, and whether all of them speak for the candidate."""

    def __init__(self) -> None:
        self.passed, self.reasons = True, list[str]()

    def note(self, good: bool, text: str) -> None:
        self.passed = self.passed and good
        self.reasons.append(f"{'passed' if good else 'failed'}: {text}")

    def verdict(self) -> Verdict:
        return Verdict(passed=self.passed, reasons=self.reasons)


def judge(
    candidate: Mapping[str, Judged],
    current: Mapping[str, Judged] | None,
    export: ExportReport,
    *,
    target: str,
    also: Sequence[str] = (),
    tries: int = 1,
    probed: Probed | None = None,
    unseen: Sequence[str] = (),
    settings: GateSettings | None = None,
) -> Verdict:
    """Hold a candidate against the model in use.

    candidate, current: what they showed by set name, on the same files. target: the set it was tuned for, where its
    people's scores must be significantly better, and by `least_gain`; on every other set the guarded figure must not
    be lower by more than `allowed_loss`, nor false people more by `allowed_alarms`; over all sets together no group of
    people may lose more than `allowed_group_loss`. also: further sets where it must be better, drawn for this once.
    tries: which candidate this is that was tried on the target set. unseen: sets that it was not shown, since nothing
    is gained on the target; it does not pass then, whatever else it shows.
    current is None where no model is in use: then only the model itself is judged. Raises WardposeError for sets that
    differ.
    """
    settings, probed, told = settings or GateSettings(), probed or Probed(), _Told()
    _itself(told, export, probed, settings)
    if current is None:
        told.reasons.append("no model is in use, so there is none to be better than")
        return told.verdict()
    if set(candidate) != set(current) or target not in candidate:
        raise WardposeError(
            f"the models were evaluated on other sets ({sorted(candidate)}, {sorted(current)}; target {target!r})",
            mend="evaluate both on the same files",
        )
    for name in sorted(candidate):
        new, old = candidate[name], current[name]
        if new.scores.keys() != old.scores.keys():
            raise WardposeError(f"the set {name!r} changed between the evaluations", mend="evaluate both models again")
        if name == target or name in also:
            _better(told, name, new, old, tries if name == target else 1, settings)
        else:
            _no_worse(told, name, new, old, settings)
    told_of_groups(told.note, candidate, current, settings)
    if unseen:
        told.passed = False
        told.reasons.append(f"since nothing is gained, it was not shown the other pictures ({', '.join(unseen)})")
    return told.verdict()


def _itself(told: _Told, export: ExportReport, probed: Probed, settings: GateSettings) -> None:
    """Is the model that would run the one that was trained, quick enough, and as sure as it says?"""
    if not export.compared:
        told.note(True, "it is judged as the file that would run; whether that is the trained model nobody compared")
    elif export.pictures or export.max_error:
        told.note(
            export.max_error <= settings.allowed_error,
            f"the export differs from the trained model by {export.max_error:.1e} of its range, "
            f"allowed {settings.allowed_error:.1e} (tried on {_count(export.pictures, 'picture')})",
        )
    else:
        told.note(True, "the model is its own export, so there is nothing it could differ from")
    if not probed.finite:
        told.note(False, "on probe frames some of its answers are no numbers")
    for like in probed.likenesses:
        told.note(
            not like.lost and like.worst_px <= settings.allowed_box_px,
            f"on {_count(like.frames, 'probe frame')} its {_count(like.answers, 'answer')} are those of the model "
            f"{like.against} within {like.worst_px:.2g} px, allowed {settings.allowed_box_px:g} px"
            + (f"; {like.lost} of either are missing in the other" if like.lost else ""),
        )
    if (rate := probed.rate) is not None:
        told.note(
            rate.candidate >= rate.wanted(settings),
            f"the live path does {rate.candidate:.1f} frames a second with it and {rate.current:.1f} with the model in "
            f"use; wanted are {settings.least_rate:.0%} of that, or {settings.full_rate:g}",
        )
    if probed.confidence_error is not None:
        before = probed.confidence_before
        told.note(
            probed.confidence_error <= max(settings.allowed_confidence_error, before or 0.0),
            f"a joint's confidence is off by {probed.confidence_error:.3f} in the mean over "
            f"{_count(probed.joints, 'joint')}, allowed {settings.allowed_confidence_error:g}"
            + (f" or the {before:.3f} of the model in use" if before is not None else ""),
        )
    if probed.leaked is None:
        told.note(False, "whether it was trained on these pictures nobody can tell; simulated ones can be drawn afresh")
    elif probed.leaked:
        told.note(False, f"it was trained on {_count(probed.leaked, 'picture')} of those that it is judged by")


def shows_gain(name: str, new: Judged, old: Judged, *, tries: int = 1, settings: GateSettings | None = None) -> bool:
    """Whether a candidate is better on the set `name` that it was tuned for, so that the others are worth a look."""
    settings = settings or GateSettings()
    return _gained(_compared(name, new, old, tries, settings), tries, settings)


def _compared(name: str, new: Judged, old: Judged, tries: int, settings: GateSettings) -> Comparison:
    if not new.scores:
        raise WardposeError(f"the set {name!r} has no people", mend="hold out pictures with people")
    if new.scores.keys() != old.scores.keys():
        raise WardposeError(f"the set {name!r} changed between the evaluations", mend="evaluate both models again")
    return compare(old.scores, new.scores, new.scenes, level=1 - allowed_p(settings.significance, tries))


def _gained(found: Comparison, tries: int, settings: GateSettings) -> bool:
    enough = found.difference >= settings.least_gain and found.difference > 0
    return enough and found.p <= allowed_p(settings.significance, tries)


def _better(told: _Told, name: str, new: Judged, old: Judged, tries: int, settings: GateSettings) -> None:
    bound = allowed_p(settings.significance, tries)
    found = _compared(name, new, old, tries, settings)
    said = f"{name}: {new.measure} {_told(found, new.pictures)}"
    if tries > 1:
        said += f"; candidate number {tries} tried on these pictures, so that p must be {bound:.2g} or less"
    told.note(_gained(found, tries, settings), said)


def _no_worse(told: _Told, name: str, new: Judged, old: Judged, settings: GateSettings) -> None:
    if new.scores:
        told.note(
            old.guarded - settings.allowed_loss <= new.guarded,
            f"{name}: {new.guard} {old.guarded:.3f} → {new.guarded:.3f}, allowed to lose {settings.allowed_loss:g}",
        )
    if new.alarms is not None and old.alarms is not None:
        told.note(
            new.alarms <= old.alarms + settings.allowed_alarms,
            f"{name}: false people a picture {old.alarms:.2f} → {new.alarms:.2f}, allowed to rise by "
            f"{settings.allowed_alarms:g}",
        )


def _told(found: Comparison, pictures: int) -> str:
    """The comparison as one statement: effect, interval and p of the same mean of the same people, and what else was
    seen of them."""
    same = found.people - found.better - found.worse
    people, shown = _count(found.people, "person", "people"), _count(pictures, "picture")
    seen = f"{people} in {shown} of {_count(found.scenes, 'scene')}"
    if found.scenes < 2:
        chance = "one scene cannot show what is chance"
    else:
        chance = (
            f"{100 * found.level:.3g} % interval {found.low:+.3f} to {found.high:+.3f}, {_p(found.p)} if nothing "
            "changed"
        )
    return (
        f"{found.before:.3f} → {found.after:.3f}, a mean change of {found.difference:+.3f} ({chance}; {seen}: "
        f"{found.better} better, {found.worse} worse, {same} as before; by the ranks of those who changed alone, "
        f"Wilcoxon's {_p(found.p_wilcoxon)})"
    )


def _p(p: float) -> str:
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"
