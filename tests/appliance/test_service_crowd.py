"""No crowd at the service's socket keeps anybody from being answered, and nothing of it is kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from appliance import doorway, versions
from appliance.client import ServiceClient
from appliance.live.addresses import service_socket
from appliance.service import Service
from appliance.site.folder import SiteFolder
from benchmarks import crowds

STATUS = json.dumps({"call": "status", "version": versions.API_VERSION}).encode() + b"\n"


@pytest.fixture
def service(site: SiteFolder) -> Iterator[Service]:
    """A service in this process, so that its threads can be counted."""
    made = Service(site)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    ServiceClient.connect(site).close()
    yield made
    made.leave()
    thread.join()


@pytest.mark.parametrize("attack", crowds.ATTACKS, ids=lambda attack: attack.__name__)
def test_what_is_no_request_hinders_nobody(service: Service, site: SiteFolder, attack: object) -> None:
    assert callable(attack)
    attack(service_socket(site))
    with ServiceClient(site) as client:
        assert client.status()["pid"]


def test_a_line_without_an_end_is_answered_once_and_its_client_left(service: Service, site: SiteFolder) -> None:
    with crowds.connect(service_socket(site), 20) as connection:
        connection.sendall(b"a" * doorway.LONGEST_REQUEST)
        received = b""
        while piece := connection.recv(1 << 16):
            received += piece
    assert received.count(b"\n") == 1 and not json.loads(received)["ok"]


def test_held_connections_and_readers_that_never_read_keep_nobody_out(
    service: Service, site: SiteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = service_socket(site)
    with ServiceClient(site) as earlier, crowds.held(path):
        assert earlier.status()["pid"]  # it connects again where its place was taken
        deaf = [crowds.never_read(path, STATUS, 300) for _ in range(2)]
        assert crowds.answer_ms(path, STATUS) > 0
        assert service._door is not None and service._door.clients <= doorway.MOST_CLIENTS
        assert sum(thread.name.startswith("Thread-") for thread in threading.enumerate()) < 3 * doorway.MOST_CLIENTS
        for connection in deaf:
            connection.close()
    with ServiceClient(site) as client:
        assert client.status()["pid"]
