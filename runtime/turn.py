"""Which way a person's crop is turned, so that the trunk stands upright in it.

A pose model that learnt from photographs knows people upright; one who lies is found when the crop is turned to the
body. The turn comes from the last skeleton while a person is tracked (`TurnMemory`), else from looks at several turns
(`first_turns`), each followed by others with that look's own trunk upright (`SECOND_LOOKS`), of which `agreed` makes
one skeleton.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.skeleton import OKS_SIGMAS, Skeletons

Floats = NDArray[np.floating]

_SHOULDERS, _HIPS = (5, 6), (11, 12)

# With a trunk upright a person is looked at mirrored and closer: part of the crop's size, and whether it is mirrored.
# A right turn gives nearly one skeleton for both, a wrong one quite different ones, which tells them apart better than
# any score. Measured, the mean OKS of seven sets of people (photographs at three turns, drawn wards) as the model comes
# and tuned: .709 and .741; as they are and from farther off too, twenty looks instead of twelve, .708 and .739; the
# mirrored look alone .700 and .732, the closer alone .702 and .734.
SECOND_LOOKS = ((1.0, True), (0.88, False))

# What a trunk upside down costs a look, in joints that every look bears out: next to nothing where looks agree (up to
# 17), enough where none do. Measured: people upright in photographs gain .01 of OKS, those who lie lose nothing; more,
# or a trunk across the picture counted half, costs the lying.
UPSIDE_DOWN = 0.1
# Power of the score by which looks that agree are averaged. Measured against their plain mean by score: a point of OKS
# or more on photographs, upright and turned, and on people who lie in wards; 3 to 6 are as good.
SURENESS = 4


def trunk_turn(keypoints: Floats) -> NDArray[np.float64]:
    """The turns (...,) in radians at which the trunks of skeletons (..., 17, 2) stand upright, shoulders above."""
    points = np.asarray(keypoints, np.float64)
    down = points[..., _HIPS, :].mean(-2) - points[..., _SHOULDERS, :].mean(-2)
    turn: NDArray[np.float64] = np.arctan2(-down[..., 0], down[..., 1])
    return turn


def between(a: Floats | float, b: Floats | float) -> NDArray[np.float64]:
    """The angle from `a` to `b` in radians, in [−π, π)."""
    return np.asarray((np.asarray(b, np.float64) - a + np.pi) % (2 * np.pi) - np.pi)


@dataclass(frozen=True, slots=True)
class Aims:
    """What is known of N people's turns, in radians, NaN where nothing is.

    known: the turn of the person's last skeleton, which is used as it is. hint: one to be tried beside upright, such
    as that of the bed a person may lie on.
    """

    known: NDArray[np.float64]
    hint: NDArray[np.float64]

    @classmethod
    def unknown(cls, people: int) -> Aims:
        return cls(np.full(people, np.nan), np.full(people, np.nan))


def first_turns(known: float, hint: float) -> NDArray[np.float64]:
    """The turns (T,) at which a person is looked at first: the known one, else upright and the hint, else all four."""
    if not np.isnan(known):
        return np.array([known])
    if not np.isnan(hint):
        return np.array([0.0, hint])
    return np.arange(4) * np.pi / 2


@dataclass(frozen=True, slots=True)
class Looks:
    """L looks at people: `person` (L,) whose, `keypoints` (L, 17, 2) in picture pixels, raw `score` (L, 17)."""

    person: NDArray[np.intp]
    keypoints: NDArray[np.float64]
    score: NDArray[np.float64]

    def __add__(self, other: Looks) -> Looks:
        return Looks(
            np.concatenate([self.person, other.person]),
            np.concatenate([self.keypoints, other.keypoints]),
            np.concatenate([self.score, other.score]),
        )

    def __len__(self) -> int:
        return len(self.person)

    def __getitem__(self, index: NDArray[np.bool_]) -> Looks:
        return Looks(self.person[index], self.keypoints[index], self.score[index])


def choose_look(looks: Looks, xyxy: Floats) -> int:
    """The index of the look whose skeleton the others bear out most, each by its scores.

    A model's own score does not tell a right turn from a wrong one; wrong turns give skeletons that nothing else
    agrees with. Where hardly any two agree, a trunk upside down is the least likely one. xyxy: the person's box (4,).
    """
    same = _sameness(looks.keypoints[:, None], looks.keypoints[None], xyxy)
    borne_out = (same * looks.score[None]).sum(2).mean(1)
    return int((borne_out + UPSIDE_DOWN * np.minimum(np.cos(trunk_turn(looks.keypoints)), 0)).argmax())


def agreed(looks: Looks, xyxy: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One skeleton (17, 2) and its raw scores (17,) from looks at one person in the box (4,).

    It is the chosen look's, each joint moved to the mean of what the looks say that place it there too, the surest of
    them before all.
    """
    if len(looks) == 1:
        return looks.keypoints[0], looks.score[0]
    chosen = looks.keypoints[choose_look(looks, xyxy)]
    same, score = _sameness(looks.keypoints, chosen, xyxy), np.maximum(looks.score, 1e-6)
    place, belief = same * score**SURENESS, same * score
    keypoints = np.einsum("jk,jkc->kc", place / place.sum(0), looks.keypoints)
    return keypoints, (belief * looks.score).sum(0) / belief.sum(0)


