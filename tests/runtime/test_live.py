"""The live process and its socket: what it says, when, and that it never waits for anybody."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.errors import WardposeError
from runtime.bus import BusTimeout, ResultClient, ResultServer
from runtime.capture.ring import RingWriter
from runtime.detections import Detections
from runtime.frames import Frame
from runtime.message import live_message, people_of, state_of
from runtime.overlay import skeleton_cells, skeleton_on_neutral
from runtime.pipeline import LiveResult
from runtime.skeleton import Skeletons
from runtime.state import LiveState
from tests.runtime.onnx_graphs import constant_model, info

PERSON = np.array([[32, 32, 20, 10, 0.9]], np.float32).T
WAIT_S = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live.sock"


def test_a_client_gets_the_latest_message_also_when_it_comes_late(path: Path) -> None:
    with ResultServer(path) as server, ResultClient(path) as client:
        server.publish({"n": 1})
        server.publish({"n": 2})
        assert client.latest(WAIT_S) == {"n": 2}
        with pytest.raises(BusTimeout):
            client.latest(0.05)


def test_only_this_user_may_open_the_socket(path: Path) -> None:
    with ResultServer(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_a_client_that_never_reads_holds_nobody_up(path: Path) -> None:
    big = {"filler": "x" * 500_000}
    with ResultServer(path) as server, socket.socket(socket.AF_UNIX) as sleeper, ResultClient(path) as client:
        sleeper.connect(str(path))
        for n in range(50):
            server.publish(big | {"n": n})
        newest = -1
        while newest < 49:
            newest = client.latest(WAIT_S)["n"]


def test_commands_are_answered_beside_the_messages(path: Path) -> None:
    with ResultServer(path, lambda c: {"ok": True, "echo": c["word"]}) as server, ResultClient(path) as client:
        server.publish({"n": 1})
        assert client.command("say", word="hello")["echo"] == "hello"


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b"[" * 60000 + b"\n", b"\xff\xfe\n"])
def test_a_malformed_command_is_answered_and_harms_nobody(path: Path, line: bytes) -> None:
    with ResultServer(path, lambda c: {"ok": True}) as server, socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(path))
        rude.settimeout(WAIT_S)
        rude.sendall(line)
        assert json.loads(rude.makefile().readline())["answer"]["ok"] is False
        server.publish({"n": 1})
        with ResultClient(path) as client:
            assert client.latest(WAIT_S) == {"n": 1}


def test_a_command_without_end_is_cut_off(path: Path) -> None:
    with ResultServer(path), socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(path))
        rude.settimeout(WAIT_S)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(1000):
                rude.sendall(b"x" * 4096)


def test_a_socket_left_by_a_killed_server_is_taken_over_a_living_one_is_not(path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with ResultServer(path), pytest.raises(WardposeError, match="another live pipeline"):
        ResultServer(path)


def test_a_client_comes_back_after_the_server_was_restarted(path: Path) -> None:
    client = ResultClient(path)
    with pytest.raises(WardposeError, match="not running"):
        client.latest(0.1)
    with ResultServer(path) as server:
        server.publish({"n": 1})
        client.latest(WAIT_S)
    with pytest.raises(WardposeError):
        client.latest(0.1)
    with ResultServer(path) as server:
        server.publish({"n": 2})
        assert client.latest(WAIT_S) == {"n": 2}
    client.close()


def test_a_path_too_long_for_a_socket_says_so(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="shorter"):
        ResultServer(tmp_path / ("x" * 120))


def _result() -> LiveResult:
    rng = np.random.default_rng(1)
    ids = np.array([4, 7])
    detections = Detections(
        np.array([[1, 2, 30, 40], [5, 6, 70, 80]], np.float32), np.array([0.9, 0.5], np.float32), ids
    )
    keypoints = rng.uniform(0, 90, (2, 17, 2)).astype(np.float32)
    skeletons = Skeletons(keypoints, rng.random((2, 17)).astype(np.float32), ids)
    return LiveResult(12, 100.0, 100.05, 640, 480, detections, skeletons, {"detect": 12.3456})


def test_people_survive_the_way_through_a_message() -> None:
    result = _result()
    message = json.loads(json.dumps(live_message("live", result=result)))
    detections, skeletons = people_of(message)
    np.testing.assert_allclose(detections.xyxy, result.detections.xyxy, atol=0.051)
    np.testing.assert_allclose(skeletons.keypoints, result.skeletons.keypoints, atol=0.051)
    np.testing.assert_allclose(skeletons.score, result.skeletons.score, atol=0.00051)
    assert skeletons.track_id is not None
    assert skeletons.track_id.tolist() == [4, 7]


def test_a_message_says_how_each_person_is_to_be_shown_and_from_which_scores_on() -> None:
    result = _result()
    result.skeletons.score[0], result.skeletons.score[1] = 0.9, 0.1
    message = live_message("live", result=result)
    assert [person["shown"] for person in message["people"]] == ["skeleton", "box"]
    assert 0 < message["doubtful"] < message["sure"] < 1


def test_nobody_is_told_of_unless_live_and_age_counts_on() -> None:
    message = live_message("no-signal", result=_result())
    assert message["people"] == []
    assert state_of(message, now_s=103.0).age_s == pytest.approx(3.0)
    assert state_of(live_message("starting")).age_s is None


@st.composite
def _somebody(draw: st.DrawFn) -> LiveResult:
    """One person anywhere in or around a frame of 640 × 480, with or without a skeleton."""
    place = st.floats(-900, 1500)
    x, y, width, height = draw(place), draw(place), draw(st.floats(0, 900)), draw(st.floats(0, 900))
    found = Detections(np.array([[x, y, x + width, y + height]], np.float32), np.ones(1, np.float32), np.array([1]))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    corner, span = np.array([draw(place), draw(place)]), draw(st.floats(1, 800))
    joints = (corner + rng.uniform(0, span, (17, 2))).astype(np.float32)[None]
    score = (rng.random((1, 17)) ** draw(st.sampled_from([0.1, 1.0, 4.0]))).astype(np.float32)
    skeletons = Skeletons(joints, score, np.array([1])) if draw(st.booleans()) else Skeletons.empty()
    return LiveResult(0, 1.0, 1.0, 640, 480, found, skeletons)


@given(_somebody())
def test_whoever_is_counted_is_drawn(result: LiveResult) -> None:
    message = live_message("live", result=result)
    found, skeletons = people_of(message)
    shown = LiveState("live", 0.0, "camera")
    picture = skeleton_on_neutral((640, 480), skeletons, shown, detections=found)
    nobody = skeleton_on_neutral((640, 480), Skeletons.empty(), shown)
    cells = "".join(skeleton_cells(skeletons, 640, 480, 78, 14, found))
    assert (picture != nobody).any() == bool(message["people"])
    assert bool(cells.strip("\u2800")) == bool(message["people"])


def test_a_frames_origin_travels_to_the_message() -> None:
    assert live_message("live", result=replace(_result(), origin="simulation"))["origin"] == "simulation"
    assert state_of(live_message("live", result=replace(_result(), origin="simulation"))).origin == "simulation"
    assert state_of({"state": "live", "captured_at": 0.0, "origin": "a new one"}, 0.0).origin == "unknown"


@contextmanager
def _running(tmp_path: Path, ring: str, detector: Path, *more: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    where = tmp_path / "live.sock"
    command = [
        sys.executable,
        "-m",
        "runtime.live",
        "--ring",
        ring,
        "--detector",
        str(detector),
        "--socket",
        str(where),
    ]
    process = subprocess.Popen([*command, "--threads", "1", *more], stderr=subprocess.PIPE)
    try:
        yield process, where
    finally:
        process.kill()
        process.communicate()


def _until(client: ResultClient, state: str) -> dict[str, Any]:
    """The first message of that state, waiting also for the process to come up."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        try:
            message = client.latest(0.5)
        except WardposeError:
            time.sleep(0.02)
            continue
        if message["state"] == state:
            return message
    raise AssertionError(f"never {state}")


