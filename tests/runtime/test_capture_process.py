"""The capture process keeps frames flowing: through a missing camera, a kill, a hang and the end of a recording."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.capture.ring import RingReader, ring_path
from runtime.capture.source import StaleFrame
from runtime.notify import START_WORD_S

REPOSITORY = Path(__file__).resolve().parents[2]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def name() -> Iterator[str]:
    ring = f"test-{secrets.token_hex(6)}"
    yield ring
    for path in ring_path(ring).parent.glob(f"*wardpose-{ring}*"):
        path.unlink()


@pytest.fixture
def start(name: str) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(source: str, *options: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "runtime.capture.process", "--source", source, "--ring", name, *options]
        started.append(
            subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **environment},
            )
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def recording(shared_data: Path) -> str:
    return f"recording:{shared_data / 'kinect' / 'recording.mkv'}"


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        time.sleep(0.02)


def test_the_recording_flows_through_the_ring(name: str, start: Start, recording: str) -> None:
    process = start(recording)
    with RingReader(name) as reader:
        frame = reader.read_next(30.0)
        assert frame.color.shape == (720, 1280, 3)
        assert frame.depth is not None and frame.imu is not None and frame.camera is not None
        assert frame.color_from_depth is not None and np.allclose(frame.color_from_depth[3], [0, 0, 0, 1])
        until(lambda: reader.status().frames > 2)  # it begins again at the end
        status = reader.status()
        assert (status.state, status.source, status.pid) == ("streaming", recording, process.pid)
        assert reader.read_next(5.0).timestamp_s == pytest.approx(time.monotonic(), abs=5.0)


def test_sigterm_stops_it_in_good_order(name: str, start: Start, recording: str) -> None:
    process = start(recording)
    reader = RingReader(name)
    until(lambda: reader.status().state == "streaming")
    process.terminate()
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert not ring_path(name).exists()
    assert reader.status().state == "absent"


def test_it_ends_with_the_recording_where_asked(name: str, start: Start, recording: str) -> None:
    process = start(recording, "--at-end", "stop")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "is at its end" in errors


def test_after_a_kill_the_next_process_takes_over(name: str, start: Start, recording: str) -> None:
    reader = RingReader(name)
    first = start(recording)
    reader.read_next(30.0)
    first.kill()
    first.wait()
    assert ring_path(name).exists()
    second = start(recording)
    until(lambda: reader.status().pid == second.pid)
    assert reader.read_next(30.0).source == "recording:recording.mkv"


def test_a_hang_shows_in_the_heartbeat(name: str, start: Start, recording: str) -> None:
    process = start(recording)
    reader = RingReader(name)
    reader.read_next(30.0)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.0)
    assert reader.status().heartbeat_age_s > 0.9
    with pytest.raises(StaleFrame, match="old"):
        reader.read_latest(300)
    process.send_signal(signal.SIGCONT)
    assert reader.read_next(10.0).color.shape == (720, 1280, 3)


def test_a_camera_that_comes_late_is_found(name: str, start: Start, tmp_path: Path, shared_data: Path) -> None:
    path = tmp_path / "late.mkv"
    process = start(f"recording:{path}")
    reader = RingReader(name)
    until(lambda: reader.status().state == "retrying" and reader.status().restarts > 1)
    assert "there is no such recording" in reader.status().message
    assert process.poll() is None
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes((shared_data / "kinect" / "recording.mkv").read_bytes())
    temporary.rename(path)
    assert reader.read_next(30.0).color.shape == (720, 1280, 3)
    process.terminate()
    _, errors = process.communicate(timeout=10)
    assert errors.count("there is no such recording") == 1  # said once, not at every attempt
    assert "Traceback" not in errors


def test_a_wrong_spec_is_refused_at_once_in_one_line(name: str, start: Start) -> None:
    process = start("nothing:of:the:kind")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert len(errors.strip().splitlines()) == 1
    assert "nothing" in errors and "choose one of" in errors


def test_a_ring_that_is_taken_is_refused(name: str, start: Start, recording: str) -> None:
    start(recording)
    RingReader(name).read_next(30.0)
    second = start(recording)
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 2
    assert "already writes this frame ring" in errors


def test_it_tells_systemd_that_it_is_ready_and_alive(name: str, start: Start, recording: str, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(30.0)
        process = start(recording, NOTIFY_SOCKET=str(address))
        told: list[str] = []
        while told.count("WATCHDOG=1") < 3:
            told.append(manager.recv(4096).decode())
        assert told.count("READY=1") == 1
        assert "WATCHDOG=1" not in told[: told.index("READY=1")]
        assert any(line.startswith("STATUS=streaming") for line in told)
        process.terminate()
        while told[-1] != "STOPPING=1":
            told.append(manager.recv(4096).decode())


def test_a_missing_camera_does_not_keep_a_box_from_starting(name: str, start: Start, tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(30.0)
        start(f"recording:{tmp_path / 'none.mkv'}", NOTIFY_SOCKET=str(address))
        while manager.recv(4096) != b"READY=1":
            pass


def package_of_a_driver(folder: Path, opening: str) -> None:
    """A camera's package whose `open` does that, and whose source waits for half a second at most."""
    (folder / "slow_source.py").write_text(
        "import threading, time\nfrom runtime.capture.source import CaptureSource, StaleFrame\n"
        "class Slow(CaptureSource):\n    name, live, origin, waits_s = 'slow', True, 'camera', 0.5\n"
        "    @classmethod\n    def from_argument(cls, argument): return cls()\n"
        f"    def open(self):\n        {opening}\n    def close(self): pass\n"
        "    def read(self, timeout_s=1.0):\n        time.sleep(timeout_s)\n        raise StaleFrame('none')\n"
    )
    described = folder / "slow_source-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-source\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[wardpose.capture_sources]\nslow = slow_source:Slow\n")


