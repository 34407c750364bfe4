"""A live site on the simulated ward whose processes are killed and stopped and whose sockets are crowded: how soon that
shows, and how soon it is well again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.client import ServiceClient
from appliance.faults import crowd_faults
from appliance.faults.holding import holds
from appliance.faults.own_port import take_own_port
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError

SOURCE = "simulated"
START_S = 240.0
STEADY_S = 5.0  # of a live picture before each fault
ROUNDS = 2


def run(work: Path) -> Iterator[dict[str, Any]]:
    """One row a process and fault, then one a socket."""
    site = SiteFolder.open(work / "site")
    take_own_port(site)
    with ServiceClient.connect(site) as client:
        try:
            client.start_live(source=SOURCE, reason="bench faults")
            _await_live(client)
            for name in ("capture", "live", "display"):
                for deed, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
                    yield _struck(client, name, deed, number)
            yield from crowd_faults.run(site)
        finally:
            client.stop_service()
    faults = holds(site, small=False)
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


def _await_live(client: ServiceClient) -> None:
    until = time.monotonic() + START_S
    while client.status()["live"]["state"] != "live":
        if time.monotonic() > until:
            raise WardposeError("the live path shows nothing", where="bench faults", mend="see the site's logs")
        time.sleep(0.1)


def _process(client: ServiceClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in client.status()["processes"] if each["name"] == name)
    return found
