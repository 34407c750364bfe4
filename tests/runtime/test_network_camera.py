"""A camera on the network: asked for leave, never live when it falls behind, its password never shown."""

from __future__ import annotations

import contextlib
import io
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from calibration.errors import WardposeError
from runtime.capture import stream_clock, video
from runtime.capture.process import CaptureProcess
from runtime.capture.ring import RingReader
from runtime.capture.source import StaleFrame, VideoConfig, make_source
from runtime.capture.video import VideoSource


def source_of(path: Path | str, **options: object) -> VideoSource:
    return VideoSource(VideoConfig(path=str(path), **{"realtime": False, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["rtsp://192.0.2.1/x", "rtsp://camera.example/x", "rtsp://8.8.8.8:554/"])
def test_a_camera_on_the_network_needs_leave(address: str) -> None:
    with pytest.raises(WardposeError, match="nothing here opens a network connection"):
        make_source(f"video:{address}")


def test_other_addresses_are_refused() -> None:
    with pytest.raises(WardposeError, match="only rtsp://"):
        make_source("video:http://127.0.0.1/x.mp4")


def test_a_password_never_shows_in_a_name() -> None:
    source = make_source("video:rtsp://user:secret@127.0.0.1:1/stream")
    assert "secret" not in source.name


def test_an_rtsp_address_where_nobody_listens_is_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(WardposeError, match="no camera answers there"):
        source_of(f"rtsp://127.0.0.1:{port}/stream").open()


class RtspCamera:
    """A small RTSP server on loopback: MPEG-TS over RTP, interleaved in the RTSP connection (RFC 2326, RFC 2250)."""

    def __init__(self, stream: bytes, *, seconds: float = 0.0) -> None:
        """seconds: how long the stream lasts, to be sent at its own pace; 0: as fast as it goes."""
        self._stream, self._seconds = stream, seconds
        self.stall = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/live"
        self.hang_up = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                with connection, contextlib.suppress(OSError):
                    self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                data = connection.recv(4096)
                if not data:
                    return
                received += data
            request, _, received = received.partition(b"\r\n\r\n")
            method = request.split()[0].decode()
            sequence = next(line for line in request.decode().split("\r\n") if line.startswith("CSeq"))
            body, extra = "", ""
            if method == "OPTIONS":
                extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track1\r\n"
                )
                extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
            elif method == "PLAY":
                extra = "Session: 1\r\n"
            connection.sendall(f"RTSP/1.0 200 OK\r\n{sequence}\r\n{extra}\r\n{body}".encode())
            if method == "PLAY":
                self._send(connection)
                return

    def _send(self, connection: socket.socket) -> None:
        chunks = range(0, len(self._stream), 7 * 188)
        due = time.monotonic()
        for number, at in enumerate(chunks):
            if self.hang_up.is_set():
                return
            while self.stall.is_set() and not self.hang_up.wait(0.02):
                due = time.monotonic()  # nothing is made up for: what comes then is as old as the stall was long
            chunk = self._stream[at : at + 7 * 188]
            rtp = b"\x80\x21" + (number & 0xFFFF).to_bytes(2, "big") + (300 * number).to_bytes(4, "big") + b"\0\0\0\1"
            connection.sendall(b"$\0" + (len(rtp) + len(chunk)).to_bytes(2, "big") + rtp + chunk)
            due += self._seconds / len(chunks)
            time.sleep(max(0.002 if not self._seconds else 0.0, due - time.monotonic()))
        self.hang_up.wait(30)

    def close(self) -> None:
        self.hang_up.set()
        self._server.close()


def moving_noise() -> bytes:
    """Ten seconds of MPEG-TS, 25 pictures a second."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mpegts") as out:
        video = out.add_stream("mpeg2video", rate=25)
        video.width, video.height, video.pix_fmt, video.bit_rate = 320, 240, "yuv420p", 2_000_000
        noise = np.random.default_rng(1).integers(0, 255, (240, 320, 3), dtype=np.uint8)
        for number in range(250):
            image = np.roll(noise, number, axis=1)
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(video.encode(None))
    return stream.getvalue()


@pytest.fixture
def rtsp_camera() -> Iterator[RtspCamera]:
    camera = RtspCamera(moving_noise())
    yield camera
    camera.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stall of a few seconds doesn't end the stream, however busy this machine is."""
    monkeypatch.setattr(video, "READ_TIMEOUT_MS", 20_000)


def test_what_a_stalled_network_camera_hands_over_later_is_as_old_as_it_is(patient: None) -> None:
    camera = RtspCamera(moving_noise(), seconds=10.0)
    try:
        with source_of(camera.address) as source:
            source.read(timeout_s=20.0)
            camera.stall.set()
            with pytest.raises(StaleFrame):  # what was on its way comes first
                while True:
                    source.read(timeout_s=0.5)
            time.sleep(1.2)
            camera.stall.clear()
            for _ in range(20):
                frame = source.read(timeout_s=10.0)
                assert time.monotonic() - frame.timestamp_s > 1.0  # so the ring's reader refuses it
    finally:
        camera.close()


def test_a_network_camera_that_falls_behind_never_looks_live_at_the_other_end_of_the_ring(patient: None) -> None:
    camera, ring = RtspCamera(moving_noise(), seconds=10.0), f"test-{secrets.token_hex(6)}"
    capture = CaptureProcess(f"video:{camera.address}", ring)
    thread = threading.Thread(target=capture.run, daemon=True)
    thread.start()
    try:
        with RingReader(ring) as reader:
            reader.read_next(20.0)
            camera.stall.set()
            wait_for(lambda: reader.status().state == "stalled")
            time.sleep(1.2)
            before = reader.status().frames
            camera.stall.clear()
            wait_for(lambda: reader.status().frames > before + 3)
            assert reader.status().state == "stalled" and "old pictures" in reader.trouble()
            with pytest.raises(StaleFrame, match="old"):
                reader.read_latest(max_age_ms=1000)
    finally:
        capture.stop()
        thread.join(30)
        camera.close()


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_network_camera_that_stays_behind_is_to_be_opened_again(
    patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_clock, "BEHIND_S", 1.0)
    camera = RtspCamera(moving_noise(), seconds=10.0)
    try:
        with source_of(camera.address) as source:
            source.read(timeout_s=20.0)
            camera.stall.set()
            time.sleep(1.8)
            camera.stall.clear()
            with pytest.raises(WardposeError, match=r"its pictures come \d\.\d s late"):
                while True:
                    source.read(timeout_s=10.0)
    finally:
        camera.close()


def test_an_rtsp_camera_on_loopback_plays_and_its_end_is_an_error(rtsp_camera: RtspCamera) -> None:
    source = source_of(rtsp_camera.address)
    assert source.live
    with source:
        frames = [source.read(timeout_s=10.0) for _ in range(3)]
        assert [frame.color.shape for frame in frames] == [(240, 320, 3)] * 3
        assert frames[0].timestamp_s < frames[1].timestamp_s < frames[2].timestamp_s <= time.monotonic()
        rtsp_camera.hang_up.set()
        with pytest.raises(WardposeError, match="ended the stream"):
            while True:
                source.read(timeout_s=10.0)