@contextmanager
def _camera(ring: str, pause_s: float = 0.02) -> Iterator[threading.Event]:
    """Black frames into a ring, 50 a second unless told otherwise, until the event is set."""
    stop = threading.Event()

    def write() -> None:
        with RingWriter(ring) as writer:
            index, next_s = 0, time.monotonic()
            while not stop.wait(min(pause_s, 0.1)):
                writer.heartbeat("streaming")  # as the capture process does, also between the frames of a slow camera
                if time.monotonic() >= next_s:
                    writer.write(Frame(np.zeros((64, 64, 3), np.uint8), time.monotonic(), index, "black"))
                    index, next_s = index + 1, next_s + pause_s

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


def test_the_process_lives_loses_its_signal_pauses_and_ends_cleanly(tmp_path: Path) -> None:
    ring = f"test-{uuid.uuid4().hex[:12]}"
    detector = constant_model(tmp_path / "d.onnx", [PERSON], info())
    with _running(tmp_path, ring, detector) as (process, where), ResultClient(where) as client:
        assert _until(client, "no-signal")["people"] == []
        with _camera(ring) as camera:
            live = _until(client, "live")
            assert len(live["people"]) == 1
            assert live["engines"]["detector"].startswith(("onnxruntime", "tensorrt"))
            assert state_of(live).age_s is not None
            assert client.command("pause")["paused"] is True
            paused = client.latest(WAIT_S)
            while paused["state"] == "live":  # sent before the pause
                paused = client.latest(WAIT_S)
            assert (paused["state"], paused["people"]) == ("paused", [])
            assert client.command("resume")["paused"] is False
            _until(client, "live")
            with pytest.raises(WardposeError, match="no such command"):
                client.command("dance")
            camera.set()
            assert _until(client, "no-signal")["people"] == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
        assert not where.exists()


