"""How well the live path runs: what its live process says, and how its camera's process is."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import Any

from appliance.live.addresses import result_socket, ring_name
from appliance.live.listener import Listener
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from runtime.state import SILENT_S, STALE_S

WINDOW = 300  # frames over which times are told
_MOST_SKIPPED = 1000


class LiveMeter:
    """Keeps count of the runtime's results; pixels never come this way."""

    def __init__(self, site: SiteFolder) -> None:
        self._path = result_socket(site)
        self._lock = threading.Lock()
        self._latest: dict[str, Any] = {}
        self._ages_ms: deque[float] = deque(maxlen=WINDOW)
        self._finished: deque[float] = deque(maxlen=WINDOW)
        self._stages: deque[dict[str, float]] = deque(maxlen=WINDOW)
        self._scores: deque[float] = deque(maxlen=WINDOW)
        self._frames = self._dropped = 0
        self._listener = Listener(self._path, self._note)
        self.start, self.stop = self._listener.start, self._listener.stop

    def figures(self) -> dict[str, Any]:
        """`state`, `message`, `fps`, `p50_ms`, `p99_ms`, `age_ms`, `engine`, `models`, `people`, `frames`, `origin`,
        `silent_s`, `stale_s`, `patient`, `unsure`, `engines` (as the live message has them: `runtime.message`),
        `stages_ms`, `dropped`, `confidence`.

        Times are from capture to skeleton. state is the runtime's own, or `off` when nothing was heard for a while.
        silent_s: since it was heard last; None where it never was. people: so many are drawn. origin: what the pictures
        are of, see `runtime.frames.Origin`. stale_s: how old a picture may be that is shown as now. stages_ms: `p50`,
        `p99` of each stage; dropped: frames nobody looked at, in all; confidence: mean score of whom the detector
        found.
        """
        with self._lock:
            latest, ages, finished, frames = self._latest, sorted(self._ages_ms), list(self._finished), self._frames
            stages, scores, dropped = list(self._stages), list(self._scores), self._dropped
        silent_s = time.monotonic() - latest["heard_at"] if latest else None
        if silent_s is None or silent_s > SILENT_S:
            return {"state": "off", "message": "", "fps": 0.0, "p50_ms": None, "p99_ms": None, "age_ms": None,
                    "engine": None, "models": {}, "people": 0, "frames": frames, "origin": "unknown",
                    "silent_s": silent_s, "stale_s": STALE_S, "patient": None, "unsure": None,
                    "engines": [], "stages_ms": {}, "dropped": dropped, "confidence": None}  # fmt: skip
        live = latest.get("state") == "live"
        captured, span = latest.get("captured_at"), finished[-1] - finished[0] if len(finished) > 1 else 0.0
        return {
            "state": latest.get("state", "off"), "message": latest.get("message", ""),
            "fps": 0.0 if not live else (len(finished) - 1) / span if span > 0 else latest.get("fps", 0.0),
            "p50_ms": _part(ages, 0.5) if ages else None, "p99_ms": _part(ages, 0.99) if ages else None,
            "age_ms": (time.monotonic() - captured) * 1e3 if captured is not None and live else None,
            "engine": latest.get("engines", {}).get("detector"), "models": latest.get("models", {}),
            "people": len(latest.get("people", [])), "frames": frames, "origin": latest.get("origin") or "unknown",
            "silent_s": silent_s, "stale_s": latest.get("stale_s", STALE_S),
            "patient": latest.get("patient"), "unsure": latest.get("unsure"), "engines": latest.get("engines_told", []),
            "stages_ms": _stage_times(stages), "dropped": dropped,
            "confidence": round(sum(scores) / len(scores), 4) if scores else None,
        }  # fmt: skip

    def forget(self) -> None:
        """What was heard is of a live path that has ended."""
        with self._lock:
            self._latest = {}
            self._finished.clear()
            self._ages_ms.clear()
            self._stages.clear()
            self._scores.clear()

    def _note(self, message: dict[str, Any]) -> None:
        with self._lock:
            fresh = message.get("state") == "live" and message.get("finished_at") != self._latest.get("finished_at")
            before = self._latest.get("frame_index")
            self._latest = message | {"heard_at": time.monotonic()}
            if fresh:
                self._frames += 1
                self._finished.append(message["finished_at"])
                self._ages_ms.append((message["finished_at"] - message["captured_at"]) * 1e3)
                self._stages.append(message.get("stages_ms", {}))
                if people := message.get("people"):
                    self._scores.append(sum(person["score"] for person in people) / len(people))
                skipped = 0 if before is None else message["frame_index"] - before - 1
                self._dropped += skipped if 0 < skipped <= _MOST_SKIPPED else 0  # more: another source, or a start
            elif message.get("state") != "live":
                self._finished.clear()


def _stage_times(stages: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Median and 99th percentile of each stage (ms), of the frames in which it ran."""
    names = dict.fromkeys(name for frame in stages for name in frame)
    times = {name: sorted(frame[name] for frame in stages if name in frame) for name in names}
    return {name: {"p50": _part(taken, 0.5), "p99": _part(taken, 0.99)} for name, taken in times.items()}


def _part(ordered: list[float], part: float) -> float:
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]


def ring_status(site: SiteFolder) -> dict[str, Any]:
    """How the camera's process is: `state`, `message`, `source`, `fps`, `origin`; state `absent` when none writes the
    ring."""
    from runtime.capture.ring import HUNG_S, RingReader

    with contextlib.suppress(WardposeError):
        with RingReader(ring_name(site)) as reader:
            status = reader.status()
        if status.state == "absent" or status.heartbeat_age_s < HUNG_S:
            return {
                "state": status.state,
                "message": status.message,
                "source": status.source,
                "fps": status.frames_per_s,
                "origin": status.origin,
            }
        return {
            "state": "hung", "message": "its process gives no sign of life", "source": status.source, "fps": 0.0,
            "origin": status.origin,
        }  # fmt: skip
    return {"state": "absent", "message": "", "source": "", "fps": 0.0, "origin": "unknown"}
