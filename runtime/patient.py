"""Who of the people is the patient, where the patient is, how likely that is, and since when.

Both are told from each person's evidence (`runtime.stance`) by filters over time, since one frame errs: who lies in the
bed becomes the patient and stays it after getting up, and the patient's place follows a hidden Markov model of four
states. Frames that follow each other err alike, so evidence counts by time and not by frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.detections import Detections, iou_matrix
from runtime.stance import PLACES
from runtime.state import duration

NOBODY = "nobody"
STATES = (*PLACES, NOBODY)
WORDS = {"in-bed": "in bed", "on-edge": "on the edge of the bed", "out-of-bed": "out of bed", NOBODY: "nobody seen"}
# Chances a second of going from one state (row) to another; who is in bed seldom vanishes from it.
_CHANCES = np.array(
    [
        [0.0, 0.010, 0.002, 0.002],
        [0.030, 0.0, 0.030, 0.003],
        [0.010, 0.030, 0.0, 0.050],
        [0.010, 0.005, 0.020, 0.0],
    ]
)
# How likely a frame without the patient is in each state: who lies under a blanket is missed more often, and who was
# covered by somebody else may be anywhere that the other stands before.
_UNSEEN, _COVERED = np.log([0.35, 0.25, 0.60, 0.90]), np.log([0.80, 0.70, 0.50, 0.60])
_SEEN_NOBODY = np.log(0.02)
# Independent frames' worth of evidence a second: of somebody seen, of nobody seen.
_SEEN_PER_S, _UNSEEN_PER_S = 4.0, 0.5
# Nats a second for being the patient: at most, and against somebody who was in the bed before, who may walk about.
_ROLE_PER_S, _GOES_PER_S = 2.0, 0.02
_NEW, _ESTABLISHED, _CAP = -1.0, 3.0, 6.0
_FORGET_S = 120.0  # a track that is gone for longer comes back under another number anyway
_LONGEST_STEP_S = 1.0
PATIENT_FROM, OTHER_BELOW = 0.5, 0.25


@dataclass(frozen=True, slots=True)
class PatientState:
    """The patient's place after a frame.

    probability: of each of `STATES`, which sum to 1. place: the likeliest; for_s: seconds for which it has been that.
    seen: whether the patient is among the frame's people; track_id: the patient's number, None where nobody is it yet.
    """

    probability: dict[str, float]
    place: str
    for_s: float
    seen: bool
    track_id: int | None

    def words(self) -> str:
        """`in bed for 12 min, 93 % sure`."""
        sure = min(99, int(100 * self.probability[self.place]))
        return f"{WORDS[self.place]} for {duration(self.for_s)}, {sure} % sure"

    def to_dict(self) -> dict[str, Any]:
        rounded = {name: round(p, 3) for name, p in self.probability.items()}
        return {
            "place": self.place, "probability": rounded, "for_s": round(self.for_s, 1), "seen": self.seen,
            "id": self.track_id, "words": self.words(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Roles:
    """Of N people of a frame: `patient` (N,) how likely each is the patient, `place` (N,) their place's index."""

    patient: NDArray[np.float64]
    place: NDArray[np.intp]

    def __getitem__(self, index: NDArray[np.integer]) -> Roles:
        return Roles(self.patient[index], self.place[index])

    def role(self, person: int) -> str:
        """`patient`, `other`, or `unknown` while that is open."""
        p = self.patient[person]
        return "patient" if p >= PATIENT_FROM else "other" if p < OTHER_BELOW else "unknown"


@dataclass(slots=True)
class _Candidate:
    odds: float
    seen_s: float
    box: NDArray[np.float64]