def test_a_slow_camera_is_live_between_its_frames(tmp_path: Path) -> None:
    ring = f"test-{uuid.uuid4().hex[:12]}"
    detector = constant_model(tmp_path / "d.onnx", [PERSON], info())
    with _running(tmp_path, ring, detector) as (_, where), ResultClient(where) as client, _camera(ring, 0.6):
        first = _until(client, "live")
        while (message := client.latest(WAIT_S))["frame_index"] < first["frame_index"] + 2:
            assert message["state"] == "live"


def test_a_pause_outlives_the_process(tmp_path: Path) -> None:
    ring = f"test-{uuid.uuid4().hex[:12]}"
    detector = constant_model(tmp_path / "d.onnx", [PERSON], info())
    with _camera(ring):
        with _running(tmp_path, ring, detector) as (process, where), ResultClient(where) as client:
            _until(client, "live")
            client.command("pause")
            process.kill()
        with _running(tmp_path, ring, detector) as (_, where), ResultClient(where) as client:
            message = _until(client, "paused")
            assert message["people"] == []
            client.command("resume")
            _until(client, "live")


def test_a_missing_calibration_ends_the_process_with_one_line(tmp_path: Path) -> None:
    detector = constant_model(tmp_path / "d.onnx", [PERSON], info())
    with _running(tmp_path, "test-none", detector, "--calibration", str(tmp_path / "no.json")) as (process, _):
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert said.decode().count("\n") == 1
    assert "no such calibration" in said.decode()


def test_a_missing_model_ends_the_process_with_one_line(tmp_path: Path) -> None:
    with _running(tmp_path, "test-none", tmp_path / "absent.onnx") as (process, _):
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert said.decode().count("\n") == 1
    assert "no such model file" in said.decode()


def test_systemd_hears_ready_watchdog_and_stopping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(WAIT_S)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    detector = constant_model(tmp_path / "d.onnx", [PERSON], info())
    with manager, _running(tmp_path, f"test-{os.getpid()}-none", detector) as (process, _):
        heard = manager.recv(4096)
        while heard.startswith(b"EXTEND_TIMEOUT_USEC="):
            heard = manager.recv(4096)
        assert heard.startswith(b"READY=1")
        assert manager.recv(4096) == b"WATCHDOG=1"
        process.terminate()
        heard = manager.recv(4096)
        while heard == b"WATCHDOG=1":
            heard = manager.recv(4096)
        assert heard == b"STOPPING=1"
