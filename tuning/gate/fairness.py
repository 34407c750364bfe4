"""A better mean may hide a group of people who lost: each group with enough people is looked at by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tuning.gate.judged import Judged
from tuning.gate.settings import GateSettings


@dataclass(frozen=True, slots=True)
class GroupChange:
    """What a group of people's mean score changed by, over all sets together."""

    group: str
    people: int
    before: float
    after: float

    @property
    def change(self) -> float:
        return self.after - self.before


def group_changes(candidate: Mapping[str, Judged], current: Mapping[str, Judged]) -> list[GroupChange]:
    """Every group of every set, people of all sets together; in the groups' order."""
    members: dict[str, list[tuple[float, float]]] = {}
    for name, new in candidate.items():
        old = current[name]
        for group, people in new.groups.items():
            members.setdefault(group, []).extend(
                (old.scores[person], new.scores[person]) for person in people if person in new.scores
            )
    found = []
    for group, scores in sorted(members.items()):
        if scores:
            before, after = np.array(scores).mean(0)
            found.append(GroupChange(group, len(scores), float(before), float(after)))
    return found


def told_of_groups(
    note: Callable[[bool, str], None],
    candidate: Mapping[str, Judged],
    current: Mapping[str, Judged],
    settings: GateSettings,
) -> None:
    """Note every group that lost more than it may, else the one that lost most; and which are too small to tell."""
    changes = group_changes(candidate, current)
    judged = [one for one in changes if one.people >= settings.enough_people]
    lost = [one for one in judged if one.change < -settings.allowed_group_loss]
    allowed = f"allowed to lose {settings.allowed_group_loss:g}"
    for one in lost:
        note(False, f"{one.group} ({one.people} people): {one.before:.3f} → {one.after:.3f}, {allowed}")
    if judged and not lost:
        worst = min(judged, key=lambda one: one.change)
        note(
            True,
            f"of {len(judged)} groups with {settings.enough_people} people or more none loses too much: the least gain "
            f"is that of {worst.group} ({worst.people} people), {worst.before:.3f} → {worst.after:.3f}, {allowed}",
        )
