"""How the live path is, in one object and in words: the same for the service, the commands and the terminal UI."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from appliance.live import outages, pauses, running
from appliance.live.addresses import result_socket
from appliance.live.meter import LiveMeter, ring_status
from appliance.site.folder import SiteFolder
from runtime.state import not_this_bed

_HEAR_SECONDS = 1.5
_CAMERA_WORDS = {
    "starting": "the camera is being opened",
    "streaming": "the camera's next picture is late",
    "hung": "the camera has stopped",
    "absent": "the camera's process is not there",
}


def live_status(site: SiteFolder, figures: Mapping[str, Any], path: running.LivePath) -> dict[str, Any]:
    """`camera`, `live`, `pause`, `outages` of a status. figures: what was heard of the live process.

    live: the figures with `plan` (what runs; null where nothing looks), `owner` (who runs it and since when; null where
    no process exists), `runs` and `socket`.
    """
    held = pauses.switch(site).state()
    plan = running.plan_of(site, path, figures.get("models"))
    told = dict(figures)
    if held is not None:
        told["state"] = "paused"
    elif plan is None:  # what was heard a moment ago is over
        told["state"] = "off"
    elif told["state"] == "off" and told["silent_s"] is None:
        told["state"] = "starting"
    elif told["state"] == "off":
        told |= {"state": "no-signal", "message": f"the live process has said nothing for {told['silent_s']:.0f} s"}
    if told["state"] != "live":
        told |= {"fps": 0.0, "age_ms": None, "people": 0}
    return {
        "camera": ring_status(site),
        "live": told | {
            "plan": plan, "owner": path.to_dict() if path.runs else None, "runs": path.runs,
            "socket": str(result_socket(site)),
        },
        "pause": held.to_dict() if held else None, "outages": outages.tally(site),
    }  # fmt: skip


def look_once(site: SiteFolder) -> dict[str, Any]:
    """`live_status` as a program finds it that has not been listening: it hears the live process out first."""
    path, meter = running.look(site), LiveMeter(site)
    if path.runs:
        meter.start()
        until = time.monotonic() + _HEAR_SECONDS
        while meter.figures()["state"] == "off" and time.monotonic() < until:
            time.sleep(0.05)
    figures = meter.figures()
    if path.runs:
        meter.stop()
    return live_status(site, figures, path)


def is_fresh(status: Mapping[str, Any]) -> bool:
    """Whether the newest that the source gives is being shown, whatever it is of."""
    live = status.get("live") or {}
    return live.get("state") == "live" and live.get("age_ms") is not None and live["age_ms"] <= live["stale_s"] * 1e3


def live_words(status: Mapping[str, Any]) -> tuple[str, str]:
    """The live path in words for a glance, and its mark. Anything but "LIVE" means: don't rely on what you see."""
    live = status.get("live")
    if not live:
        return "NO LIVE PICTURE: the service does not answer", "bad"
    state, camera = live["state"], status["camera"]
    why = live.get("message") or camera["message"]
    if why.startswith("ring "):  # what a reader of frames says is for logs: the camera's own state is for people
        why = camera["message"] or _CAMERA_WORDS.get(camera["state"], f"the camera is {camera['state']}")
    if held := status.get("pause"):
        nothing = "" if live["runs"] else "; nothing runs"
        return f"PAUSED {held['words'].removeprefix('paused ')}{nothing}", "warn"
    if is_fresh(status):
        warning = not_this_bed(live["origin"])
        return f"{warning or 'LIVE'}  {live['fps']:.1f} fps, {live['age_ms']:.0f} ms old", "warn" if warning else "good"
    if state == "live":
        return "NO LIVE PICTURE: the picture is old", "bad"
    if state == "starting" or (live["plan"] and camera["state"] == "starting"):
        failing = [
            f"{p['name']}: {p['last_end']}"
            for p in status.get("processes", [])
            if p["state"] != "running" and p["last_end"]
        ]
        return f"STARTING: no live picture yet{f' ({failing[0]})' if failing else f' ({why})' if why else ''}", "warn"
    if live["plan"]:
        return f"NO LIVE PICTURE{f': {why}' if why else ''}", "bad"
    if live["runs"]:
        return f"OFF: no live picture; {live['owner']['words']}", "off"
    return "OFF: no live picture, nothing runs", "off"
