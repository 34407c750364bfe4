"""Nothing leaves the box: the whole way, from images to a live skeleton, under a tracer of network calls."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.client import ServiceClient
from appliance.models.store import BUILT_IN
from appliance.site.folder import REPOSITORY, SiteFolder

CALLS = "connect,sendto,sendmsg,sendmmsg"
DNS_PORT = 53


def beyond_loopback(trace: str) -> list[str]:
    """The lines of a trace that name an internet address other than loopback, or ask for a name anywhere."""
    guilty = []
    for line in trace.splitlines():
        addresses = re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', line)
        ports = [int(port) for port in re.findall(r"sin6?_port=htons\((\d+)\)", line)]
        outside = [four or six for four, six in addresses if not (four.startswith("127.") or six == "::1")]
        if outside or DNS_PORT in ports or "io.systemd.Resolve" in line:
            guilty.append(line)
    return guilty


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: the silence of the network can't be proven here")
    out = tmp_path / "trace"
    probe = subprocess.run(["strace", "-o", str(out), "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("strace may not trace here: the silence of the network can't be proven")
    return out


def traced(trace: Path, *command: str, home: Path, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    """Run a command and all its children under strace; the trace is appended to."""
    part = trace.with_suffix(".part")
    ended = subprocess.run(
        [*tracer(part), *command], cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout, check=False,
        env=dict(os.environ, WARDPOSE_HOME=str(home)),
    )  # fmt: skip
    with trace.open("a") as whole:
        whole.write(part.read_text())
    return ended


def tracer(out: Path) -> list[str]:
    """The beginning of a command line whose network calls, and its children's, are written to `out`."""
    return ["strace", "-f", "--seccomp-bpf", "-e", f"trace={CALLS}", "-s", "256", "-o", str(out)]


@contextlib.contextmanager
def traced_service(trace: Path, home: Path) -> Iterator[None]:
    """The site's service, which does the commands' work, under a tracer of its own; its trace is appended at the end.
    One that a traced command started would keep that command's tracer."""
    part = trace.with_suffix(".service")
    site = SiteFolder.open(home)
    tracing = subprocess.Popen(
        [*tracer(part), sys.executable, "-m", "appliance.service", "--home", str(home)],
        cwd=REPOSITORY,
        stderr=subprocess.DEVNULL,
    )
    with ServiceClient(site) as client:
        while not client.answers():
            assert tracing.poll() is None
            time.sleep(0.05)
        yield
        client.stop_service()
    tracing.wait(60)
    with trace.open("a") as whole:
        whole.write(part.read_text())


def test_the_tracer_sees_what_must_not_happen(trace: Path, tmp_path: Path) -> None:
    code = (
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "for place in (('127.0.0.1', 9), ('192.0.2.1', 9), ('127.0.0.1', 53)):\n"
        "    try:\n        s.connect(place)\n    except OSError:\n        pass\n"
    )
    traced(trace, sys.executable, "-c", code, home=tmp_path)
    guilty = beyond_loopback(trace.read_text())
    assert len(guilty) == 2 and "192.0.2.1" in guilty[0] and "htons(53)" in guilty[1]


@pytest.mark.timeout(900)
def test_images_tuning_export_and_live_open_no_connection_beyond_loopback(
    trace: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    home = tmp_path / "site"
    wardpose = (sys.executable, "-m", "appliance")

    def run(*arguments: str) -> dict[str, object]:
        ended = traced(trace, *wardpose, *arguments, "--json", home=home)
        assert ended.returncode == 0, ended.stderr[-2000:]
        answer: dict[str, object] = json.loads(ended.stdout)
        return answer

    with traced_service(trace, home):
        base = "person-detector"
        if not (BUILT_IN / base / "model.json").exists():
            weights = request.getfixturevalue("shared_data") / "weights" / "person-v5nu.safetensors"
            base = str(run("models", "import", str(weights), "--name", "base")["model"])
        folder = str(run("synth", "--scenario", "D", "--count", "2", "--seed", "3")["out"])
        run("tune", "--model", base, "--data", folder, "--name", "tuned")
        run("export", "--model", "tuned")
        run("evaluate", "--model", "tuned", "--data", f"{folder}/annotations.json")
        live = run("run", "--source", f"video:{folder}/images", "--detector", "tuned", "--seconds", "2")
        assert live["ok"] and live["frames"]
    assert beyond_loopback(trace.read_text()) == []
