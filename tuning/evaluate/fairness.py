"""The fairness report: how well each group of people is served, how sure that is, and whether a model changed it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from pydantic import BaseModel, ConfigDict, Field

from tuning.evaluate.groups import Groups
from tuning.evaluate.significance import bonferroni, cluster_bootstrap, holm, paired_t, signed_rank
from tuning.evaluate.statistics import compare

Scores = Mapping[str, Mapping[int, float]]  # by measure and annotation id
FEWEST = 2  # people of whom an interval can be given
EVERYBODY = "everybody"


class Estimate(BaseModel):
    """A mean over people with its 95 % interval, drawn over scenes; None where one scene alone can't show it."""

    model_config = ConfigDict(extra="forbid")

    mean: float
    low: float | None
    high: float | None


class GroupFigures(BaseModel):
    """One group: how many people in how many scenes, and its figures by measure, before (where a model is compared
    with) and after. change: of the first measure; p: Wilcoxon's of its scenes' mean changes; holm, bonferroni: that,
    corrected for all groups of the report."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    group: str
    people: int
    scenes: int
    after: dict[str, Estimate]
    before: dict[str, Estimate] = Field(default_factory=dict)
    change: Estimate | None = None
    p: float | None = None
    holm: float | None = None
    bonferroni: float | None = None


class PairedTests(BaseModel):
    """Everybody's change of the first measure by every test of the paper, and by the one the gate decides by."""

    model_config = ConfigDict(extra="forbid")

    measure: str
    people: int
    scenes: int
    before: float
    after: float
    difference: float
    by_scenes: tuple[float, float, float] = Field(title="95 % interval and p, scenes as clusters")
    bootstrap: tuple[float, float] = Field(title="95 % interval, scenes drawn with replacement (BCa)")
    paired_t: tuple[float, float, float, float] = Field(title="95 % interval, t and p, people by themselves")
    wilcoxon: tuple[float, float] = Field(title="Smaller sum of ranks and p, people by themselves")
    better: int
    worse: int


def group_table(
    groups: Groups, after: Scores, scenes: Mapping[int, Hashable], before: Scores | None = None
) -> list[GroupFigures]:
    """Every group of at least `FEWEST` people by every measure; p-values corrected over all of them together."""
    first = next(iter(after))
    every = {EVERYBODY: {EVERYBODY: frozenset(after[first])}} | groups
    rows: list[GroupFigures] = []
    for kind, names in every.items():
        for name, people in names.items():
            known = sorted(people & after[first].keys())
            if len(known) < FEWEST:
                continue
            row = GroupFigures(
                kind=kind, group=name, people=len(known), scenes=len({scenes[person] for person in known}),
                after=_estimates(after, people, scenes),
            )  # fmt: skip
            if before is not None:
                change = {person: after[first][person] - before[first][person] for person in known}
                row.before, row.change = _estimates(before, people, scenes), _estimate(change, scenes, shares=False)
                by_scene = [_scene_means(scores[first], known, scenes) for scores in (before, after)]
                row.p = signed_rank(*by_scene).p
            rows.append(row)
    tested = [row for row in rows if row.p is not None and row.kind != EVERYBODY]
    p = [row.p for row in tested if row.p is not None]
    for row, by_holm, by_bonferroni in zip(tested, holm(p), bonferroni(p), strict=True):
        row.holm, row.bonferroni = by_holm, by_bonferroni
    return rows


def _scene_means(scores: Mapping[int, float], people: list[int], scenes: Mapping[int, Hashable]) -> list[float]:
    """Each scene's mean over those people of it, in one order. A scene counts once, however many it shows: people of
    one scene stand or fall together, and a test that took each by themselves would be surer than it may be."""
    members: dict[Hashable, list[float]] = {}
    for person in people:
        members.setdefault(scenes[person], []).append(scores[person])
    return [sum(one) / len(one) for one in members.values()]


def paired_tests(
    measure: str, before: Mapping[int, float], after: Mapping[int, float], scenes: Mapping[int, Hashable]
) -> PairedTests:
    """Every test of the same people; raises WardposeError where they are not the same."""
    found = compare(before, after, scenes)
    people = sorted(before)
    was, became = [before[p] for p in people], [after[p] for p in people]
    drawn = cluster_bootstrap({p: after[p] - before[p] for p in people}, scenes)
    t = paired_t(was, became) if len(people) > 1 else None
    ranks = signed_rank(was, became)
    return PairedTests(
        measure=measure, people=found.people, scenes=found.scenes, before=found.before, after=found.after,
        difference=found.difference, by_scenes=(_open(found.low), _open(found.high), found.p),
        bootstrap=(_open(drawn.low), _open(drawn.high)),
        paired_t=(-1.0, 1.0, 0.0, 1.0) if t is None else (t.low, t.high, t.t, t.p),
        wilcoxon=(ranks.statistic, ranks.p), better=found.better, worse=found.worse,
    )  # fmt: skip


def _open(bound: float) -> float:
    """Scores are 0…1, so that a change which one scene leaves open lies within −1…1."""
    return max(-1.0, min(1.0, bound))


def _estimates(scores: Scores, people: frozenset[int], scenes: Mapping[int, Hashable]) -> dict[str, Estimate]:
    return {
        measure: _estimate(chosen, scenes)
        for measure, values in scores.items()
        if (chosen := {person: value for person, value in values.items() if person in people})
    }


def _estimate(values: Mapping[int, float], scenes: Mapping[int, Hashable], *, shares: bool = True) -> Estimate:
    """shares: whether the values are 0…1, of which all 0 or all 1 in a few scenes are no certainty."""
    found = cluster_bootstrap(values, scenes, resamples=1000)
    if found.scenes < 2:
        return Estimate(mean=found.mean, low=None, high=None)
    if shares and found.low == found.high in (0.0, 1.0):  # no draw differs: the exact binomial interval over scenes
        reach = 1 - 0.025 ** (1 / found.scenes)  # Clopper & Pearson (1934) for none, or all, of so many
        return Estimate(mean=found.mean, low=max(0.0, found.mean - reach), high=min(1.0, found.mean + reach))
    return Estimate(mean=found.mean, low=found.low, high=found.high)
