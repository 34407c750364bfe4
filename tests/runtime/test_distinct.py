"""Whoever was found twice is one person; two people stay two."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.detections import Detections
from runtime.distinct import distinct_people, without_strays
from runtime.skeleton import Skeletons


def _points(seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform((110, 110), (190, 290), (17, 2)).astype(np.float32)


def _people(
    boxes: list[tuple[int, int, int, int]], points: list[NDArray[np.float32]], ids: list[int] | None = None
) -> tuple[Detections, Skeletons]:
    tracks = None if ids is None else np.array(ids)
    score = np.linspace(0.5, 0.9, len(boxes)).astype(np.float32)
    found = Detections(np.array(boxes, np.float32), score, tracks)
    return found, Skeletons(np.array(points), np.full((len(boxes), 17), 0.8, np.float32), tracks)


WHOLE, PART, BESIDE = (100, 100, 200, 300), (100, 100, 200, 210), (170, 100, 270, 300)


def test_of_one_person_found_twice_the_one_tracked_longer_stays() -> None:
    found, skeletons = _people([WHOLE, PART], [_points(), _points() + 2], [7, 3])
    assert distinct_people(found, skeletons).tolist() == [1]


def test_without_track_ids_the_surer_one_stays() -> None:
    found, skeletons = _people([WHOLE, PART], [_points(), _points() + 2])
    assert distinct_people(found, skeletons).tolist() == [1]


def test_two_people_in_one_place_with_bodies_of_their_own_stay_two() -> None:
    found, skeletons = _people([WHOLE, PART], [_points(1), _points(2)], [1, 2])
    assert distinct_people(found, skeletons).tolist() == [0, 1]


def test_a_skeleton_that_strayed_onto_a_neighbour_is_the_neighbours_alone() -> None:
    found, skeletons = _people([BESIDE, WHOLE], [_points(), _points() + 1], [1, 2])
    kept = without_strays(found, skeletons)
    assert (kept.score[0] == 0).all()
    np.testing.assert_array_equal(kept.score[1], skeletons.score[1])
    assert distinct_people(found, kept).tolist() == [0, 1]


def test_skeletons_of_their_own_and_ones_of_one_person_found_twice_are_believed_as_before() -> None:
    for boxes, points in (([WHOLE, BESIDE], [_points(1), _points(2)]), ([WHOLE, PART], [_points(), _points()])):
        found, skeletons = _people(boxes, points, [1, 2])
        np.testing.assert_array_equal(without_strays(found, skeletons).score, skeletons.score)


def test_people_without_believed_joints_are_all_kept() -> None:
    found, skeletons = _people([WHOLE, WHOLE, PART], [_points()] * 3, [1, 2, 3])
    assert distinct_people(found, Skeletons(skeletons.keypoints, skeletons.score * 0.1)).tolist() == [0, 1, 2]


def test_nobody_is_nobody() -> None:
    assert len(without_strays(Detections.empty(), Skeletons.empty())) == 0
    assert distinct_people(Detections.empty(), Skeletons.empty()).tolist() == []
