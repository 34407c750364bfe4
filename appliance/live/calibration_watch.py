"""The watch over this site's calibration: its files, its process, what it last said."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from appliance.live import pauses
from appliance.live.addresses import result_socket, ring_name
from appliance.live.listener import Listener
from appliance.live.supervisor import ProcessSpec
from appliance.site import audit, calibrations
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from calibration.errors import WardposeError

HEARD_WITHIN_S = 10.0
_NICENESS = 10  # the live picture goes first
SILENT: dict[str, Any] = {"state": "off", "text": "", "changes": [], "camera_deg": None, "retune": False}


def drift_socket(site: SiteFolder) -> Path:
    """Where the watch publishes its verdicts."""
    return site.sockets / "drift.sock"


def watch(site: SiteFolder) -> None:
    """Be the watch's process, at low priority; returns when it is told to end or a newer calibration is confirmed.

    Raises `WardposeError` where no calibration is confirmed.
    """
    from runtime.drift_watch import serve

    row = calibrations.current_row(site)
    if row is None:
        raise WardposeError("there is no confirmed calibration to watch", mend=calibrations.CALIBRATE_FIRST)
    calibrations.forget_references(site)
    os.nice(_NICENESS)
    calibration = site.resolve(row.file)
    serve(
        ring_name(site), calibration, calibrations.reference_file(calibration), drift_socket(site),
        results=result_socket(site), pause=pauses.switch(site),
        keeping=lambda what: audit.record(site, "watch.reference", str(row.id), what),
    )  # fmt: skip


def process_spec(site: SiteFolder, source: str) -> ProcessSpec | None:
    """How to start the watch on the frames of `source`; None where there is nothing to watch: no confirmed
    calibration, or another camera than the site's."""
    if calibrations.current_row(site) is None or source != load_settings(site).camera.source:
        return None
    # Through our own command line, so that each start takes the calibration that is in use then.
    python = (sys.executable, "-m", "appliance", "run", "--only", "drift", "--home", str(site.root))
    return ProcessSpec("drift", python)


class DriftMeter:
    """Remembers what the watch said last; what begins and what ends goes into the audit trail.

    writes: it is this listener's part to write that down: the service's; whoever else listens only tells.
    """

    def __init__(self, site: SiteFolder, *, writes: bool = True) -> None:
        self._site, self._writes = site, writes
        self._lock = threading.Lock()
        self._latest: dict[str, Any] = dict(SILENT)
        self._heard_at = 0.0
        self._listener = Listener(drift_socket(site), self._note)
        self.start, self.stop = self._listener.start, self._listener.stop

    def figures(self) -> dict[str, Any]:
        """What the watch says: `state` (steady, drifted, blind, starting, paused, no-signal, off), `text`, `changes`,
        `camera_deg`, and `retune`: the new view lies outside what the model in use was tuned on.
        """
        with self._lock:
            fresh = time.monotonic() - self._heard_at < HEARD_WITHIN_S
            return dict(self._latest if fresh else SILENT)

    def _note(self, message: dict[str, Any]) -> None:
        with self._lock:
            before, self._latest, self._heard_at = self._latest, message, time.monotonic()
        if not self._writes:
            return
        was, now = ({change["what"] for change in told["changes"]} for told in (before, message))
        if now - was:
            audit.record(self._site, "drift.found", ", ".join(sorted(now)), message["text"])
        elif was and not now and message["state"] == "steady":
            audit.record(self._site, "drift.over", ", ".join(sorted(was)), message["text"])
