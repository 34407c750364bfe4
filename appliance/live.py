"""The live path of this site: which processes it is made of, and how well it runs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import calibrations, live_lock, outages
from appliance.listener import Listener
from appliance.models import ModelStore
from appliance.settings import load_settings
from appliance.site_folder import REPOSITORY, SiteFolder
from appliance.supervisor import ProcessSpec
from calibration.errors import WardposeError

EXPORT_SECONDS = 600.0
WINDOW = 300  # frames over which times are told


def ring_name(site: SiteFolder) -> str:
    """The frame ring of this site, so that two sites on one box don't mix."""
    return f"wardpose-{site.key}"


def result_socket(site: SiteFolder) -> Path:
    """Where the runtime publishes its results."""
    return site.sockets / "runtime.sock"


@dataclass(frozen=True, slots=True)
class LivePlan:
    """What runs live. `detector` and `pose` are models' names; no pose model: boxes only."""

    source: str
    detector: str
    pose: str | None
    display: bool = True


def plan(
    site: SiteFolder,
    *,
    source: str | None = None,
    detector: str | None = None,
    pose: str | None = None,
    display: bool = True,
) -> LivePlan:
    """What the settings and the promoted models say, with what was asked for in their place.

    A pose model that nobody asked for and that isn't there is left out; everything else must exist.
    """
    from runtime.capture.source import check_spec

    settings, store = load_settings(site), ModelStore(site)
    source = source or settings.camera.source
    check_spec(source)  # a spec that can't be right is told here, not in a log
    detector = detector or settings.live.detector or store.live("detect")
    if store.card(detector).task != "detect":
        raise WardposeError(f"{detector} is no detector", mend="see `wardpose models list`")
    asked = pose or settings.live.pose
    chosen = asked or store.live("pose")
    try:
        if chosen and store.card(chosen).task != "pose":
            raise WardposeError(f"{chosen} is no pose model", mend="see `wardpose models list`")
    except WardposeError:
        if asked:
            raise
        chosen = ""
    return LivePlan(source, detector, chosen or None, display)


def process_command(site: SiteFolder, name: str, live: LivePlan) -> list[str]:
    """The command line of one of the live processes: `capture`, `live` or `display`."""
    python, socket = [sys.executable, "-m"], str(result_socket(site))
    pause = ["--pause-file", str(site.pause_file)]
    if name == "capture":
        return [*python, "runtime.capture.process", "--source", live.source, "--ring", ring_name(site), *pause]
    if name == "live":
        command = [*python, "runtime.live", "--ring", ring_name(site), "--socket", socket, *pause]
        command += ["--detector", str(_ready(site, live.detector))]
        command += ["--pose", str(_ready(site, live.pose))] if live.pose else []
        return command + _bed(site, live.source)
    if name == "display":
        port = str(load_settings(site).display.port)
        return [*python, "runtime.display.service", "--socket", socket, "--port", port, *pause]
    raise WardposeError(f"no process is called {name!r}", mend="choose capture, live or display")


def _bed(site: SiteFolder, source: str) -> list[str]:
    """Where the bed is in this camera's picture, which tells how somebody lies; nothing for another camera's frames."""
    row = calibrations.current_row(site)
    if row is None or source != load_settings(site).camera.source:
        return []
    return ["--calibration", str(site.resolve(row.file))]


def process_specs(site: SiteFolder, live: LivePlan) -> list[ProcessSpec]:
    """The live path's processes in the order they start; models that were not exported yet are exported first."""
    names = ["capture", "live", *(["display"] if live.display else [])]
    return [ProcessSpec(name, tuple(process_command(site, name, live))) for name in names]


def become(site: SiteFolder, name: str, **asked: str | None) -> None:
    """Turn this process into one of the live path's (systemd starts them so); returns only by raising.

    asked: `source`, `detector`, `pose` as for `plan`. A model is looked for only where it is needed. Raises
    `WardposeError` where somebody else keeps this site's live path running; a page alone may be served beside it.
    """
    if name != "display":
        live_lock.share(site)
    if os.environ.get("INVOCATION_ID"):
        outages.note(site, "start", name, "by systemd")
    if name == "drift":
        from appliance import drift

        command = drift.command(site)
    elif name == "live":
        command = process_command(site, name, plan(site, **asked))  # type: ignore[arg-type]
    else:
        live = LivePlan(asked.get("source") or load_settings(site).camera.source, "", None)
        command = process_command(site, name, live)
    os.chdir(REPOSITORY)
    os.execv(command[0], command)


