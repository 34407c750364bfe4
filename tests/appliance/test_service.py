"""The service: one truth for every client, and a live path that comes back."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.client import ServiceClient
from appliance.service import Service, service_socket
from appliance.site import audit
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from calibration.processes import is_running, process_identity


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def client(site: SiteFolder) -> Iterator[ServiceClient]:
    client = ServiceClient.connect(site)
    identity = process_identity(client.status()["pid"])
    yield client
    if is_running(identity):
        client.stop_service()
        wait_for(lambda: not is_running(identity))
    client.close()


def test_the_status_of_a_new_site_tells_that_nothing_runs(client: ServiceClient) -> None:
    status = client.status()
    assert (status["live"]["state"], status["processes"], status["jobs"], status["calibration"]) == (
        "off",
        [],
        [],
        None,
    )
    assert status["camera"]["state"] == "absent"
    assert status["models"] == {"detect": "person-detector", "pose": ""}
    wait_for(lambda: client.status()["health"]["checks"])


def test_a_box_with_the_fetched_models_starts_with_them(fetched: Path, client: ServiceClient) -> None:
    assert client.status()["models"] == {"detect": "nanodet", "pose": "movenet-thunder"}


def test_fetching_is_a_job_whose_failure_is_told(client: ServiceClient, tmp_path: Path) -> None:
    client.submit("fetch", {"source": str(tmp_path / "none.tgz")})
    wait_for(lambda: client.jobs(1)[0]["state"] == "failed")
    assert "none.tgz: no such file" in client.jobs(1)[0]["error"]


def test_only_the_owner_can_open_the_socket(client: ServiceClient, site: SiteFolder) -> None:
    assert stat.S_IMODE(service_socket(site).stat().st_mode) == 0o600


def test_a_mistake_comes_back_as_the_one_line_error(client: ServiceClient) -> None:
    with pytest.raises(WardposeError, match=r"no call 'sing'.*live\.start"):
        client.call("sing")
    with pytest.raises(WardposeError, match="no model is called 'nobody'"):
        client.start_live(reason="a test", detector="nobody")
    with pytest.raises(WardposeError, match="no capture source is called 'eye'"):
        client.start_live(reason="a test", source="eye", detector="nobody")


@pytest.mark.parametrize(
    "line", [b"\n", b"nonsense\n", b"[]\n", b'{"call": 3}\n', b'{"call": "status", "parameters": 3}\n']
)
def test_a_line_that_is_no_request_is_answered_and_survived(
    client: ServiceClient, site: SiteFolder, line: bytes
) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(service_socket(site)))
        raw.sendall(line)
        assert json.loads(raw.makefile().readline())["ok"] is False
    assert client.status()["site"] == str(site.root)


def test_a_second_service_of_the_same_site_is_refused(client: ServiceClient, site: SiteFolder) -> None:
    with pytest.raises(WardposeError, match="already runs"):
        Service(site)


def test_a_job_runs_and_its_failure_is_told(client: ServiceClient, tmp_path: Path) -> None:
    job = client.submit("evaluate", {"model": "nobody", "data": str(tmp_path / "none.json")})
    wait_for(lambda: client.jobs(1)[0]["state"] == "failed")
    assert "no model is called 'nobody'" in client.jobs(1)[0]["error"]
    assert client.resume_job(job["id"])["state"] == "queued"


def test_a_client_finds_the_service_again_after_it_was_killed(site: SiteFolder) -> None:
    client = ServiceClient.connect(site)
    first = client.status()["pid"]
    os.kill(first, signal.SIGKILL)
    identity = process_identity(first)
    wait_for(lambda: not is_running(identity))
    with pytest.raises(WardposeError, match="does not answer"):
        client.status()
    with ServiceClient.connect(site) as again:
        assert again.status()["pid"] != first
        again.stop_service()


def test_the_live_path_runs_from_a_real_recording_and_comes_back_after_a_kill(
    site: SiteFolder, shared_data: Path
) -> None:
    from appliance.models.store import ModelStore

    ModelStore(site).import_file(shared_data / "weights" / "yolox_nano.onnx", "yolox")
    source = f"recording:{shared_data / 'kinect' / 'recording.mkv'}"
    with ServiceClient.connect(site) as client:
        client.start_live(reason="a test", source=source, detector="yolox", display=False)
        wait_for(lambda: client.status()["live"]["state"] == "live")
        status = client.status()
        children = [process_identity(process["pid"]) for process in status["processes"]]
        assert [process["name"] for process in status["processes"]] == ["capture", "live"]
        assert status["live"]["owner"]["kind"] == "service" and status["own"]
        assert status["live"]["origin"] == "recording"
        client.pause("visit")
        wait_for(lambda: client.status()["camera"]["state"] == "paused")
        assert client.status()["live"]["state"] == "paused"
        client.resume("over")
        wait_for(lambda: client.status()["live"]["state"] == "live")
        os.kill(status["pid"], signal.SIGKILL)
        wait_for(lambda: not any(is_running(child) for child in children))
    with ServiceClient.connect(site) as client:
        wait_for(lambda: client.status()["live"]["state"] == "live")
        assert client.status()["live"]["plan"]["source"] == source
        client.stop_live("a test")
        assert client.status()["live"]["state"] == "off"
        client.stop_service()
    assert {"live.start", "live.pause", "live.resume", "live.stop"} <= {row.what for row in audit.rows(site)}


def test_an_idle_service_that_was_started_for_a_client_ends(site: SiteFolder) -> None:
    script = (
        "import sys, appliance.service as service\nfrom appliance.site.folder import SiteFolder\n"
        "service.IDLE_SECONDS = 0.2\nservice.Service(SiteFolder.open(sys.argv[1]), leave_when_idle=True).run()\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(site.root)], timeout=30, check=False).returncode == 0
