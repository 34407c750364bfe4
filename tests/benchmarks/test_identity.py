"""The bench of identities, on a short sequence with truth."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.identity import Moment, judged, run, sequence
from runtime.detections import Detections

pytest.importorskip("motmetrics", reason="motmetrics is not installed")


def _oracle(moment: Moment) -> Detections:
    ids, boxes = moment.truth
    return Detections(boxes.astype(np.float32), np.ones(len(ids), np.float32), ids + 1)


def test_the_truth_itself_is_judged_perfect_and_new_numbers_every_frame_are_not() -> None:
    moments = sequence(10, seed=3)
    perfect = judged(moments, _oracle)
    assert (perfect["idf1"], perfect["hota"], perfect["switches_per_hour"]) == (1.0, 1.0, 0.0)
    count = iter(range(10**6))

    def fresh(moment: Moment) -> Detections:
        known = _oracle(moment)
        return Detections(known.xyxy, known.score, np.array([next(count) for _ in range(len(known))]))

    worst = judged(moments, fresh)
    assert worst["idf1"] < 0.05
    assert worst["hota"] < 0.2


def test_people_keep_their_numbers_better_than_by_boxes_with_a_short_memory() -> None:
    found = run(1, seed=1)
    assert found["tracker"]["idf1"] > found["boxes_1s"]["idf1"]
    assert found["tracker"]["hota"] > found["boxes_1s"]["hota"]
