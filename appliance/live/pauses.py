"""Pausing a site and going on: by a command, the terminal UI, the service, or whoever was quicker at the page.

The pause itself is `runtime.pause`'s; here it gets its place in the site folder and its rows in the audit trail, which
the page's deeds reach by the journal beside the pause: at the latest with the next command.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from appliance.live.addresses import ring_name
from appliance.site import audit
from appliance.site.folder import SiteFolder, default_home, home_path
from appliance.site.people import current_user
from calibration.disk import DiskError
from calibration.errors import WardposeError
from runtime.pause import Pause, PauseSwitch


def switch(site: SiteFolder) -> PauseSwitch:
    """The site's one pause."""
    return PauseSwitch(site.pause_file)


def pause(site: SiteFolder, reason: str = "", *, who: str = "") -> Pause:
    """Pause, whether or not anything runs; the pictures in memory are gone when this returns. Returns the pause that
    holds, which may be an older one. who: whoever asks, where the kernel can't know them.

    A database that can't be written is no reason not to: the deed waits for its row then.
    """
    from runtime.capture.ring import blank_ring

    held = switch(site).set(who or current_user(), reason)
    with contextlib.suppress(OSError, WardposeError):  # its own writer blanks it as well
        blank_ring(ring_name(site))
    with contextlib.suppress(WardposeError):
        write_down(site)
    return held


def resume(site: SiteFolder, reason: str = "", *, who: str = "") -> Pause | None:
    """Lift the pause and return it; None where none held."""
    held = switch(site).lift(who or current_user(), reason)
    with contextlib.suppress(WardposeError):  # the deed waits for its row
        write_down(site)
    return held


def record(site: SiteFolder, what: str, subject: str, reason: str) -> None:
    """The row `live.WHAT` of a beginning or an end; it waits in the journal where the disk takes none."""
    try:
        audit.record(site, f"live.{what}", subject, reason)
    except DiskError:
        with contextlib.suppress(OSError):
            switch(site).note(what, current_user(), ", ".join(filter(None, (subject, reason))))


def site_at(home: Path | str | None) -> SiteFolder:
    """The site at `home`, also where its database is damaged: pausing wants nothing of it but a folder."""
    try:
        return SiteFolder.open(home)
    except WardposeError:
        site = _unopened(home)
        if not site.root.is_dir():
            raise
        return site


def catch_up(home: Path | str | None = None) -> None:
    """Give the deeds that wait for their rows in the site at `home` (default: `default_home()`) those rows, and a pause
    of an earlier version its place; does nothing, and makes no site, where none waits."""
    site = _unopened(home)
    if switch(site).owes or os.path.lexists(_earlier(site)):
        with contextlib.suppress(WardposeError):  # what is wrong with the site, the command in hand will tell
            write_down(SiteFolder.open(site.root))


def write_down(site: SiteFolder) -> None:
    """Give every pause and resume that has none yet its row in the audit trail."""
    if os.path.lexists(earlier := _earlier(site)):
        switch(site).set("somebody at the bedside page", "before wardpose was updated")
        earlier.unlink(missing_ok=True)

    def keep(deed: dict[str, Any]) -> None:
        told = f"at {deed.get('at')}" + (f": {deed['reason']}" if deed.get("reason") else "")
        audit.record(site, f"live.{deed.get('what')}", reason=told, who=str(deed.get("by")))

    switch(site).hand_over(keep)


def _unopened(home: Path | str | None) -> SiteFolder:
    return SiteFolder(home_path(home) if home else default_home().absolute())


def _earlier(site: SiteFolder) -> Path:
    """Where versions without a pause of the site kept the live process's."""
    return site.sockets_place / "runtime.sock.paused"