def test_a_driver_that_never_opens_its_camera_is_a_hang(name: str, start: Start, tmp_path: Path) -> None:
    """The signs of life end, by which whoever started the process knows; the ring says so to everybody else."""
    package_of_a_driver(tmp_path, "threading.Event().wait()")
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(30.0)
        start("slow", NOTIFY_SOCKET=str(address), PYTHONPATH=f"{REPOSITORY}:{tmp_path}")
        while (word := manager.recv(4096).decode()) != f"EXTEND_TIMEOUT_USEC={int(START_WORD_S * 1e6)}":
            assert word != "READY=1"
        until(lambda: ring_path(name).exists())
        reader = RingReader(name)
        until(lambda: reader.status().heartbeat_age_s > 1.5)
        assert "dead or hangs" in reader.trouble()


def test_a_driver_that_works_for_long_to_open_its_camera_is_none(name: str, start: Start, tmp_path: Path) -> None:
    package_of_a_driver(tmp_path, "until = time.process_time() + 3.0\n        while time.process_time() < until: pass")
    start("slow", PYTHONPATH=f"{REPOSITORY}:{tmp_path}")
    until(lambda: ring_path(name).exists())
    reader, ages = RingReader(name), []
    while reader.status().state == "starting":
        ages.append(reader.status().heartbeat_age_s)
        time.sleep(0.05)
    assert len(ages) > 20 and sum(age > 1.0 for age in ages) < len(ages) / 4


def test_no_frame_touches_a_disk(name: str, start: Start, recording: str) -> None:
    process = start(recording)
    RingReader(name).read_next(30.0)
    links = [Path(f"/proc/{process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{process.pid}/fd")]
    opened = {}
    for link in links:
        try:
            flags = int((Path(f"/proc/{process.pid}/fdinfo") / link.name).read_text().split("flags:")[1].split()[0], 8)
            opened[os.readlink(link)] = flags & os.O_ACCMODE
        except FileNotFoundError:  # closed meanwhile
            continue
    written = {target for target, mode in opened.items() if mode != os.O_RDONLY and target.startswith("/")}
    memory = str(ring_path(name).parent)
    assert {target for target in written if not target.startswith((memory, "/dev/null"))} == set()
