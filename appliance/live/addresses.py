"""Where the processes of this site meet: the ring of frames, the socket of results, the service's own, the page."""

from __future__ import annotations

import sys
from pathlib import Path

from appliance.site import calibrations
from appliance.site.folder import SiteFolder
from calibration.atomic import write_text
from calibration.errors import WardposeError


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


def calibration_in_use(site: SiteFolder) -> Path:
    """A copy of the calibration in use, for those who draw its bed while it may be replaced."""
    return site.sockets / "calibration.json"


def write_calibration_in_use(site: SiteFolder) -> None:
    """Let the page draw the bed of the calibration that is in use now; none where none is."""
    path, row = calibration_in_use(site), calibrations.current_row(site)
    try:
        text = None if row is None else site.resolve(row.file).read_text(encoding="utf-8")
        if text is None:
            path.unlink(missing_ok=True)
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
    except (OSError, WardposeError) as error:  # a full disk, for one: the page draws the bed that it has
        sys.stderr.write(f"the page's bed stays as it was: {error}\n")


def page_address(site: SiteFolder) -> str:
    """The bedside page's address with its key, for the site's owner alone. Raises `WardposeError`."""
    from appliance.site.settings import load_settings
    from runtime.display.page_key import address, page_key

    return address(load_settings(site).display.port, page_key(page_key_file(site)))
