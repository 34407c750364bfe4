"""A live site on the simulated ward whose processes are killed and stopped and whose sockets are crowded: how soon that
shows, how soon it is well again, and what it costs the picture."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance import versions
from appliance.client import ServiceClient
from appliance.faults.operations import holds
from appliance.live.addresses import result_socket, service_socket
from appliance.site.folder import SiteFolder
from benchmarks import crowds
from calibration.errors import WardposeError
from runtime.bus import ResultClient

SOURCE = "simulated"
START_S = 240.0
STEADY_S = 5.0  # of a live picture before each fault
WATCH_S = 10.0  # over which frames are counted
ROUNDS = 2
_STATUS = json.dumps({"call": "status", "version": versions.API_VERSION}).encode() + b"\n"
_NOTHING = json.dumps({"command": "nothing"}).encode() + b"\n"


def run(work: Path) -> Iterator[dict[str, Any]]:
    """One row a process and fault, then one a socket."""
    site = SiteFolder.open(work / "site")
    with ServiceClient.connect(site) as client:
        try:
            client.start_live(source=SOURCE, reason="bench faults")
            _await_live(client)
            for name in ("capture", "live", "display"):
                for deed, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
                    yield _struck(client, name, deed, number)
            yield _crowded("the service's socket", service_socket(site), _STATUS, site)
            yield _crowded("the bus", result_socket(site), _NOTHING, site)
        finally:
            client.stop_service()
    faults = holds(site)
    yield {"fault": "the site afterwards", "tried": 1, "lost": len(faults), "notes": faults}


def _struck(client: ServiceClient, name: str, deed: str, number: int) -> dict[str, Any]:
    row: dict[str, Any] = {"fault": f"{name} {deed}", "tried": 0, "lost": 0, "notes": []}
    shown, recovered = [], []
    for _ in range(ROUNDS):
        time.sleep(STEADY_S)
        _await_live(client)
        before = _process(client, name)
        began = time.monotonic()
        os.kill(before["pid"], number)
        row["tried"] += 1
        seen: float | None = None
        while time.monotonic() - began < START_S:
            now, live = _process(client, name), client.status()["live"]["state"]
            again = now["state"] == "running" and now["pid"] not in (None, before["pid"])
            told = now["state"] != "running" or now["pid"] != before["pid"] or live not in ("live", "off")
            if seen is None and told:
                seen = time.monotonic() - began
            if again and live == "live":
                recovered.append(time.monotonic() - began)
                break
            time.sleep(0.05)
        else:
            row["lost"] += 1
        if seen is not None:
            shown.append(seen)
    row["shown_s"] = round(max(shown), 2) if shown else None
    row["recovered_s"] = round(max(recovered), 2) if recovered else None
    row["notes"].append(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    return row


def _crowded(what: str, path: Path, request: bytes, site: SiteFolder) -> dict[str, Any]:
    """Each attack with the held connections beside it: how long the slowest answer took, and frames a second."""
    calm = _frames_per_s(site)
    row: dict[str, Any] = {"fault": f"a crowd at {what}", "tried": 0, "lost": 0, "notes": []}
    slowest, rates = 0.0, []
    for attack in crowds.ATTACKS:
        with contextlib.suppress(OSError), crowds.held(path):
            attack(path)
            with contextlib.closing(crowds.never_read(path, request, 200)):
                row["tried"] += 1
                try:
                    slowest = max(slowest, _answered_s(path, request))
                except OSError as error:
                    row["lost"] += 1
                    row["notes"].append(f"{attack.__name__}: no answer ({error})")
                rates.append(_frames_per_s(site))
    row["shown_s"] = round(slowest, 2)
    mean = sum(rates) / len(rates) if rates else 0.0
    row["notes"].append(f"slowest answer {slowest:.2f} s; frames a second {calm:.2f} before, {mean:.2f} in the crowd")
    return row


def _answered_s(path: Path, request: bytes) -> float:
    if path.name == "service.sock":
        return crowds.answer_ms(path, request) / 1e3
    began = time.monotonic()
    with ResultClient(path) as client:
        try:
            client.command("nothing", timeout_s=20.0)
        except WardposeError as error:
            raise OSError(str(error)) from None
    return time.monotonic() - began


def _frames_per_s(site: SiteFolder, seconds: float = WATCH_S) -> float:
    until, seen = time.monotonic() + seconds, set()
    with ResultClient(result_socket(site)) as client:
        while time.monotonic() < until:
            with contextlib.suppress(WardposeError):
                message = client.latest(1.0)
                if message["state"] == "live":
                    seen.add(message["finished_at"])
    return len(seen) / seconds


def _await_live(client: ServiceClient) -> None:
    until = time.monotonic() + START_S
    while client.status()["live"]["state"] != "live":
        if time.monotonic() > until:
            raise WardposeError("the live path shows nothing", where="bench faults", mend="see the site's logs")
        time.sleep(0.1)


def _process(client: ServiceClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in client.status()["processes"] if each["name"] == name)
    return found
