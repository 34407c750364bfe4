"""The view from the ward's station: whether it is served, by what, and who looked.

Off until somebody switches it on; then nothing but TLS, for whoever has a PIN, to look only. `appliance.station_view`
is its process.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from appliance.live.supervisor import ProcessSpec, Supervisor
from appliance.site import assigning, audit, certificate
from appliance.site.folder import SiteFolder
from appliance.site.settings import StationSettings, load_settings, set_value
from calibration.atomic import write_text
from calibration.errors import WardposeError

LEAST_DIGITS = 6  # of a PIN that is good over the network
SOON_DAYS = 30.0  # a certificate that ends sooner is warned of


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the view can be served. lacking: what is missing, each with its mend; certificate: if there is one."""

    lacking: tuple[str, ...]
    certificate: certificate.Certificate | None


def certificate_file(site: SiteFolder) -> Path:
    return site.root / "station" / "certificate.pem"


def key_file(site: SiteFolder) -> Path:
    return site.root / "station" / "key.pem"


def readiness(site: SiteFolder) -> Readiness:
    lacking, found = [], None
    try:
        found = certificate.read(
            certificate_file(site).read_text(encoding="ascii"), key_file(site).read_text(encoding="ascii")
        )
    except FileNotFoundError:
        lacking.append("there is no certificate: wardpose station certificate")
    except (OSError, UnicodeDecodeError) as error:
        lacking.append(f"the certificate can't be read ({error}): wardpose station certificate")
    except WardposeError as error:
        lacking.append(f"{error.what}: wardpose station certificate")
    if not assigning.looking_names(site):
        lacking.append("nobody has a PIN: wardpose roles assign NAME viewer --pin")
    return Readiness(tuple(lacking), found)


def names_of(settings: StationSettings) -> list[str]:
    """The hosts' names by which stations reach this box."""
    return [name.strip().lower() for name in settings.names.split(",") if name.strip()]


def addresses(settings: StationSettings) -> list[str]:
    """Where stations find the view: by each name, else by each address that it is served on."""
    hosts = names_of(settings) or ([settings.address] if settings.address != "0.0.0.0" else own_addresses())
    return [f"https://{host}:{settings.port}/" for host in hosts]


def own_addresses() -> list[str]:
    """This box's IPv4 addresses that others can reach."""
    found = [
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    return sorted(found)


def keep_certificate(site: SiteFolder, names: list[str], pem: str, key: str, reason: str) -> certificate.Certificate:
    """Use the site's own certificate and key, two PEM texts, or without them one made here for `names` (by default
    this box's names and addresses). Raises `WardposeError` for one that won't do."""
    made = not pem
    if made:
        wanted = names or [*names_of(load_settings(site).station), socket.gethostname().lower(), *own_addresses()]
        pem, key = certificate.make(list(dict.fromkeys(name for name in wanted if names or certificate.is_host(name))))
    found = certificate.read(pem, key)
    how = "made here" if made else "the site's own"
    with audit.deed(site, "station.certificate", found.fingerprint, f"{how}, until {found.until:%Y-%m-%d}: {reason}"):
        certificate_file(site).parent.mkdir(mode=0o700, exist_ok=True)
        write_text(key_file(site), key)
        write_text(certificate_file(site), pem)
    return found


def switch(site: SiteFolder, on: bool, reason: str) -> None:
    """Serve the view from now on, or no longer. Raises `WardposeError` where something is missing for it."""
    if on and (lacking := readiness(site).lacking):
        raise WardposeError("the station's view can't be switched on", mend="; ".join(lacking))
    set_value(site, "station", "on", on)
    audit.record(site, "station.on" if on else "station.off", ", ".join(addresses(load_settings(site).station)), reason)


def told(site: SiteFolder) -> dict[str, Any]:
    """For `status`: whether it is on, and where."""
    with contextlib.suppress(WardposeError):
        settings = load_settings(site).station
        return {"on": settings.on, "addresses": addresses(settings) if settings.on else []}
    return {"on": False, "addresses": []}


class StationKeeper:
    """Keeps the view's process running while it is switched on. Call `look` now and then, from one thread."""

    def __init__(self, site: SiteFolder) -> None:
        self._site = site
        self._supervisor: Supervisor | None = None
        self._seen: tuple[int, int] = (0, 0)
        self._lock = threading.Lock()

    def look(self) -> None:
        """Start it, or end it, where the settings' file says so now."""
        try:
            about = self._site.settings_file.stat()
            seen = about.st_mtime_ns, about.st_ino
        except OSError:
            seen = (0, 0)
        if seen == self._seen:
            return
        self._seen = seen
        with contextlib.suppress(WardposeError):  # settings that can't be read change nothing
            on = load_settings(self._site).station.on
            with self._lock:
                if on and self._supervisor is None:
                    command = (sys.executable, "-m", "appliance.station_view", "--home", str(self._site.root))
                    self._supervisor = Supervisor(self._site, [ProcessSpec("station", command)])
                    self._supervisor.start()
            if not on:
                self.stop()

    def stop(self) -> None:
        with self._lock:
            supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.stop()

    @property
    def on(self) -> bool:
        return self._supervisor is not None

    def to_dict(self) -> list[dict[str, Any]]:
        with self._lock:
            return self._supervisor.to_dict() if self._supervisor is not None else []
