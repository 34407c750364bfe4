"""What was asked of the live path and still is wanted, so that it comes back after a power cut; and its end."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from appliance.live import pauses, running
from appliance.live.plan import LivePlan
from appliance.site.folder import SiteFolder
from calibration.atomic import disk_error, write_text
from calibration.disk import DiskError, is_read_only
from calibration.json_text import parse_json


def remember(site: SiteFolder, wanted: LivePlan) -> None:
    """The service shall run this live path, also when it is started next; on a disk that takes nothing, only now."""
    try:
        write_text(_file(site), json.dumps(asdict(wanted)))
    except DiskError as error:
        sys.stderr.write(f"the live path will not come back by itself: {error}\n")


def recall(site: SiteFolder) -> LivePlan | None:
    """What is wanted; None where nothing is. What can't be understood is told on standard error, and forgotten."""
    try:
        return LivePlan(**parse_json(_file(site).read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        sys.stderr.write(f"the live path could not be started again: {error}\n")
        forget(site)
        return None


def forget(site: SiteFolder) -> None:
    """Nothing is wanted any more."""
    try:
        _file(site).unlink(missing_ok=True)
    except OSError as error:
        if not is_read_only(site.root):
            raise disk_error(error, _file(site)) from error
        sys.stderr.write(f"it comes back with the service: {disk_error(error, _file(site))}\n")


def end(site: SiteFolder, reason: str) -> str:
    """End the live path, whoever runs it but this process, and write that down; returns who ran it, empty where nothing
    did. It doesn't come back with the service."""
    forget(site)
    whose = running.stop(site)
    if whose:
        pauses.record(site, "stop", "", f"{reason}; it was somebody else's: {whose}")
    return whose


def _file(site: SiteFolder) -> Path:
    return site.root / "live.json"
