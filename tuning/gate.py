"""May a model go live? Only if it is better, on the same held-out people, and its export is itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from calibration.errors import WardposeError
from tuning.evaluate.keypoints import KeypointFigures
from tuning.evaluate.report import Evaluation
from tuning.evaluate.statistics import compare
from tuning.export import ExportReport


class GateSettings(BaseModel):
    """What a candidate has to show."""

    model_config = ConfigDict(extra="forbid")

    significance: float = Field(default=0.05, title="Largest p of the Wilcoxon test for a gain", gt=0, lt=1)
    allowed_loss: float = Field(default=0.01, title="What it may lose on a set that must not suffer", ge=0, le=1)
    allowed_error: float = Field(default=1e-3, title="Largest difference of the export, of its output's range", gt=0)
    seed: int = Field(default=0, title="Seed of the bootstrap", ge=0)


class Verdict(BaseModel):
    """`passed`, and every reason in words, those in favour as well as those against."""

    passed: bool
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Judged:
    """What one model showed on one set: each person's own score, by annotation id, by the measure of this name; and the
    figure, of this name, that must not fall on a set it was not tuned for."""

    measure: str
    scores: Mapping[int, float]
    guard: str
    guarded: float


def of_detector(found: Evaluation) -> Judged:
    """A detector by its person score, guarded by AP50."""
    return Judged("person score", found.scores, "AP50", found.AP50)


def of_pose(found: KeypointFigures) -> Judged:
    """A pose model by the similarity of each person's visible joints, guarded by its mean: where a joint lies under a
    blanket is anybody's guess, the labels' own too."""
    return Judged("similarity of visible joints", found.seen, "mean similarity", found.mean_oks_visible or 0.0)


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

    note(
        export.max_error <= settings.allowed_error,
        f"the export differs from the trained model by {export.max_error:.1e} of its range, "
        f"allowed {settings.allowed_error:.1e} ({export.pictures} pictures)",
    )
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
            result = compare(old.scores, new.scores, np.random.default_rng(settings.seed))
            note(
                result.difference > 0 and result.p_wilcoxon <= settings.significance,
                f"{name}: {new.measure} {result.before:.3f} → {result.after:.3f} ({result.difference:+.3f}, 95 % "
                f"{result.low:+.3f}…{result.high:+.3f}, p = {result.p_wilcoxon:.2g}, {result.people} people)",
            )
        else:
            note(
                old.guarded - settings.allowed_loss <= new.guarded,
                f"{name}: {new.guard} {old.guarded:.3f} → {new.guarded:.3f}, allowed to lose {settings.allowed_loss:g}",
            )
    return Verdict(passed=passed, reasons=reasons)
