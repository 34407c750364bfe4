"""Candidates of known worth, made from what real models answered: worse ones of every kind, and truly better ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.detections import Detections, iou_matrix
from runtime.skeleton import Skeletons
from tuning.coco_folder import Picture
from tuning.study.real_people import LYING

Rng = np.random.Generator
Boxes = dict[str, dict[int, Detections]]  # by set and picture
Joints = dict[str, dict[int, Skeletons]]
_OTHER_SIDE = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
_SAME_IOU = 0.3
_LYING = frozenset(
    {"supine", "prone", "lateral_left", "lateral_right", "fowler", "knees_bent", "arm_over_head", "fallen"}
)


@dataclass(frozen=True, slots=True)
class Sets:
    """The labelled pictures of each set, and who is in which group of people."""

    pictures: Mapping[str, Sequence[Picture]]
    groups: Mapping[str, Mapping[str, frozenset[int]]]

    def without(self, name: str) -> Sets:
        return Sets({each: pictures for each, pictures in self.pictures.items() if each != name}, self.groups)

    def group(self, rng: Rng, least: int) -> dict[str, frozenset[int]]:
        """The people of one group by set, drawn from those with `least` people and no more than a third of all."""
        names = list(self.pictures)
        people = {name: sum(len(pictures.ids) for pictures in self.pictures[name]) for name in names}
        kinds = sorted({group for name in names for group in self.groups[name]})
        sizes = {kind: sum(len(self.groups[name].get(kind, ())) for name in names) for kind in kinds}
        fit = [kind for kind in kinds if least <= sizes[kind] <= sum(people.values()) / 3]
        chosen = str(rng.choice(fit))
        return {name: self.groups[name].get(chosen, frozenset()) for name in names}


Chosen = Callable[[str, Picture, int], bool]  # set, picture, row: whether somebody is meant


def everybody(name: str, picture: Picture, row: int) -> bool:
    return True


def lying(name: str, picture: Picture, row: int) -> bool:
    return picture.postures[row] in LYING


def members(people: Mapping[str, Collection[int]]) -> Chosen:
    return lambda name, picture, row: int(picture.ids[row]) in people.get(name, ())


def nearer_boxes(
    rng: Rng, sets: Sets, found: Boxes, *, share: float, amount: float, add: float, who: Chosen = everybody,
    names: Collection[str] = (),
) -> Boxes:  # fmt: skip
    """Boxes moved `amount` (0…1) of the way to the truth for a `share` of people; `add`: share of the missed whom it
    finds. names: the sets it is better on, all where empty."""

    def better(name: str, picture: Picture, boxes: Detections) -> Detections:
        if names and name not in names:
            return boxes
        xyxy, score = boxes.xyxy.copy(), boxes.score.copy()
        more: list[NDArray[np.float64]] = []
        for row, place in _matched(picture, boxes):
            if not who(name, picture, row):
                continue
            truth = picture.boxes[row]
            if place is None or score[place] < 0.25:
                if rng.random() < add:
                    more.append(truth + rng.normal(0, 0.03, 4) * np.tile(truth[2:] - truth[:2], 2))
            elif rng.random() < share:
                xyxy[place] += (amount * (truth - xyxy[place])).astype(np.float32)
                score[place] += np.float32(amount * (0.95 - score[place]))
        return _with(xyxy, score, more, rng.uniform(0.4, 0.9, len(more)))

    return _each(sets, found, better)


def worse_boxes(
    rng: Rng, sets: Sets, found: Boxes, *, noise: float = 0.0, larger: float = 0.0, miss: float = 0.0,
    unsure: float = 1.0, alarms: float = 0.0, who: Chosen = everybody,
) -> Boxes:  # fmt: skip
    """Boxes with `noise` and `larger` by parts of their size, a share `miss` of people lost, scores times `unsure`, and
    `alarms` false people a picture."""

    def spoilt(name: str, picture: Picture, boxes: Detections) -> Detections:
        xyxy, score = boxes.xyxy.copy(), boxes.score.copy()
        kept = np.ones(len(score), bool)
        for row, place in _matched(picture, boxes):
            if place is None or not who(name, picture, row):
                continue
            size = np.tile(xyxy[place, 2:] - xyxy[place, :2], 2)
            grown = larger * size * (-0.5, -0.5, 0.5, 0.5)
            xyxy[place] += (rng.normal(0, noise, 4) * size if noise else 0) + grown
            if rng.random() < miss:
                kept &= iou_matrix(boxes.xyxy[place : place + 1], boxes.xyxy)[0] < _SAME_IOU
        more = [_somewhere(rng, picture) for _ in range(rng.poisson(alarms))]
        return _with(xyxy[kept], score[kept] * np.float32(unsure), more, rng.uniform(0.3, 0.8, len(more)))

    return _each(sets, found, spoilt)


def nearer_joints(
    rng: Rng, sets: Sets, found: Joints, *, share: float, amount: float, who: Chosen = everybody,
    names: Collection[str] = (),
) -> Joints:  # fmt: skip
    """Joints of a `share` of people moved `amount` of the way to the truth."""

    def better(name: str, picture: Picture, row: int, points: NDArray[np.float32]) -> NDArray[np.float32]:
        if (names and name not in names) or not who(name, picture, row) or rng.random() >= share:
            return points
        return points + np.float32(amount) * (picture.keypoints[row, :, :2] - points).astype(np.float32)

    return _each_joint(sets, found, better)


def worse_joints(
    rng: Rng, sets: Sets, found: Joints, *, noise: float = 0.0, mirrored: float = 0.0, who: Chosen = everybody
) -> Joints:
    """Joints with `noise` by parts of the box's size, left and right exchanged for a share `mirrored` of people."""

    def spoilt(name: str, picture: Picture, row: int, points: NDArray[np.float32]) -> NDArray[np.float32]:
        if not who(name, picture, row):
            return points
        if rng.random() < mirrored:
            points = points[_OTHER_SIDE]
        size = float(np.sqrt(np.prod(picture.boxes[row, 2:] - picture.boxes[row, :2])))
        return points + (rng.normal(0, noise, points.shape) * size).astype(np.float32) if noise else points

    return _each_joint(sets, found, spoilt)


