"""The page at the ward's station: off until switched on, TLS alone, by PIN, to look only, each look written down."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from appliance import api
from appliance.box.doctor import examine
from appliance.client import ServiceClient
from appliance.doorkeeper import TOO_MANY_WRONG, WRONG_PIN, Doorkeeper
from appliance.live import pauses, station
from appliance.live.addresses import result_socket
from appliance.site import assigning, audit, certificate
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings, set_value
from appliance.station_view import StationView
from benchmarks.page_scene import LYING, calibration, live, person
from calibration.errors import WardposeError
from runtime.bus import ResultServer
from runtime.display.app import ENDED
from runtime.display.pausing import WHO_AT_THE_STATION
from tests.appliance.test_live_path import wait_for

WAIT_S = 60.0
WHY = "a test"
PIN, SHORT = "480261", "4802"
SEEN = calibration()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def staffed(site: SiteFolder) -> SiteFolder:
    assigning.assign(site, pwd.getpwuid(os.getuid()).pw_name, "engineer", WHY)
    assigning.assign(site, "Station 3", "viewer", WHY, pin=PIN)
    set_value(site, "station", "address", "127.0.0.1")
    set_value(site, "station", "port", free_port())
    set_value(site, "station", "bed", "Bed 12")
    station.keep_certificate(site, ["127.0.0.1", "bed12.ward.local"], "", "", WHY)
    return site


@pytest.fixture
def view(staffed: SiteFolder) -> Iterator[StationView]:
    """Served, with a live process behind it and the site's service, which runs nothing else."""
    with ServiceClient.connect(staffed) as client, ResultServer(result_socket(staffed)) as runs:
        station.switch(staffed, True, WHY)
        view = StationView(staffed)
        view.look()
        runs.publish(live([person(LYING, SEEN)]))
        yield view
        view.close()
        with contextlib.suppress(WardposeError):
            client.stop_service()


def trust(site: SiteFolder) -> ssl.SSLContext:
    """A station that was told to trust this box's certificate, and nothing else."""
    return ssl.create_default_context(cafile=str(station.certificate_file(site)))


@contextmanager
def opened(
    site: SiteFolder, *, look: str = "", origin: str = "", host: str = "", context: ssl.SSLContext | None = None
) -> Iterator[ClientConnection]:
    port = load_settings(site).station.port
    host = host or f"127.0.0.1:{port}"
    with connect(
        f"wss://{host}/live", sock=socket.create_connection(("127.0.0.1", port), timeout=WAIT_S),
        ssl=context or trust(site), server_hostname="127.0.0.1", open_timeout=WAIT_S, close_timeout=1, proxy=None,
        origin=Origin(origin or f"https://{host}"),
        subprotocols=[Subprotocol(name) for name in ("wardpose", *([f"look.{look}"] if look else []))],
    ) as connection:  # fmt: skip
        yield connection


def hear(connection: ClientConnection, key: str) -> Any:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        message = json.loads(connection.recv(timeout=WAIT_S))
        if key in message:
            return message[key]
    raise AssertionError(f"never {key}")


def ask(connection: ClientConnection, command: str, **more: str) -> dict[str, Any]:
    connection.send(json.dumps({"command": command, **more}))
    answer: dict[str, Any] = hear(connection, "answer")
    return answer


def entering(pin: str, address: str = "10.1.2.3") -> api.EnterStation:
    return api.EnterStation(pin=pin, address=address, place=WHO_AT_THE_STATION)


def rows(site: SiteFolder) -> list[tuple[str, str, str]]:
    return [(row.what, row.who, row.subject) for row in audit.rows(site)]


def test_it_is_off_until_somebody_switches_it_on_and_then_doctor_says_so(staffed: SiteFolder) -> None:
    view = StationView(staffed)
    assert not load_settings(staffed).station.on
    assert view.look() == "switched off" and view.server is None
    assert "off: nothing listens beyond this box" in doctor_says(staffed)
    station.switch(staffed, True, "the night watch")
    assert "ON, by TLS and PIN: https://bed12.ward.local:" in doctor_says(staffed)
    assert [(row.what, row.reason) for row in audit.rows(staffed)][:1] == [("station.on", "the night watch")]


def doctor_says(site: SiteFolder) -> str:
    return next(check.detail for check in examine(site).checks if check.name == "ward station's view")


