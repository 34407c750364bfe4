"""The turn of each tracked person, from their last skeletons, and the search for the turns of who is new."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.skeleton import Skeletons
from runtime.turn import Aims, Looks, between, trunk_turn
from runtime.turn_search import LOOKS_A_FRAME, TurnSearch, Views

_SHOULDERS, _HIPS = (5, 6), (11, 12)
# Frames: until a person who is gone is forgotten, and the longest wait between two searches.
_FORGET, _LONGEST = 60, 64


@dataclass(slots=True)
class _Remembered:
    turn: float
    opposed: int = 0  # frames in a row in which the trunk stood quite otherwise
    doubted: int = 0  # frames in a row in which the trunk was not found
    patience: int = 0
    absent: int = 0

    @property
    def sought(self) -> bool:
        """Whether the turn is to be searched for anew."""
        return self.doubted >= self.patience


class TurnMemory:
    """The turn of each tracked person, from their last skeletons.

    sure: least mean score of both shoulders and of both hips for a trunk to be believed. A believed trunk moves the
    turn by half the difference; one that stands more than `flip` (radians) away is followed only when it has done so
    for `frames` frames, so that one wrong skeleton does not turn the crop over. A trunk that can't be believed for
    `frames` frames lets the turn be searched for anew, and each search in vain doubles the wait for the next.
    """

    def __init__(self, sure: float = 0.3, flip: float = np.pi / 3, frames: int = 4) -> None:
        self.sure, self.flip, self.frames = sure, flip, frames
        self._people: dict[int, _Remembered] = {}
        self._searches: dict[int, TurnSearch] = {}
        self._waiting: set[int] = set()

    def aims(self, track_id: NDArray[np.int64] | None, hint: NDArray[np.float64]) -> Aims:
        """What is known of a frame's people; who is new is searched for within the frame. hint: (people,) as in `Aims`.

        Without track ids all are searched for.
        """
        known = np.full(len(hint), np.nan)
        for index, track in enumerate([] if track_id is None else track_id.tolist()):
            if not self._is_sought(track):
                known[index] = self._people[track].turn
        self._waiting, self._searches = set(), {}
        return Aims(known, hint)

    def searching(self, track_id: NDArray[np.int64]) -> bool:
        """Whether somebody's turn is to be found out."""
        return any(self._is_sought(track) for track in track_id.tolist())

    def _is_sought(self, track: int) -> bool:
        person = self._people.get(track)
        return person is None or person.sought

    def aims_at_pace(
        self, track_id: NDArray[np.int64], hint: NDArray[np.float64], most: int = LOOKS_A_FRAME
    ) -> tuple[Aims, Views]:
        """As `aims`, with a turn for everybody and at `most` so many further looks, which `take` takes.

        Who is new is shown by the likeliest turn so far, and one after the other is searched for, a few looks a frame:
        neither a group that comes in nor boxes that come and go stop the picture.
        """
        known = np.empty(len(hint))
        self._searches = {track: search for track, search in self._searches.items() if track in track_id}
        self._waiting = set()
        views = Views.plain(np.empty(0, np.intp), np.empty(0))
        for index, track in enumerate(track_id.tolist()):
            if not self._is_sought(track):
                known[index] = self._people[track].turn
                continue
            search = self._searches.get(track) or TurnSearch(float(hint[index]))
            if not len(views) and (track in self._searches or not self._searches):
                self._searches[track] = search
                views = search.ask(index, most) if most else views
            known[index] = search.guess
            self._waiting.add(track)
        return Aims(known, hint), views

    def take(self, looks: Looks, track_id: NDArray[np.int64], xyxy: NDArray[np.floating]) -> None:
        """The further looks of `aims_at_pace`, at people in the boxes `xyxy` (people, 4)."""
        if not len(looks):
            return
        index = int(looks.person[0])
        track = int(track_id[index])
        search = self._searches[track]
        search.take(looks, xyxy[index].astype(np.float64))
        if search.done:
            before = self._people.get(track)
            patience = self.frames if before is None else min(2 * before.patience, _LONGEST)
            self._people[track] = _Remembered(search.found(), patience=patience)
            del self._searches[track]

    def learn(self, skeletons: Skeletons, present: NDArray[np.int64] | None = None) -> None:
        """Take in the skeletons found with the last aims; those without track ids are not remembered.

        present: the track ids of a frame in which not everybody was looked at.
        """
        ids = [] if skeletons.track_id is None else skeletons.track_id.tolist()
        there = set(ids if present is None else present.tolist())
        for track, person in self._people.items():
            person.absent = 0 if track in there else person.absent + 1
        turns = trunk_turn(skeletons.keypoints)
        for track, turn, score in zip(ids, turns.tolist(), skeletons.score, strict=True):
            if track not in self._waiting:
                sure = min(score[list(_SHOULDERS)].mean(), score[list(_HIPS)].mean()) >= self.sure
                self._see(track, turn, bool(sure))
        self._people = {track: person for track, person in self._people.items() if person.absent <= _FORGET}

    def _see(self, track: int, turn: float, sure: bool) -> None:
        person = self._people.get(track)
        if person is None:
            self._people[track] = _Remembered(turn, patience=self.frames, doubted=0 if sure else 1)
            return
        searched = person.sought
        if sure:
            away = float(between(person.turn, turn))
            person.doubted, person.patience = 0, self.frames
            person.opposed = person.opposed + 1 if abs(away) > self.flip else 0
            if searched or person.opposed >= self.frames:
                person.turn, person.opposed = turn, 0
            elif not person.opposed:
                person.turn += away / 2
        elif searched:
            person.turn, person.doubted, person.patience = turn, 0, min(2 * person.patience, _LONGEST)
        else:
            person.doubted += 1
