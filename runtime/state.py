"""What the live path is doing, in words for a glance: live or not, how old, of what, and how many people are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # a terminal that only wants the words need not wait for numpy
    from runtime.frames import Origin

State = Literal["starting", "live", "no-signal", "paused"]

STALE_S = 1.0
"""How old a picture may be that is shown as now. It travels in each message (`stale_s`): nobody else decides it."""
GAP_S = 0.5
"""How long no new picture may come until the last one counts as old, where the camera gives several a second."""
SILENT_S = 2.0
"""How long the live process, which speaks at least once a second, may say nothing until it counts as hanging."""

# Said in place of LIVE; display/page/verdict.js has the same words.
_NOT_THIS_BED: dict[Origin, str] = {
    "camera": "",
    "recording": "RECORDING, NOT LIVE NOW",
    "simulation": "SIMULATED, NOT THIS BED",
    "unknown": "UNKNOWN SOURCE, MAYBE NOT THIS BED",
}


def gap_s(fps: float | None) -> float:
    """How long no new picture may come at that rate. A slow box gets the time of two pictures, at most `STALE_S`."""
    return GAP_S if not fps or fps >= 2 / GAP_S else min(STALE_S, 2 / fps)


def not_this_bed(origin: str) -> str:
    """What must be said where pictures are not of what the camera beside the bed sees now; empty where they are."""
    return next((words for known, words in _NOT_THIS_BED.items() if known == origin), _NOT_THIS_BED["unknown"])


def people_words(drawn: int) -> str:
    """How many people are drawn. That nobody is detected never means that nobody is there."""
    if drawn == 0:
        return "nobody detected"
    return "1 person drawn" if drawn == 1 else f"{drawn} people drawn"


@dataclass(frozen=True, slots=True)
class LiveState:
    """What the live path is doing. age_s: seconds since the shown frame was captured, None where there is none.
    origin: what the frame is of; paused: by whom and since when (`runtime.pause.Pause.words`); stale_s: how old a
    picture may be that is shown as now."""

    state: State
    age_s: float | None = None
    origin: Origin = "unknown"
    paused: str = ""
    stale_s: float = STALE_S

    @property
    def fresh(self) -> bool:
        """True only where what is shown is the newest that the source gives."""
        return self.state == "live" and self.age_s is not None and self.age_s <= self.stale_s

    @property
    def live(self) -> bool:
        """True only where what is shown is what the camera beside the bed sees now."""
        return self.fresh and self.origin == "camera"

    def headline(self) -> str:
        """The state in words for a glance; anything but "LIVE" means: don't rely on what you see."""
        age = "" if self.age_s is None else f" - last {duration(self.age_s)} ago"
        if self.state == "paused":
            return f"PAUSED {self.paused.removeprefix('paused ')}".strip()
        if self.state == "starting":
            return "STARTING - no live picture yet"
        if not self.fresh:
            return f"NO LIVE PICTURE{age}"
        return f"{not_this_bed(self.origin) or 'LIVE'}  {self.age_s or 0:.1f} s"


def duration(seconds: float) -> str:
    """`12.3 s`, `5 min`, `2.5 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