def test_it_can_not_be_switched_on_without_a_certificate_and_somebody_who_has_a_pin(site: SiteFolder) -> None:
    with pytest.raises(WardposeError, match=r"no certificate.*nobody has a PIN"):
        station.switch(site, True, WHY)
    set_value(site, "station", "on", True)  # by hand: it is not served for that
    view = StationView(site)
    with pytest.raises(WardposeError, match="no certificate"):
        view.look()
    assert view.server is None and "on, but not served" in doctor_says(site)


def test_whoever_says_a_pin_sees_the_skeleton_and_changes_nothing_and_it_is_written_down(
    view: StationView, staffed: SiteFolder
) -> None:
    with opened(staffed) as page:
        assert json.loads(page.recv(timeout=WAIT_S)) == {"asks": "pin"}  # and nothing of anybody before it
        assert not ask(page, "pause")["ok"]
        told = ask(page, "enter", pin=PIN)
        assert told["ok"] and told["name"] == "Station 3"
        assert ("station.look", "Station 3 at the ward's station [viewer]", "from 127.0.0.1") in rows(staffed)
        assert hear(page, "called") == "Bed 12"
        assert len(hear(page, "people")) == 1
        for command in ("pause", "resume", "enter"):
            assert not ask(page, command, pin=PIN)["ok"]
        assert not pauses.switch(staffed).active
    view.close()
    assert rows(staffed)[0][:2] == ("station.leave", "Station 3 at the ward's station [viewer]")
    assert audit.verify(staffed).whole


