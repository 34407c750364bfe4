"""Where the processes of this site meet: the ring of frames, the socket of results, the service's own."""

from __future__ import annotations

from pathlib import Path

from appliance.site.folder import SiteFolder


def ring_name(site: SiteFolder) -> str:
    """The frame ring of this site, so that two sites on one box don't mix."""
    return f"wardpose-{site.key}"


def result_socket(site: SiteFolder) -> Path:
    """Where the runtime publishes its results."""
    return site.sockets / "runtime.sock"


def service_socket(site: SiteFolder) -> Path:
    """Where the site's service is asked."""
    return site.sockets / "service.sock"
