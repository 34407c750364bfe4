"""Who the patient is, where, and since when."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.detections import Detections
from runtime.patient import STATES, PatientState, PatientWatch, Roles
from runtime.stance import PLACES

BED, BESIDE = (100.0, 100.0, 300.0, 200.0), (320.0, 40.0, 380.0, 220.0)
RATE = 20.0


def _people(*people: tuple[int, tuple[float, ...], str]) -> tuple[Detections, np.ndarray]:
    """Tracked people with evidence of 0.9 for their place."""
    ids = np.array([one[0] for one in people], np.int64)
    boxes = np.array([one[1] for one in people], np.float32).reshape(-1, 4)
    share = np.array([[0.9 if place == one[2] else 0.05 for place in PLACES] for one in people]).reshape(-1, 3)
    return Detections(boxes, np.full(len(people), 0.8, np.float32), ids), np.log(share)


class Watched:
    """A watch and its clock."""

    def __init__(self) -> None:
        self.watch, self.now = PatientWatch(), 100.0

    def go_on(self, seconds: float, *people: tuple[int, tuple[float, ...], str]) -> tuple[Roles, PatientState]:
        for _ in range(max(1, round(seconds * RATE))):
            self.now += 1 / RATE
            told = self.watch.update(*_people(*people), self.now)
        return told


def test_who_lies_in_the_bed_is_the_patient_and_who_stands_beside_it_another() -> None:
    roles, state = Watched().go_on(5, (1, BESIDE, "out-of-bed"), (2, BED, "in-bed"))
    assert [roles.role(0), roles.role(1)] == ["other", "patient"]
    assert (state.place, state.track_id, state.seen) == ("in-bed", 2, True)
    assert state.probability["in-bed"] > 0.9
    assert sum(state.probability.values()) == pytest.approx(1)


def test_the_patient_stays_the_patient_after_getting_up_and_each_place_has_its_time() -> None:
    ward = Watched()
    ward.go_on(60, (7, BED, "in-bed"))
    _, sitting = ward.go_on(20, (7, BED, "on-edge"))
    assert sitting.place == "on-edge"
    assert sitting.for_s == pytest.approx(20, abs=2.5)
    roles, standing = ward.go_on(60, (7, BESIDE, "out-of-bed"), (9, BESIDE, "out-of-bed"))
    assert [roles.role(0), roles.role(1)] == ["patient", "other"]
    assert standing.place == "out-of-bed"
    assert standing.for_s == pytest.approx(60, abs=2.5)
    assert "out of bed for" in standing.words()


def test_one_wrong_second_changes_nothing_of_the_role() -> None:
    ward = Watched()
    ward.go_on(60, (1, BED, "in-bed"))
    roles, _ = ward.go_on(1, (1, BED, "out-of-bed"))
    assert roles.role(0) == "patient"


def test_one_wrong_frame_changes_no_place() -> None:
    ward = Watched()
    ward.go_on(60, (1, BED, "in-bed"))
    ward.go_on(0.04, (1, BED, "out-of-bed"))
    _, state = ward.go_on(0.5, (1, BED, "in-bed"))
    assert state.place == "in-bed"
    assert state.for_s > 55


def test_a_patient_whom_nobody_detects_any_more_is_nobody_seen_after_some_seconds() -> None:
    ward = Watched()
    ward.go_on(60, (1, BED, "in-bed"))
    _, soon = ward.go_on(2)
    assert (soon.place, soon.seen) == ("in-bed", False)
    _, later = ward.go_on(60)
    assert later.place == "nobody"
    assert later.words().startswith("nobody seen for")


def test_a_patient_covered_by_somebody_for_ten_seconds_is_still_in_bed() -> None:
    ward = Watched()
    ward.go_on(60, (1, BED, "in-bed"))
    roles, state = ward.go_on(10, (2, (120.0, 20.0, 260.0, 260.0), "out-of-bed"))
    assert state.place == "in-bed"
    assert state.seen is False
    assert roles.role(0) == "other"


def test_an_empty_room_has_no_patient() -> None:
    _, state = Watched().go_on(30)
    assert (state.place, state.track_id, state.seen) == ("nobody", None, False)


@pytest.mark.parametrize("jump", [-5000.0, 5000.0])
def test_a_clock_that_jumps_changes_neither_patient_nor_place(jump: float) -> None:
    ward = Watched()
    ward.go_on(30, (1, BED, "in-bed"))
    ward.now += jump
    roles, state = ward.go_on(0.2, (1, BED, "in-bed"))
    assert (state.place, roles.role(0)) == ("in-bed", "patient")
    assert state.for_s >= 0


def test_a_message_has_every_state() -> None:
    _, state = Watched().go_on(1, (1, BED, "in-bed"))
    told = state.to_dict()
    assert tuple(told["probability"]) == STATES
    assert told["place"] in STATES
