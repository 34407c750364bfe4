"""Looking for a person's turn a few looks a frame, so that no frame waits for somebody new.

In a single picture a person is looked at from every side at once (`PoseEstimator.estimate`). Live, the same looks are
spread over as many frames as they need: half a second later the turn is known, and no frame had more than two looks
beyond those that show its people.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.turn import SECOND_LOOKS, Looks, agreed, first_turns, trunk_turn

# Looks in a frame beyond the one that shows each person: with two people in view four, as many as four people cost.
LOOKS_A_FRAME = 2
# Looks are compared in their person's own box, whose side is taken to be so long: people move from frame to frame.
_SIDE = 1000.0
_BOX = np.array([-_SIDE / 2, -_SIDE / 2, _SIDE / 2, _SIDE / 2])


@dataclass(frozen=True, slots=True)
class Views:
    """How V looks at a frame's people are to be taken. person (V,): whose, by index; turn (V,) in radians; zoom (V,):
    the crop's size over its usual one; mirrored (V,): whether the model sees the crop's mirror image."""

    person: NDArray[np.intp]
    turn: NDArray[np.float64]
    zoom: NDArray[np.float64]
    mirrored: NDArray[np.bool_]

    @classmethod
    def plain(cls, person: NDArray[np.intp], turn: NDArray[np.float64]) -> Views:
        """Looks as usual at people, turned by `turn`."""
        return cls(person, turn, np.ones(len(person)), np.zeros(len(person), bool))

    @classmethod
    def second(cls, person: NDArray[np.intp], turn: NDArray[np.float64]) -> Views:
        """What follows each first look (`SECOND_LOOKS`), whose trunk stands upright when turned by `turn`."""
        zoom, mirrored = (np.array(column) for column in zip(*SECOND_LOOKS, strict=True))
        each = len(SECOND_LOOKS)
        return cls(np.repeat(person, each), np.repeat(turn, each), np.tile(zoom, len(person)),
                   np.tile(mirrored.astype(bool), len(person)))  # fmt: skip

    def __len__(self) -> int:
        return len(self.person)


@dataclass(slots=True)
class TurnSearch:
    """One person's. hint: radians, NaN where nothing is known, as in `Aims`."""

    hint: float
    _waiting: deque[tuple[float, float, bool]] = field(default_factory=deque)
    _asked: list[tuple[float, float, bool]] = field(default_factory=list)
    _seen: Looks | None = None

    def __post_init__(self) -> None:
        self._waiting.extend((turn, 1.0, False) for turn in first_turns(np.nan, self.hint).tolist())

    @property
    def guess(self) -> float:
        """The turn to show the person at meanwhile."""
        if self._seen is None:
            return 0.0 if np.isnan(self.hint) else self.hint
        return self.found()

    @property
    def done(self) -> bool:
        return not self._waiting and not self._asked

    def found(self) -> float:
        """The turn that the looks so far bear out."""
        assert self._seen is not None
        return float(trunk_turn(agreed(self._seen, _BOX)[0]))

    def ask(self, person: int, most: int = LOOKS_A_FRAME) -> Views:
        """The looks to be taken in this frame, of which `person` is the index; those asked for before are given up."""
        self._waiting.extendleft(reversed(self._asked))
        self._asked = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        turn, zoom, mirrored = zip(*self._asked, strict=True)
        return Views(np.full(len(turn), person), np.array(turn), np.array(zoom), np.array(mirrored, bool))

    def take(self, looks: Looks, xyxy: NDArray[np.floating]) -> None:
        """The looks asked for, in their order, with the person's box (4,)."""
        middle, side = (xyxy[:2] + xyxy[2:]) / 2, np.sqrt(max(float((xyxy[2:] - xyxy[:2]).prod()), 1.0))
        placed = (looks.keypoints - middle) * (_SIDE / side)
        for (_, zoom, mirrored), keypoints in zip(self._asked, placed, strict=True):
            if zoom == 1.0 and not mirrored:
                turn = float(trunk_turn(keypoints))
                self._waiting.extend((turn, closer, flipped) for closer, flipped in SECOND_LOOKS)
        self._asked = []
        seen = Looks(np.zeros(len(looks), np.intp), placed, looks.score)
        self._seen = seen if self._seen is None else self._seen + seen