def _each(sets: Sets, found: Boxes, change: Callable[[str, Picture, Detections], Detections]) -> Boxes:
    return {
        name: {picture.id: change(name, picture, found[name][picture.id]) for picture in pictures}
        for name, pictures in sets.pictures.items()
    }


def _each_joint(
    sets: Sets, found: Joints, change: Callable[[str, Picture, int, NDArray[np.float32]], NDArray[np.float32]]
) -> Joints:
    """`found` has a skeleton for everybody with labelled joints, in their order."""
    changed: Joints = {}
    for name, pictures in sets.pictures.items():
        changed[name] = {}
        for picture in pictures:
            people = found[name][picture.id]
            rows = np.flatnonzero(~picture.ignored & (picture.keypoints[..., 2] > 0).any(1)).tolist()
            points = [change(name, picture, row, people.keypoints[k]) for k, row in enumerate(rows)]
            changed[name][picture.id] = Skeletons(np.array(points, np.float32), people.score) if points else people
    return changed


def _matched(picture: Picture, boxes: Detections) -> list[tuple[int, int | None]]:
    """Each person's row and the place of the box that covers them best, None where none does."""
    rows = np.flatnonzero(~picture.ignored).tolist()
    if not rows or not len(boxes):
        return [(row, None) for row in rows]
    overlap = iou_matrix(picture.boxes, boxes.xyxy)
    places = [(row, int((overlap[row] * (0.2 + boxes.score)).argmax())) for row in rows]
    return [(row, place if overlap[row, place] >= _SAME_IOU else None) for row, place in places]


def _with(
    xyxy: NDArray[np.float32], score: NDArray[np.float32], more: list[NDArray[np.float64]], scores: NDArray[np.float64]
) -> Detections:
    boxes = np.concatenate([xyxy, np.array(more, np.float32).reshape(-1, 4)])
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1)
    every = np.clip(np.concatenate([score, scores.astype(np.float32)]), 0, 1)
    order = np.argsort(-every, kind="stable")
    return Detections(boxes[order].astype(np.float32), every[order].astype(np.float32))


def _somewhere(rng: Rng, picture: Picture) -> NDArray[np.float64]:
    size = rng.uniform(0.1, 0.3, 2) * (picture.width, picture.height)
    corner = rng.uniform(0, 1, 2) * ((picture.width, picture.height) - size)
    return np.concatenate([corner, corner + size])
