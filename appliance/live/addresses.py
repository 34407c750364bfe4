"""Where the processes of this site meet: the ring of frames, the socket of results, the service's own, the page."""

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


def page_key_file(site: SiteFolder) -> Path:
    """The key of the bedside page; beside it lies the page that opens it on the box's own screen."""
    return site.sockets / "page.key"


def page_address(site: SiteFolder) -> str:
    """The bedside page's address with its key, for the site's owner alone. Raises `WardposeError`."""
    from appliance.site.settings import load_settings
    from runtime.display.page_key import address, page_key

    return address(load_settings(site).display.port, page_key(page_key_file(site)))
