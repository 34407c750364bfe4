"""What a site keeps ready for a full disk: its ballast, and what a pause needs; and what is done about a full one."""

from __future__ import annotations

from appliance.live import pauses
from appliance.site import ballast
from appliance.site.folder import SiteFolder
from calibration.disk import look


def keep(site: SiteFolder) -> None:
    """Lay ready what is missing, where there is room for it."""
    pauses.switch(site).prepare()
    ballast.lay(site.root)


def mend(site: SiteFolder) -> list[str]:
    """Free the ballast of a full disk, or lay it down again where there is room; returns what was done, a line each."""
    trouble = look(site.root)
    if trouble is None:
        pauses.switch(site).prepare()
        laid = ballast.lay(site.root)
        return [f"{ballast.folder(site.root)}: {_mib(laid)} of ballast laid down for a full disk"] if laid else []
    freed = ballast.release(site.root) if trouble.cause in ("full", "no inodes") else 0
    if not freed:
        return []
    return [f"{ballast.folder(site.root)}: {trouble.words}; {_mib(freed)} of ballast freed, for the moment: delete now"]


def _mib(number: int) -> str:
    return f"{number / 2**20:.1f} MiB"
