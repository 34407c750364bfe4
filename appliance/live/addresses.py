"""Where the live path's processes of this site meet: the ring of frames and the socket of results."""

from __future__ import annotations

from pathlib import Path

from appliance.site.folder import SiteFolder


def ring_name(site: SiteFolder) -> str:
    """The frame ring of this site, so that two sites on one box don't mix."""
    return f"wardpose-{site.key}"


def result_socket(site: SiteFolder) -> Path:
    """Where the runtime publishes its results."""
    return site.sockets / "runtime.sock"
