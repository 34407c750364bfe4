"""A port of its own for the page of a site that a measurement makes: this box's own page may have the usual one."""

from __future__ import annotations

import socket

from appliance.site.folder import SiteFolder
from appliance.site.settings import set_value


def take_own_port(site: SiteFolder) -> None:
    """Have the site's page served at a port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        set_value(site, "display", "port", int(listener.getsockname()[1]))