class PatientWatch:
    """Follows one bed's patient through frames in the order of their time. No thread of its own."""

    def __init__(self) -> None:
        self._candidates: dict[int, _Candidate] = {}
        self._belief = np.array([0.3, 0.05, 0.05, 0.6])
        self._place, self._since_s, self._now_s = "", 0.0, -np.inf

    def update(self, detections: Detections, evidence: NDArray[np.float64], now_s: float) -> tuple[Roles, PatientState]:
        """Take in one frame's tracked people. evidence: (N, 3) of `place_evidence`; now_s: the frame's time, seconds.

        A clock that jumped back starts the dwell time afresh, the beliefs stay.
        """
        step = float(np.clip(now_s - self._now_s, 0.0, _LONGEST_STEP_S)) if np.isfinite(self._now_s) else 0.1
        if now_s < self._now_s:
            self._since_s = now_s
            for one in self._candidates.values():
                one.seen_s = now_s
        self._now_s = now_s
        ids = [] if detections.track_id is None else detections.track_id.tolist()
        share = np.exp(evidence - np.logaddexp.reduce(evidence, axis=1, keepdims=True)) if len(evidence) else evidence
        self._learn(ids, detections.xyxy.astype(np.float64), share, now_s, step)
        chance = self._chances()
        roles = Roles(
            np.array([chance.get(track, 0.0) for track in ids]), share.argmax(1) if len(share) else np.empty(0, np.intp)
        )
        patient = max(chance, key=lambda track: chance[track], default=None)
        if patient is not None and chance[patient] < PATIENT_FROM:
            patient = None
        seen = patient in ids
        self._believe(share[ids.index(patient)] if seen else None, self._is_covered(patient, detections), step)
        return roles, self._state(now_s, seen, patient)

    def _learn(
        self, ids: list[int], boxes: NDArray[np.float64], share: NDArray[np.float64], now_s: float, step: float
    ) -> None:
        for track, box, (in_bed, on_edge, out) in zip(ids, boxes, share.tolist(), strict=True):
            one = self._candidates.setdefault(track, _Candidate(_NEW, now_s, box))
            drift = float(np.clip(np.log((in_bed + 0.5 * on_edge + 0.02) / (out + 0.5 * on_edge + 0.02)), -1.5, 1.5))
            rate = _GOES_PER_S if drift < 0 and one.odds >= _ESTABLISHED else _ROLE_PER_S
            one.odds = float(np.clip(one.odds + rate * drift * step, -_CAP, _CAP))
            one.seen_s, one.box = now_s, box
        self._candidates = {t: c for t, c in self._candidates.items() if now_s - c.seen_s <= _FORGET_S}

    def _chances(self) -> dict[int, float]:
        """How likely each track is the patient: at most one of them is."""
        weight = {track: float(np.exp(one.odds)) for track, one in self._candidates.items()}
        total = 1.0 + sum(weight.values())
        return {track: w / total for track, w in weight.items()}

    def _is_covered(self, patient: int | None, detections: Detections) -> bool:
        """Whether somebody stands before the place where the patient was seen last."""
        if patient is None or not len(detections):
            return False
        box = self._candidates[patient].box
        others = detections.xyxy.astype(np.float64)
        shared = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None).prod(1)
        return bool(
            shared.max() >= 0.3 * max((box[2:] - box[:2]).prod(), 1e-9) or iou_matrix(box[None], others).max() > 0.2
        )

    def _believe(self, share: NDArray[np.float64] | None, covered: bool, step: float) -> None:
        flow = _CHANCES * step
        belief = self._belief * (1 - flow.sum(1)) + self._belief @ flow
        if share is not None:
            told, weight = np.append(np.log(np.maximum(share, 0.02)), _SEEN_NOBODY), _SEEN_PER_S
        else:
            told, weight = _COVERED if covered else _UNSEEN, _UNSEEN_PER_S
        belief = belief * np.exp(weight * step * (told - told.max()))
        self._belief = belief / belief.sum()

    def _state(self, now_s: float, seen: bool, patient: int | None) -> PatientState:
        place = STATES[int(self._belief.argmax())]
        if place != self._place:
            self._place, self._since_s = place, now_s
        probability = dict(zip(STATES, self._belief.tolist(), strict=True))
        return PatientState(probability, place, max(0.0, now_s - self._since_s), seen, patient)
