"""One patient found in two parts, and two people who are two."""

from __future__ import annotations

import numpy as np

from runtime.detections import Detections
from runtime.one_patient import merged_in_bed
from runtime.skeleton import Skeletons

# Evidence for in bed, on the edge, out of it.
LYING, STANDING = np.log([0.9, 0.05, 0.05]), np.log([0.05, 0.05, 0.9])
HEAD, LEGS = (100.0, 100.0, 180.0, 160.0), (190.0, 105.0, 300.0, 165.0)


def _people(
    heads: tuple[bool, ...], boxes: tuple[tuple[float, ...], ...] = (HEAD, LEGS)
) -> tuple[Detections, Skeletons]:
    """People numbered 5, 3, …, each with the upper or the lower half of a skeleton."""
    count = len(boxes)
    ids = np.array([5, 3, 8][:count])
    xyxy = np.array(boxes, np.float32)
    points = np.repeat((xyxy[:, None, :2] + xyxy[:, None, 2:]) / 2, 17, axis=1)
    score = np.zeros((count, 17), np.float32)
    for person, head in enumerate(heads):
        score[person, : 11 if head else 17] = 0.1
        score[person, slice(0, 11) if head else slice(11, 17)] = 0.8
    return Detections(xyxy, np.array([0.7, 0.5, 0.6], np.float32)[:count], ids), Skeletons(points, score, ids)


def test_head_and_legs_in_one_bed_are_one_person_with_the_older_number() -> None:
    people, skeletons, kept = merged_in_bed(*_people((True, False)), np.stack([LYING, LYING]))
    assert kept.tolist() == [1]
    assert people.track_id is not None
    assert people.track_id.tolist() == [3]
    np.testing.assert_array_equal(people.xyxy[0], [100, 100, 300, 165])
    assert (skeletons.score[0] == np.float32(0.8)).all()
    np.testing.assert_allclose(skeletons.keypoints[0, 0], [140, 130])
    np.testing.assert_allclose(skeletons.keypoints[0, 15], [245, 135])


def test_two_heads_are_two_people() -> None:
    people, _, _ = merged_in_bed(*_people((True, True)), np.stack([LYING, LYING]))
    assert len(people) == 2


def test_who_stands_beside_the_bed_is_nobodys_part() -> None:
    people, _, _ = merged_in_bed(*_people((True, False)), np.stack([LYING, STANDING]))
    assert len(people) == 2


def test_parts_that_lie_far_apart_are_not_one_body() -> None:
    far = ((0.0, 0.0, 40.0, 40.0), (300.0, 200.0, 340.0, 240.0))
    people, _, _ = merged_in_bed(*_people((True, False), far), np.stack([LYING, LYING]))
    assert len(people) == 2


def test_without_a_pose_model_boxes_alone_are_put_together() -> None:
    detections, _ = _people((True, False))
    people, skeletons, _ = merged_in_bed(detections, Skeletons.empty(), np.stack([LYING, LYING]))
    assert (len(people), len(skeletons)) == (1, 0)


def test_nobody_stays_nobody() -> None:
    people, _, kept = merged_in_bed(Detections.empty(), Skeletons.empty(), np.empty((0, 3)))
    assert len(people) == len(kept) == 0