def _sameness(a: Floats, b: Floats, xyxy: Floats) -> NDArray[np.float64]:
    """(..., 17) how much joints of skeletons (..., 17, 2) mean the same place: COCO's OKS, the person taken to fill
    half of the box."""
    area = max(float((xyxy[2] - xyxy[0]) * (xyxy[3] - xyxy[1])) / 2, 1.0)
    return np.asarray(np.exp(-np.square(a - b).sum(-1) / (2 * area * np.square(2 * OKS_SIGMAS))))


@dataclass(slots=True)
class _Remembered:
    turn: float
    opposed: int = 0  # frames in a row in which the trunk stood quite otherwise
    doubted: int = 0  # frames in a row in which the trunk was not found
    patience: int = 0
    absent: int = 0


class TurnMemory:
    """The turn of each tracked person, from their last skeletons.

    sure: least mean score of both shoulders and of both hips for a trunk to be believed. A believed trunk moves the
    turn by half the difference; one that stands more than `flip` (radians) away is followed only when it has done so
    for `frames` frames, so that one wrong skeleton does not turn the crop over. A trunk that can't be believed for
    `frames` frames lets the turn be searched for anew, and each search in vain doubles the wait for the next.
    """

    def __init__(self, sure: float = 0.3, flip: float = np.pi / 3, frames: int = 4, spacing: int = 4) -> None:
        self.sure, self.flip, self.frames, self.spacing = sure, flip, frames, spacing
        self._people: dict[int, _Remembered] = {}
        self._waiting: set[int] = set()
        self._rest = 0

    def aims(self, track_id: NDArray[np.int64] | None, hint: NDArray[np.float64]) -> Aims:
        """What is known of a frame's people. hint: (people,) as in `Aims`.

        Only one is searched for in `spacing` frames, so that neither a group that comes in nor boxes that come and go
        stop the picture; the others are looked at once, by their hint, else upright, until it is their turn. Without
        track ids all are searched for.
        """
        known = np.full(len(hint), np.nan)
        self._waiting = set()
        self._rest = max(0, self._rest - 1)
        for index, track in enumerate([] if track_id is None else track_id.tolist()):
            person = self._people.get(track)
            if person is not None and person.doubted < person.patience:
                known[index] = person.turn
            elif self._rest:
                known[index] = 0.0 if np.isnan(hint[index]) else hint[index]
                self._waiting.add(track)
            else:
                self._rest = self.spacing
        return Aims(known, hint)

    def learn(self, skeletons: Skeletons) -> None:
        """Take in the skeletons found with the last `aims`; those without track ids are not remembered."""
        ids = [] if skeletons.track_id is None else skeletons.track_id.tolist()
        for person in self._people.values():
            person.absent += 1
        turns = trunk_turn(skeletons.keypoints)
        for track, turn, score in zip(ids, turns.tolist(), skeletons.score, strict=True):
            if track not in self._waiting:
                sure = min(score[list(_SHOULDERS)].mean(), score[list(_HIPS)].mean()) >= self.sure
                self._see(track, turn, bool(sure))
            elif track in self._people:
                self._people[track].absent = 0
        self._people = {track: person for track, person in self._people.items() if person.absent <= _FORGET}

    def _see(self, track: int, turn: float, sure: bool) -> None:
        person = self._people.get(track)
        if person is None:
            self._people[track] = _Remembered(turn, patience=self.frames, doubted=0 if sure else 1)
            return
        searched = person.doubted >= person.patience
        person.absent = 0
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


# Frames: until a person who is gone is forgotten, and the longest wait between two searches.
_FORGET, _LONGEST = 60, 64
