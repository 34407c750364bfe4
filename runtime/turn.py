"""Which way a person's crop is turned, so that the trunk stands upright in it.

A pose model that learnt from photographs knows people upright; one who lies is found when the crop is turned to the
body. The turn comes from the last skeleton while a person is tracked (`turn_memory`), else from looks at several turns
(`first_turns`), each followed by others with that look's own trunk upright (`SECOND_LOOKS`), of which `agreed` makes
one skeleton.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.skeleton import OKS_SIGMAS

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

    def __getitem__(self, index: NDArray[np.intp]) -> Aims:
        return Aims(self.known[index], self.hint[index])


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
