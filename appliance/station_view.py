"""Serves the page to the ward's station while `station.on` of site.toml says so: `python -m appliance.station_view`.

It looks at the settings twice a second: switched off, it hangs up at once; changed, it serves anew. Switched off, it
waits, listening nowhere.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

from appliance import program
from appliance.client import ServiceClient
from appliance.live import pauses, station
from appliance.live.addresses import calibration_in_use, result_socket, write_calibration_in_use
from appliance.site import assigning, closing
from appliance.site.folder import SiteFolder
from appliance.site.settings import Settings, load_settings
from calibration.errors import WardposeError
from runtime.display.pausing import WHO_AT_THE_STATION
from runtime.display.station import StationServer
from runtime.notify import notify

LOOK_SECONDS = 0.5
ANSWER_SECONDS = 20.0
TROUBLE_SECONDS = 5.0  # until what failed is tried again


class ByTheService:
    """The entrance: the site's service says whose PIN it is, counts wrong ones and writes down who looks."""

    def __init__(self, site: SiteFolder) -> None:
        self._site = site

    def enter(self, pin: str, address: str) -> str:
        answer = self._client().call("station.enter", pin=pin, address=address, place=WHO_AT_THE_STATION)
        return str(answer["name"])

    def leave(self, who: str, address: str, seconds: float) -> None:
        try:
            self._client().call("station.leave", name=who, address=address, seconds=seconds, place=WHO_AT_THE_STATION)
        except WardposeError as error:  # the service's own log lacks it; this one has it
            sys.stderr.write(f"{who} looks no longer from {address}, after {seconds:.0f} s: {error}\n")

    def may_stay(self, who: str) -> bool:
        return who in assigning.looking_names(self._site)

    def _client(self) -> ServiceClient:
        return ServiceClient(self._site, answer_s=ANSWER_SECONDS)


class StationView:
    """Serves as the settings say; `look` from one thread, then `close`."""

    def __init__(self, site: SiteFolder) -> None:
        self._site = site
        self._server: StationServer | None = None
        self._mark: tuple[tuple[int, int], ...] = ()
        self._words = ""

    @property
    def server(self) -> StationServer | None:
        return self._server

    def look(self) -> str:
        """Serve, serve anew or hang up; returns in words what is so now. Raises `WardposeError` where it can't be."""
        files = (self._site.settings_file, station.certificate_file(self._site), station.key_file(self._site))
        mark = tuple(map(_mark, files))
        if mark == self._mark and (self._server is None or self._server.alive):
            return self._words
        self.close()
        settings = load_settings(self._site)
        if settings.station.on:
            self._server = self._serve(settings)
        self._mark = mark
        self._words = f"serves {', '.join(station.addresses(self._site))}" if self._server else "switched off"
        return self._words

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server, self._mark = None, ()

    def _serve(self, settings: Settings) -> StationServer:
        ready = station.readiness(self._site)
        if ready.lacking:
            raise WardposeError("the station's view can't be served", mend="; ".join(ready.lacking))
        write_calibration_in_use(self._site)
        view = settings.station
        return StationServer(
            result_socket(self._site), pauses.switch(self._site), ByTheService(self._site),
            certificate=station.certificate_file(self._site), key=station.key_file(self._site),
            calibration=calibration_in_use(self._site), tongue=settings.display.language, address=view.address,
            port=view.port, names=station.names_of(view, ready.certificate), bed=view.bed, hours=view.hours,
        )  # fmt: skip


def _mark(path: Path) -> tuple[int, int]:
    """Another one when the file was written anew."""
    try:
        about = path.stat()
    except OSError:
        return 0, 0
    return about.st_mtime_ns, about.st_ino


def run(site: SiteFolder, stopping: threading.Event) -> None:
    """Serve until told to stop."""
    view, told, wait_s = StationView(site), "", 0.0
    notify("READY=1")
    while not stopping.wait(wait_s):
        notify("WATCHDOG=1")
        wait_s = LOOK_SECONDS
        try:
            words = view.look()
        except WardposeError as error:
            view.close()
            words, wait_s = str(error), min(TROUBLE_SECONDS, 4 * LOOK_SECONDS)
        if words != told:
            told = words
            sys.stderr.write(f"station: {words}\n")
            notify(f"STATUS={words}")
    notify("STOPPING=1")
    view.close()


def main(arguments: list[str] | None = None) -> int:
    """Serve one site's view in the foreground."""
    parser = argparse.ArgumentParser(prog="appliance.station_view", description=__doc__)
    parser.add_argument("--home", type=Path)
    options = parser.parse_args(arguments)
    program.prepare()
    stopping = threading.Event()
    program.end_by(stopping.set)
    closing.close_and_tell(options.home)
    run(SiteFolder.open(options.home), stopping)
    return 0


if __name__ == "__main__":
    program.exit_with(main)
