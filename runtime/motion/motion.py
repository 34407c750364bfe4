"""What was seen of people over a while: one row a person and frame, nothing of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.skeleton import KEYPOINTS

# How far from its moment a frame may lie to stand for it in a table of even steps, in steps.
_NEAR = 0.5


@dataclass(frozen=True, slots=True)
class Motion:
    """R rows, in the order of time. time_s (R,): of the frame, from the first one on. person (R,): track id. role (R,),
    place (R,): as in the live message, "" where unknown. box (R, 4): x1, y1, x2, y2 px. score (R,). joints (R, 17, 3):
    x, y px and score. joints_m (R, 17, 4): x, y, z and error, metres in the bed frame, NaN where none was measured.

    width, height: of the frames, px. began: UTC, of the first frame. more: what else is known of the recording.
    """

    time_s: NDArray[np.float64]
    person: NDArray[np.int64]
    role: NDArray[np.str_]
    place: NDArray[np.str_]
    box: NDArray[np.float32]
    score: NDArray[np.float32]
    joints: NDArray[np.float32]
    joints_m: NDArray[np.float32]
    width: int
    height: int
    began: str
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def people(self) -> list[int]:
        return [int(number) for number in np.unique(self.person)]

    @property
    def in_metres(self) -> bool:
        """Whether any joint was measured in the bed frame."""
        return bool(np.isfinite(self.joints_m[..., 0]).any())

    @property
    def rate(self) -> float:
        """Frames a second, of the frames with somebody in them: the median."""
        times = np.unique(self.time_s)
        return 30.0 if len(times) < 2 else round(float(1 / np.median(np.diff(times))), 3)

    def of(self, person: int) -> Motion:
        """One person's rows; raises WardposeError where there are none."""
        mine = self.person == person
        if not mine.any():
            known = ", ".join(map(str, self.people)) or "nobody"
            raise WardposeError(f"person {person} is not in it", where="--person", mend=f"in it: {known}")
        columns = ("time_s", "person", "role", "place", "box", "score", "joints", "joints_m")
        return replace(self, **{name: getattr(self, name)[mine] for name in columns})

    def evenly(self) -> EvenMotion:
        """Everybody at even steps of time, as most formats want it."""
        rate = self.rate
        frames = int(np.floor(self.time_s.max(initial=0.0) * rate + _NEAR)) + 1 if len(self.time_s) else 0
        people = self.people
        joints = np.full((frames, len(people), len(KEYPOINTS), 3), np.nan, np.float32)
        metres = np.full((frames, len(people), len(KEYPOINTS), 4), np.nan, np.float32)
        off = np.full((frames, len(people)), np.inf)
        for row, moment in enumerate(self.time_s * rate):
            frame, who = int(np.rint(moment)), people.index(int(self.person[row]))
            if abs(moment - frame) <= min(_NEAR, off[frame, who]):
                joints[frame, who], metres[frame, who] = self.joints[row], self.joints_m[row]
                off[frame, who] = abs(moment - frame)
        return EvenMotion(rate, people, joints, metres)


@dataclass(frozen=True, slots=True)
class EvenMotion:
    """F frames of P people, `rate` a second. joints (F, P, 17, 3), joints_m (F, P, 17, 4) as in `Motion`, NaN where
    somebody was not seen."""

    rate: float
    people: list[int]
    joints: NDArray[np.float32]
    joints_m: NDArray[np.float32]


def rows_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a live message: of the people with a skeleton who were looked at in its frame."""
    return [
        {
            "person": person["id"], "role": person["role"] if person["role"] != "unknown" else "",
            "place": person["place"] or "", "box": person["box"], "score": person["score"],
            "joints": person["keypoints"], "joints_m": person["joints_m"],
        }
        for person in message["people"]
        if person["keypoints"] and not person["age_s"]
    ]  # fmt: skip
