"""May a model go live? Only if it is better, on the same held-out people, and its export is itself."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from calibration.errors import WardposeError
from tuning.coco_folder import Picture, scenes_of
from tuning.evaluate.keypoints import KeypointFigures
from tuning.evaluate.report import Evaluation
from tuning.evaluate.statistics import Comparison, compare
from tuning.export import ExportReport


class GateSettings(BaseModel):
    """What a candidate has to show."""

    model_config = ConfigDict(extra="forbid")

    significance: float = Field(default=0.05, title="Largest p of a gain of the mean", gt=0, lt=1)
    allowed_loss: float = Field(default=0.01, title="What it may lose on a set that must not suffer", ge=0, le=1)
    allowed_error: float = Field(default=1e-3, title="Largest difference of the export, of its output's range", gt=0)


class Verdict(BaseModel):
    """`passed`, and every reason in words, those in favour as well as those against."""

    passed: bool
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Judged:
    """What one model showed on one set.

    scores: each person's own, by annotation id, by the measure of this name. guard, guarded: the figure that must not
    fall on a set it was not tuned for. scenes: in which scene each person was seen; pictures: how many there are.
    """

    measure: str
    scores: Mapping[int, float]
    guard: str
    guarded: float
    scenes: Mapping[int, Hashable]
    pictures: int


def of_detector(found: Evaluation, pictures: Sequence[Picture]) -> Judged:
    """A detector by its person score, guarded by AP50. pictures: those it was evaluated on."""
    return Judged("person score", found.scores, "AP50", found.AP50, scenes_of(pictures), found.images)


def of_pose(found: KeypointFigures, pictures: Sequence[Picture]) -> Judged:
    """A pose model by the similarity of each person's visible joints, guarded by its mean: where a joint lies under a
    blanket is anybody's guess, the labels' own too."""
    return Judged(
        "similarity of visible joints", found.seen, "mean similarity", found.mean_oks_visible or 0.0,
        scenes_of(pictures), found.images,
    )  # fmt: skip


def judge(
    candidate: Mapping[str, Judged],
    current: Mapping[str, Judged] | None,
    export: ExportReport,
    *,
    target: str,
    settings: GateSettings | None = None,
) -> Verdict:
    """Hold a candidate against the model in use.

    candidate, current: what they showed by set name, on the same files. target: the set it was tuned for, where its
    people's scores must be significantly better; on every other set the guarded figure must not be lower by more than
    `allowed_loss`.
    current is None where no model is in use: then only the export is judged. Raises WardposeError for sets that differ.
    """
    settings = settings or GateSettings()
    reasons: list[str] = []
    passed = True

    def note(good: bool, text: str) -> None:
        nonlocal passed
        passed = passed and good
        reasons.append(f"{'passed' if good else 'failed'}: {text}")

    if export.pictures or export.max_error:
        note(
            export.max_error <= settings.allowed_error,
            f"the export differs from the trained model by {export.max_error:.1e} of its range, "
            f"allowed {settings.allowed_error:.1e} (tried on {_count(export.pictures, 'picture')})",
        )
    else:
        note(True, "the model is its own export, so there is nothing it could differ from")
    if current is None:
        reasons.append("no model is in use, so there is none to be better than")
        return Verdict(passed=passed, reasons=reasons)
    if set(candidate) != set(current) or target not in candidate:
        raise WardposeError(
            f"the models were evaluated on other sets ({sorted(candidate)}, {sorted(current)}; target {target!r})",
            mend="evaluate both on the same files",
        )
    for name in sorted(candidate):
        new, old = candidate[name], current[name]
        if new.scores.keys() != old.scores.keys():
            raise WardposeError(f"the set {name!r} changed between the evaluations", mend="evaluate both models again")
        if name == target:
            if not new.scores:
                raise WardposeError(f"the set {name!r} has no people", mend="hold out pictures with people")
            found = compare(old.scores, new.scores, new.scenes, level=1 - settings.significance)
            note(
                found.difference > 0 and found.p <= settings.significance,
                f"{name}: {new.measure} {_told(found, new.pictures)}",
            )
        else:
            note(
                old.guarded - settings.allowed_loss <= new.guarded,
                f"{name}: {new.guard} {old.guarded:.3f} → {new.guarded:.3f}, allowed to lose {settings.allowed_loss:g}",
            )
    return Verdict(passed=passed, reasons=reasons)


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
            f"{100 * found.level:g} % interval {found.low:+.3f} to {found.high:+.3f}, {_p(found.p)} if nothing changed"
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
