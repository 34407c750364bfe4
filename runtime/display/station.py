"""The page for the ward's station: over the network, by TLS alone, for whoever has a PIN, and to look only."""

from __future__ import annotations

import ssl
from collections.abc import Collection
from pathlib import Path

from calibration.errors import WardposeError
from runtime.display.app import AtThisAddress
from runtime.display.bed_source import CalibratedBed
from runtime.display.hub import Hub
from runtime.display.page_server import PageServer
from runtime.display.server import listen
from runtime.display.station_page import Entrance, StationPage
from runtime.pause import PauseSwitch


class StationServer(PageServer):
    """Serves the station's page of one live process, and notes at its end that nobody looks any more.

    socket, pause, calibration: as for `runtime.display.service.DisplayServer`. certificate, key: PEM files. address:
    IPv4, of this box, `0.0.0.0` for each. names: by which the box is known to those who come, besides its addresses.
    Raises WardposeError where the certificate or the key can't be used, or the address and port can't be had.
    """

    def __init__(
        self, socket: Path, pause: PauseSwitch, entrance: Entrance, *, certificate: Path, key: Path,
        calibration: Path | None = None, tongue: str = "en", address: str = "0.0.0.0", port: int = 8766,
        names: Collection[str] = (), bed: str = "", hours: float = 8.0,
    ) -> None:  # fmt: skip
        tls = _tls(certificate, key)
        listener = listen(address, port)
        port = int(listener.getsockname()[1])
        page = StationPage(
            Hub(socket, pause), entrance, CalibratedBed(calibration), tongue=tongue, bed=bed, hours=hours
        )  # fmt: skip
        here = AtThisAddress(
            page.application, {f"{name.lower()}:{port}" for name in names}, "https", own_address=True,
            refusal="this box is not known by that name; see station.names",
        )  # fmt: skip
        super().__init__(page, here, listener, tls)


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ssl.SSLError) as error:
        raise WardposeError(
            f"the certificate of the station's view is of no use ({error.strerror or error})",
            where=str(certificate), mend="make one: wardpose station certificate",
        ) from error  # fmt: skip
    return context