def _ready(site: SiteFolder, name: str) -> Path:
    """The model's ONNX file; made in a process of its own, so that torch's gigabyte does not stay with the caller."""
    store = ModelStore(site)
    store.verify(name)
    if (path := store.onnx(name)) is None:
        command = [sys.executable, "-m", "appliance", "export", "--model", name, "--home", str(site.root)]
        ended = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=EXPORT_SECONDS, check=False
        )
        path = store.onnx(name)
        if ended.returncode or path is None:
            lines = ended.stderr.strip().splitlines()
            raise WardposeError(lines[-1].removeprefix("wardpose: ") if lines else "the export failed", where=name)
    return path


class LiveMeter:
    """Keeps count of the runtime's results; pixels never come this way."""

    def __init__(self, site: SiteFolder) -> None:
        self._path = result_socket(site)
        self._lock = threading.Lock()
        self._latest: dict[str, Any] = {}
        self._ages_ms: deque[float] = deque(maxlen=WINDOW)
        self._finished: deque[float] = deque(maxlen=WINDOW)
        self._frames = 0
        self._listener = Listener(self._path, self._note)
        self.start, self.stop = self._listener.start, self._listener.stop

    def figures(self) -> dict[str, Any]:
        """`state`, `message`, `fps`, `p50_ms`, `p99_ms`, `age_ms`, `engine`, `models`, `people`, `frames`, `origin`,
        `silent_s`.

        Times are from capture to skeleton. state is the runtime's own, or `off` when nothing was heard for a while.
        silent_s: since it was heard last; None where it never was. people: so many are drawn. origin: what the pictures
        are of, see `runtime.frames.Origin`.
        """
        with self._lock:
            latest, ages, finished, frames = self._latest, sorted(self._ages_ms), list(self._finished), self._frames
        silent_s = time.monotonic() - latest["heard_at"] if latest else None
        if silent_s is None or silent_s > 2.0:
            return {"state": "off", "message": "", "fps": 0.0, "p50_ms": None, "p99_ms": None, "age_ms": None,
                    "engine": None, "models": {}, "people": 0, "frames": frames, "origin": "unknown",
                    "silent_s": silent_s}  # fmt: skip
        live = latest.get("state") == "live"
        captured, span = latest.get("captured_at"), finished[-1] - finished[0] if len(finished) > 1 else 0.0
        return {
            "state": latest.get("state", "off"), "message": latest.get("message", ""),
            "fps": 0.0 if not live else (len(finished) - 1) / span if span > 0 else latest.get("fps", 0.0),
            "p50_ms": ages[len(ages) // 2] if ages else None,
            "p99_ms": ages[min(int(0.99 * len(ages)), len(ages) - 1)] if ages else None,
            "age_ms": (time.monotonic() - captured) * 1e3 if captured is not None and live else None,
            "engine": latest.get("engines", {}).get("detector"), "models": latest.get("models", {}),
            "people": len(latest.get("people", [])), "frames": frames, "origin": latest.get("origin") or "unknown",
            "silent_s": silent_s,
        }  # fmt: skip

    def forget(self) -> None:
        """What was heard is of a live path that has ended."""
        with self._lock:
            self._latest = {}
            self._finished.clear()
            self._ages_ms.clear()

    def _note(self, message: dict[str, Any]) -> None:
        with self._lock:
            fresh = message.get("state") == "live" and message.get("finished_at") != self._latest.get("finished_at")
            self._latest = message | {"heard_at": time.monotonic()}
            if fresh:
                self._frames += 1
                self._finished.append(message["finished_at"])
                self._ages_ms.append((message["finished_at"] - message["captured_at"]) * 1e3)
            elif message.get("state") != "live":
                self._finished.clear()


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
