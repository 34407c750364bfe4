"""The live path of this site: which processes it is made of, and how well it runs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import calibrations, drift
from appliance.listener import Listener
from appliance.live_addresses import result_socket, ring_name
from appliance.models import ModelStore
from appliance.processes import die_with_parent
from appliance.settings import load_settings
from appliance.site_folder import REPOSITORY, SiteFolder
from appliance.supervisor import ProcessSpec
from calibration.errors import WardposeError

EXPORT_SECONDS = 600.0
WINDOW = 300  # frames over which times are told


def paused(site: SiteFolder) -> bool:
    """Whether somebody at the bedside has paused the picture; it outlives the live process."""
    return result_socket(site).with_name(result_socket(site).name + ".paused").exists()


@dataclass(frozen=True, slots=True)
class LivePlan:
    """What runs live. `detector` and `pose` are models' names; no pose model: boxes only. engine: the inference engine
    to use or fail; None: the best that qualifies."""

    source: str
    detector: str
    pose: str | None
    display: bool = True
    engine: str | None = None


def plan(
    site: SiteFolder,
    *,
    source: str | None = None,
    detector: str | None = None,
    pose: str | None = None,
    display: bool = True,
    engine: str | None = None,
) -> LivePlan:
    """What the settings and the promoted models say, with what was asked for in their place.

    A pose model that nobody asked for and that isn't there is left out; everything else must exist.
    """
    from runtime.capture.secrets import keep
    from runtime.capture.source import make_source

    settings, store = load_settings(site), ModelStore(site)
    # A password is kept apart from here on: what runs is named by settings, processes and audit rows alike.
    source = keep(site.secrets_file, source) if source else settings.camera.source
    make_source(source)  # a spec that can't be right is told here, not in a log
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
    return LivePlan(source, detector, chosen or None, display, engine or settings.live.engine or None)


def process_command(site: SiteFolder, name: str, live: LivePlan) -> list[str]:
    """The command line of one of the live processes: `capture`, `live` or `display`."""
    python, socket = [sys.executable, "-m"], str(result_socket(site))
    if name == "capture":
        secrets = ["--secrets", str(site.secrets_file)]
        return [*python, "runtime.capture.process", "--source", live.source, *secrets, "--ring", ring_name(site)]
    if name == "live":
        command = [*python, "runtime.live", "--ring", ring_name(site), "--socket", socket]
        command += ["--detector", str(_ready(site, live.detector))]
        command += ["--pose", str(_ready(site, live.pose))] if live.pose else []
        command += ["--engine", live.engine] if live.engine else []
        return command + _bed(site, live.source)
    if name == "display":
        return [*python, "runtime.display.service", "--socket", socket, "--port", str(load_settings(site).display.port)]
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

    asked: `source`, `detector`, `pose`, `engine` as for `plan`. A model is looked for only where it is needed.
    """
    from runtime.capture.secrets import keep

    if name == "drift":
        drift.watch(site)
        raise SystemExit
    if name == "live":
        command = process_command(site, name, plan(site, **asked))  # type: ignore[arg-type]
    else:
        asked_for = asked.get("source")
        source = keep(site.secrets_file, asked_for) if asked_for else load_settings(site).camera.source
        live = LivePlan(source, "", None)
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
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=EXPORT_SECONDS, check=False,
            preexec_fn=die_with_parent(),
        )  # fmt: skip
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
        """`state`, `message`, `fps`, `p50_ms`, `p99_ms`, `age_ms`, `engine`, `models`, `people`, `frames`.

        Times are from capture to skeleton. state is the runtime's own, or `off` when nothing was heard for a while.
        """
        with self._lock:
            latest, ages, finished, frames = self._latest, sorted(self._ages_ms), list(self._finished), self._frames
        if not latest or time.monotonic() - latest["heard_at"] > 2.0:
            return {"state": "off", "message": "", "fps": 0.0, "p50_ms": None, "p99_ms": None, "age_ms": None,
                    "engine": None, "models": {}, "people": 0, "frames": frames}  # fmt: skip
        live = latest.get("state") == "live"
        captured, span = latest.get("captured_at"), finished[-1] - finished[0] if len(finished) > 1 else 0.0
        return {
            "state": latest.get("state", "off"), "message": latest.get("message", ""),
            "fps": (len(finished) - 1) / span if live and span > 0 else 0.0,
            "p50_ms": ages[len(ages) // 2] if ages else None,
            "p99_ms": ages[min(int(0.99 * len(ages)), len(ages) - 1)] if ages else None,
            "age_ms": (time.monotonic() - captured) * 1e3 if captured is not None and live else None,
            "engine": latest.get("engines", {}).get("detector"), "models": latest.get("models", {}),
            "people": len(latest.get("people", [])), "frames": frames,
        }  # fmt: skip

    def command(self, name: str) -> dict[str, Any]:
        """Send `pause`, `resume` or `state` to the runtime and return its answer."""
        from runtime.bus import ResultClient

        with ResultClient(self._path) as client:
            return client.command(name)

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
    """How the camera's process is: `state`, `message`, `source`, `fps`; state `absent` when none writes the ring."""
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
            }
        return {"state": "hung", "message": "its process gives no sign of life", "source": status.source, "fps": 0.0}
    return {"state": "absent", "message": "", "source": "", "fps": 0.0}


def live_words(status: Mapping[str, Any]) -> tuple[str, str]:
    """The live path in words for a glance, and its mark. Anything but "LIVE" means: don't rely on what you see."""
    live = status.get("live")
    if not live:
        return "NO LIVE PICTURE: the service does not answer", "bad"
    state, why = live["state"], live.get("message") or status["camera"]["message"]
    if state == "live":
        age = live["age_ms"]
        if age is not None and age <= 1000:
            return f"LIVE  {live['fps']:.1f} fps, {age:.0f} ms old", "good"
        return "NO LIVE PICTURE: the picture is old", "bad"
    if state == "paused":
        return "PAUSED: nobody is watched", "warn"
    if state == "starting":
        failing = [
            f"{p['name']}: {p['last_end']}"
            for p in status.get("processes", [])
            if p["state"] != "running" and p["last_end"]
        ]
        return f"STARTING: no live picture yet{f' ({failing[0]})' if failing else f' ({why})' if why else ''}", "warn"
    if live["plan"]:
        return f"NO LIVE PICTURE{f': {why}' if why else ''}", "bad"
    return "OFF: no live picture, nothing runs", "off"
