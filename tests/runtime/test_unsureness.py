"""How unsure the models are, compared with how unsure they were after they were taken in use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.detections import Detections
from runtime.frames import Frame
from runtime.pipeline import LiveResult
from runtime.skeleton import Skeletons
from runtime.unsureness import FIGURES, LEARNT_S, RUNNING_S, UnsurenessWatch


class Room:
    """A room under a watch: one person in it, frames once a second."""

    def __init__(self, file: Path | None = None) -> None:
        self.watch, self.now, self.rng = UnsurenessWatch(file), 1000.0, np.random.default_rng(1)
        self.watch.use("a, b")

    def go_on(self, seconds: float, sure: float, light: int = 120, wide: float = 1.0, people: int = 1) -> None:
        for _ in range(round(seconds)):
            self.now += 1.0
            noise = self.rng.normal(0, 8, (64, 96, 3))
            color = np.clip(light + noise, 0, 255).astype(np.uint8)
            boxes = np.repeat(np.array([[10, 10, 10 + 30 * wide, 40]], np.float32), people, axis=0)
            found = Detections(boxes, np.full(people, sure, np.float32), np.arange(people))
            joints = np.clip(sure + self.rng.normal(0, 0.02, (people, 17)), 0, 1).astype(np.float32)
            skeletons = Skeletons(np.zeros((people, 17, 2), np.float32), joints, np.arange(people))
            frame = Frame(color, self.now, 0, "made")
            self.watch.update(frame, LiveResult(0, self.now, self.now, 96, 64, found, skeletons))


def test_nothing_is_told_before_anybody_was_seen_and_nothing_compared_before_it_was_learnt() -> None:
    room = Room()
    assert room.watch.told() is None
    room.go_on(60, 0.8)
    told = room.watch.told()
    assert told is not None
    assert told.after_tuning is None
    assert told.now == pytest.approx(0.2, abs=0.02)
    assert told.to_dict()["words"] == ""


def test_a_room_that_stays_as_it_was_proposes_nothing() -> None:
    room = Room()
    room.go_on(LEARNT_S + 3 * RUNNING_S, 0.8)
    told = room.watch.told()
    assert told is not None
    assert told.ratio == pytest.approx(1, abs=0.05)
    assert not told.retarget


@pytest.mark.parametrize(
    ("change", "words"),
    [({"light": 25}, "light: 0.2 times as bright"), ({"wide": 2.2}, "posture: people are 2.2 times as wide"), ({}, "")],
)
def test_models_that_have_become_unsure_propose_retargeting_and_say_what_has_changed(
    change: dict[str, float], words: str
) -> None:
    room = Room()
    room.go_on(LEARNT_S, 0.8)
    room.go_on(5 * RUNNING_S, 0.55, **change)  # type: ignore[arg-type]
    told = room.watch.told()
    assert told is not None
    assert told.retarget
    assert told.ratio == pytest.approx(0.45 / 0.2, rel=0.05)
    said = told.to_dict()
    assert words in said["words"]
    assert "retargeting is proposed" in said["words"]


def test_a_bad_minute_proposes_nothing() -> None:
    room = Room()
    room.go_on(LEARNT_S, 0.8)
    room.go_on(45, 0.3)
    room.go_on(30, 0.8)
    told = room.watch.told()
    assert told is not None
    assert not told.retarget


def test_what_was_learnt_is_kept_by_the_models_names_and_holds_numbers_alone(tmp_path: Path) -> None:
    file = tmp_path / "unsureness.json"
    room = Room(file)
    room.go_on(LEARNT_S, 0.8)
    kept = json.loads(file.read_text())
    assert list(kept) == ["a, b"]
    assert list(kept["a, b"]["mean"]) == list(FIGURES)
    assert file.stat().st_size < 1000
    again = Room(file)
    again.go_on(2 * RUNNING_S, 0.8)
    told = again.watch.told()
    assert told is not None
    assert told.after_tuning == pytest.approx(0.2, abs=0.02)
    again.watch.use("c, d")  # other models begin anew
    again.go_on(10, 0.8)
    told = again.watch.told()
    assert told is not None
    assert told.after_tuning is None


@pytest.mark.parametrize("text", ["", "[]", '{"a, b": 3}', '{"a, b": {"mean": {}, "var": {}, "seen_s": 900}}'])
def test_a_file_that_cannot_be_understood_is_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "u.json").write_text(text)
    room = Room(tmp_path / "u.json")
    room.go_on(70, 0.8)
    assert json.loads((tmp_path / "u.json").read_text())["a, b"]["seen_s"] > 50


def test_an_empty_room_and_a_clock_that_jumps_back_change_nothing() -> None:
    room = Room()
    room.go_on(100, 0.8)
    before = room.watch.told()
    frame = Frame(np.zeros((64, 96, 3), np.uint8), room.now + 1, 0, "made")
    nobody = LiveResult(0, room.now, room.now, 96, 64, Detections.empty(), Skeletons.empty())
    room.watch.update(frame, nobody)
    room.watch.update(replace(frame, timestamp_s=3.0), nobody)
    assert room.watch.told() == before
