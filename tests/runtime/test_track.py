"""Numbers that stay with people."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.detections import Detections
from runtime.track import Tracker


def _at(*centres: tuple[float, float], size: float = 60) -> Detections:
    xy = np.array(centres, np.float32).reshape(-1, 2)
    return Detections(np.concatenate([xy - size / 2, xy + size / 2], 1), np.ones(len(xy), np.float32))


def _ids(tracker: Tracker, detections: Detections, now_s: float) -> list[int]:
    ids = tracker.update(detections, now_s).track_id
    assert ids is not None
    return ids.tolist()


def test_two_people_who_pass_keep_their_numbers() -> None:
    tracker = Tracker()
    for step in range(40):
        left, right = (100 + 5.0 * step, 100.0), (300 - 5.0 * step, 130.0)
        people = [left, right] if step % 2 else [right, left]
        ids = _ids(tracker, _at(*people), step / 20)
        if step == 0:
            first = dict(zip(("right", "left"), ids, strict=True))
        assert ids == ([first["left"], first["right"]] if step % 2 else [first["right"], first["left"]])


def test_a_short_gap_while_walking_keeps_the_number() -> None:
    tracker = Tracker()
    for step in range(20):
        (before,) = _ids(tracker, _at((100 + 8.0 * step, 100)), step / 20)
    for step in range(20, 32):
        assert _ids(tracker, Detections.empty(), step / 20) == []
    # 104 px on, beyond any overlap with where the person was last seen.
    assert _ids(tracker, _at((100 + 8.0 * 32, 100)), 32 / 20) == [before]


def test_a_long_gap_is_another_person() -> None:
    tracker = Tracker(forget_s=1.0)
    (before,) = _ids(tracker, _at((100, 100)), 0.0)
    assert _ids(tracker, _at((100, 100)), 1.5) != [before]


def test_a_source_that_starts_again_starts_afresh() -> None:
    tracker = Tracker()
    (before,) = _ids(tracker, _at((100, 100)), 50.0)
    assert _ids(tracker, _at((100, 100)), 0.0) != [before]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500)), max_size=6), max_size=8))
def test_numbers_are_unique_in_a_frame_and_boxes_untouched(frames: list[list[tuple[float, float]]]) -> None:
    tracker = Tracker()
    for step, centres in enumerate(frames):
        people = _at(*centres)
        tracked = tracker.update(people, step / 10)
        ids: NDArray[np.int64] = tracked.track_id  # type: ignore[assignment]
        assert len(set(ids.tolist())) == len(centres)
        assert (ids > 0).all()
        np.testing.assert_array_equal(tracked.xyxy, people.xyxy)


RED, BLUE, GREEN = (np.eye(128, dtype=np.float32)[colour] for colour in (3, 40, 90))


def _seen(tracker: Tracker, now_s: float, *people: tuple[tuple[float, float], NDArray[np.float32]]) -> list[int]:
    looks = np.stack([look for _, look in people]) if people else np.empty((0, 128), np.float32)
    ids = tracker.update(_at(*(place for place, _ in people)), now_s, looks).track_id
    assert ids is not None
    return ids.tolist()


def test_a_patient_wholly_hidden_for_ten_seconds_keeps_the_number() -> None:
    tracker = Tracker()
    for step in range(20):
        patient, nurse = _seen(tracker, step / 20, ((200, 200), RED), ((100.0 + 5 * step, 180), BLUE))
    for step in range(20, 220):  # she stands before the bed, and only she is detected
        assert _seen(tracker, step / 20, ((200, 185), BLUE)) == [nurse]
    assert _seen(tracker, 220 / 20, ((203, 199), RED), ((230, 185), BLUE)) == [patient, nurse]


def test_who_takes_a_lost_persons_place_and_looks_otherwise_is_another() -> None:
    tracker = Tracker()
    (patient,) = _seen(tracker, 0.0, ((200, 200), RED))
    (other,) = _seen(tracker, 5.0, ((202, 200), GREEN))
    assert other != patient
    assert _seen(tracker, 8.0, ((200, 200), RED), ((260, 200), GREEN)) == [patient, other]


def test_two_who_cross_and_hide_each_other_keep_their_numbers() -> None:
    tracker = Tracker()
    for step in range(40):
        x = 100 + 5.0 * step
        hidden = 16 <= step <= 24  # the one behind
        people = [((x, 100.0), RED)] + ([] if hidden else [((300 - 5.0 * step, 104.0), BLUE)])
        ids = _seen(tracker, step / 20, *people)
        if step == 0:
            first = ids
        assert ids == first[: len(ids)]


def test_who_stays_in_their_place_keeps_the_number_when_the_light_changes() -> None:
    tracker = Tracker()
    before = _seen(tracker, 0.0, ((200, 200), RED))
    assert _seen(tracker, 0.05, ((201, 200), GREEN)) == before