def test_plain_http_gets_no_answer_and_an_older_tls_no_connection(view: StationView, staffed: SiteFolder) -> None:
    port = load_settings(staffed).station.port
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as plain:
        plain.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in plain.recv(1000)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(station.certificate_file(staffed))
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)), opened(staffed, context=old):
        pass
    page = urllib.request.urlopen(f"https://127.0.0.1:{port}/", context=trust(staffed), timeout=WAIT_S)
    assert page.status == 200 and "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_a_name_that_is_not_the_boxs_and_a_page_of_others_are_turned_away(
    view: StationView, staffed: SiteFolder
) -> None:
    port = load_settings(staffed).station.port
    asked = urllib.request.Request(f"https://127.0.0.1:{port}/", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(asked, context=trust(staffed), timeout=WAIT_S)
    for origin, host in (("https://evil.example", ""), ("", f"evil.example:{port}")):
        with pytest.raises(InvalidStatus), opened(staffed, origin=origin, host=host):
            pass
    with opened(staffed, host=f"Bed12.ward.local:{port}", origin=f"https://bed12.ward.local:{port}") as page:
        assert hear(page, "asks") == "pin"


def test_the_same_tab_comes_back_without_a_pin_and_a_pin_that_was_taken_away_ends_the_look(
    view: StationView, staffed: SiteFolder
) -> None:
    with opened(staffed) as page:
        token = ask(page, "enter", pin=PIN)["look"]
    with opened(staffed, look=token) as page:
        assert hear(page, "called") == "Bed 12"
        assigning.remove(staffed, "Station 3", WHY)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                page.recv(timeout=WAIT_S)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == ENDED
    with opened(staffed, look=token) as page:
        assert hear(page, "asks") == "pin"


def test_switching_it_off_hangs_up_at_once_and_another_certificate_is_taken_over(
    view: StationView, staffed: SiteFolder
) -> None:
    before = trust(staffed)
    station.keep_certificate(staffed, ["127.0.0.1"], "", "", WHY)
    view.look()
    with pytest.raises(ssl.SSLError), opened(staffed, context=before):
        pass
    with opened(staffed) as page:
        assert ask(page, "enter", pin=PIN)["ok"]
        station.switch(staffed, False, WHY)
        assert view.look() == "switched off"
        with pytest.raises(ConnectionClosed):
            while True:
                page.recv(timeout=WAIT_S)
    with pytest.raises(OSError), opened(staffed):
        pass


def test_guesses_are_written_down_and_bounded_by_machine_and_lock_nobody_out_at_the_bed(staffed: SiteFolder) -> None:
    assigning.assign(staffed, "Schwester Anna", "nurse", WHY, pin="731946")
    door = Doorkeeper(staffed)
    for guess in range(5):
        with pytest.raises(WardposeError, match=WRONG_PIN):
            door.enter_station(entering(f"90210{guess}"))
    for pin in ("902109", PIN):
        with pytest.raises(WardposeError, match=TOO_MANY_WRONG):
            door.enter_station(entering(pin))
    assert [row.what for row in audit.rows(staffed)][:5] == ["pin.refuse"] * 5
    assert door.enter_station(entering(PIN, "10.1.2.4")) == "Station 3"
    at_the_bed = api.Resume(reason=WHY, place="somebody at the bedside page", pin="731946")
    assert door.whose(at_the_bed) == "Schwester Anna at the bedside page"


def test_guesses_from_many_machines_are_bounded_too(staffed: SiteFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    door = Doorkeeper(staffed)
    monkeypatch.setattr(door._pins, "whose", lambda pin: "")  # what takes long in a guess is not asked here
    monkeypatch.setattr(door._looking, "whose", lambda pin: "")
    refusals = []
    for machine in range(60):
        with pytest.raises(WardposeError) as refused:
            door.enter_station(entering("902100", f"10.1.2.{machine}"))
        refusals.append(refused.value.what)
    assert refusals[0] == WRONG_PIN and refusals[-1] == TOO_MANY_WRONG


def test_a_short_pin_is_good_at_the_bed_only_and_a_viewers_pin_at_the_station_only(staffed: SiteFolder) -> None:
    assigning.assign(staffed, "Bruder Ben", "nurse", WHY, pin=SHORT)
    door = Doorkeeper(staffed)
    with pytest.raises(WardposeError, match="too short"):
        door.enter_station(entering(SHORT))
    with pytest.raises(WardposeError, match=WRONG_PIN):
        door.whose(api.Resume(reason=WHY, place="somebody at the bedside page", pin=PIN))
    with pytest.raises(WardposeError, match="can't be taken"):
        assigning.assign(staffed, "Schwester Anna", "nurse", WHY, pin=PIN)
    assigning.assign(staffed, "Station 3", "nurse", WHY, pin="731946")
    assert "Station 3" in assigning.pins(staffed).names and not assigning.looking_pins(staffed).any


def test_the_service_keeps_it_running_while_it_is_on(staffed: SiteFolder) -> None:
    port = load_settings(staffed).station.port

    def served() -> bool:
        with contextlib.suppress(OSError):
            return bool(urllib.request.urlopen(f"https://127.0.0.1:{port}/words", context=trust(staffed)).status)
        return False

    with ServiceClient.connect(staffed) as client:
        assert not served()
        client.call("station.switch", on=True, reason=WHY)
        wait_for(served)
        status = client.status()
        assert status["station"]["on"] and "station" in [one["name"] for one in status["processes"]]
        client.call("station.switch", on=False, reason=WHY)
        wait_for(lambda: not served())
        client.stop_service()


def test_a_certificate_of_the_sites_own_is_held_against_its_key(site: SiteFolder, tmp_path: Path) -> None:
    pem, key = certificate.make(["bed12.ward.local", "10.1.2.3"])
    kept = station.keep_certificate(site, [], pem, key, WHY)
    assert kept.names == ("bed12.ward.local", "10.1.2.3") and 396 < kept.days_left < 398
    assert station.key_file(site).stat().st_mode & 0o777 == 0o600
    other = certificate.make(["bed12.ward.local"])
    for wrong, mistake in (
        ((pem, other[1]), "another certificate's"), (("x", key), "no certificate"), ((pem, "x"), "no key"),
        (certificate.make(["a.local"], days=0), "has ended"),
    ):  # fmt: skip
        with pytest.raises(WardposeError, match=mistake):
            station.keep_certificate(site, [], *wrong, WHY)
    assert station.readiness(site).certificate == kept
    for name in ("", "a b", "*.local", "-a"):
        with pytest.raises(WardposeError):
            certificate.make([name])
    # An independent reader: what the standard library makes of the file.
    read: dict[str, Any] = ssl._ssl._test_decode_cert(str(station.certificate_file(site)))  # type: ignore[attr-defined]
    assert read["subjectAltName"] == (("DNS", "bed12.ward.local"), ("IP Address", "10.1.2.3"))
    assert ssl.cert_time_to_seconds(read["notAfter"]) > datetime.now(UTC).timestamp()
