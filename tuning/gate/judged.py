"""What one model showed on one set, in the terms the gate compares."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from tuning.coco_folder import Picture, scenes_of
from tuning.evaluate.groups import people_groups
from tuning.evaluate.keypoints import KeypointFigures
from tuning.evaluate.report import Evaluation


@dataclass(frozen=True, slots=True)
class Judged:
    """What one model showed on one set.

    scores: each person's own, by annotation id, by the measure of this name. guard, guarded: the figure that must not
    fall on a set it was not tuned for. scenes: in which scene each person was seen; pictures: how many there are.
    alarms: false people a picture, None for a model that finds nobody. groups: who is in which, `kind: group` to ids.
    """

    measure: str
    scores: Mapping[int, float]
    guard: str
    guarded: float
    scenes: Mapping[int, Hashable]
    pictures: int
    alarms: float | None = None
    groups: Mapping[str, frozenset[int]] = field(default_factory=dict)


def of_detector(found: Evaluation, pictures: Sequence[Picture], light: Mapping[int, float] | None = None) -> Judged:
    """A detector by its person score, guarded by AP50 and by false people. pictures: those it was evaluated on."""
    return Judged(
        "person score", found.scores, "AP50", found.AP50, scenes_of(pictures), found.images, found.false_people,
        groups_of(pictures, light),
    )  # fmt: skip


def of_pose(found: KeypointFigures, pictures: Sequence[Picture], light: Mapping[int, float] | None = None) -> Judged:
    """A pose model by the similarity of each person's visible joints, guarded by its mean: where a joint lies under a
    blanket is anybody's guess, the labels' own too."""
    return Judged(
        "similarity of visible joints", found.seen, "mean similarity", found.mean_oks_visible or 0.0,
        scenes_of(pictures), found.images, None, groups_of(pictures, light),
    )  # fmt: skip


def groups_of(pictures: Sequence[Picture], light: Mapping[int, float] | None = None) -> dict[str, frozenset[int]]:
    """`kind: group` to the annotation ids of its people."""
    return {
        f"{kind}: {name}": people
        for kind, groups in people_groups(pictures, light).items()
        for name, people in groups.items()
    }
