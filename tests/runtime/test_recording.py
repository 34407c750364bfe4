"""An Azure Kinect recording plays without the Kinect SDK, and a bad one says what is wrong with it."""

from __future__ import annotations

import hashlib
import io
import struct
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from calibration.errors import WardposeError
from runtime.capture.k4a_file import K4aFile
from runtime.capture.recording import RecordingSource, decode_jpeg
from runtime.capture.source import EndOfStream, RecordingConfig, StaleFrame, make_source
from runtime.frames import Frame


@pytest.fixture(scope="module")
def recording(shared_data: Path) -> Path:
    return shared_data / "kinect" / "recording.mkv"


@pytest.fixture(scope="module")
def frame(recording: Path) -> Frame:
    with RecordingSource(RecordingConfig(path=str(recording))) as source:
        return source.read()


def tracks_of(source: Any, out: Any) -> dict[int, Any]:
    """The recording's tracks in the file `out`, by number, with nothing in them yet; its calibration is."""
    streams = {}
    for stream in source.streams.video:
        streams[stream.index] = out.add_stream_from_template(stream)
        streams[stream.index].metadata.update(stream.metadata)
        streams[stream.index].time_base = stream.time_base
    attachment = next(stream for stream in source.streams if stream.type == "attachment")
    out.add_attachment("calibration.json", "application/octet-stream", bytes(attachment.data))
    return streams


@pytest.fixture(scope="module")
def longer(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real recording's packets five times over at 5 frames a second; frame 2 lacks its depth, and depth runs
    20 ms behind colour, as it does in real recordings."""
    path = tmp_path_factory.mktemp("recordings") / "longer.mkv"
    raw = {"allow_raw_vfw": "1"}  # depth and infrared are raw 16-bit images
    with av.open(str(recording)) as source, av.open(str(path), "w", format="matroska", options=raw) as out:
        out.metadata.update({key: value for key, value in source.metadata.items() if key.startswith("K4A_")})
        streams = tracks_of(source, out)
        packets = [packet for packet in source.demux(source.streams.video) if packet.size]
        contents = [(packet.stream.index, bytes(packet)) for packet in packets]
        for number in range(5):
            for index, data in contents:
                if number == 2 and index == 1:
                    continue
                packet = av.Packet(data)
                packet.stream = streams[index]
                packet.time_base = packets[0].time_base
                packet.pts = packet.dts = 200_000 * (number + 1) + (20_000 if index else 0)
                packet.is_keyframe = True
                out.mux(packet)
    return path


def open_config(path: Path, **options: object) -> RecordingSource:
    return RecordingSource(RecordingConfig(path=str(path), **options))  # type: ignore[arg-type]


def test_colour_is_what_another_decoder_sees(recording: Path, frame: Frame) -> None:
    data = recording.read_bytes()
    start = data.index(b"\xff\xd8\xff\xdb")  # the JPEG as it lies in the file, found without any library
    image = np.asarray(Image.open(io.BytesIO(data[start:])).convert("RGB"))
    assert frame.color.shape == (720, 1280, 3)
    assert np.abs(frame.color.astype(int) - image).mean() < 0.5
    assert frame.color.mean(axis=(0, 1)) == pytest.approx([134.48, 134.31, 128.62], abs=0.05)


def test_depth_and_infrared_are_the_files_own_bytes(recording: Path, frame: Frame) -> None:
    data = recording.read_bytes()
    for plane in (frame.depth, frame.infrared):
        assert plane is not None
        assert plane.shape == (576, 640)
        assert plane.astype(">u2").tobytes() in data
    assert frame.depth is not None
    assert int(frame.depth.max()) < 6000  # millimetres in a room, so the byte order is right


def test_the_inertial_sample_is_the_files_own(recording: Path, frame: Frame) -> None:
    assert frame.imu is not None
    values = struct.pack("<3f", *frame.imu.acceleration)
    assert values in recording.read_bytes()
    assert np.linalg.norm(frame.imu.acceleration) == pytest.approx(9.87, abs=0.05)  # the camera stood still
    assert frame.imu.timestamp_s == 0.0


def test_every_byte_is_what_the_sdk_gives(recording: Path) -> None:
    file = K4aFile(recording)
    capture = next(file.captures())
    assert capture.color is not None and capture.depth is not None and capture.infrared is not None
    given = [capture.color, *(p.astype("<u2").tobytes() for p in (capture.depth, capture.infrared))]
    given.append(file.calibration_json.rstrip(b"\0"))
    # Golden values: what libk4arecord 1.4.2 (pyk4a 1.5.0, PyK4APlayback) hands out for the same file.
    assert [hashlib.sha256(data).hexdigest() for data in given] == [
        "17d40c3d8495c985dc4621f344160d6cf88f42224f23557a9f07859f3a90feb0",
        "912df5eb8893c54b6d82443224a5e1d35c3098b080f00d58ad953ca311113793",
        "b622982a8f33733e0a7c4cfe5b2a0719472a293c6ec6911aa928e87713a00b73",
        "f7955155f456df73041e4ad60284f5730affe5aafbaf76e26cfd5aea904be29b",
    ]
    assert capture.imu is not None
    assert capture.imu.acceleration.tolist() == [-2.888193130493164, -0.19380511343479156, -9.43713665008545]
    turning = [-0.0010146003914996982, -0.0019477708265185356, 0.00602347869426012]
    assert capture.imu.angular_velocity.tolist() == turning
    offset_us = int(file.info.tags["K4A_START_OFFSET_NS"]) // 1000
    assert capture.timestamp_us + offset_us == 800222  # the SDK counts from the camera's start


def test_time_is_the_recordings_clock(frame: Frame) -> None:
    assert frame.timestamp_s == pytest.approx(0.463945, abs=1e-9)
    assert frame.index == 0
    assert frame.source == "recording:recording.mkv"


def test_the_factory_calibration_comes_with_the_frame(frame: Frame) -> None:
    assert frame.camera is not None and frame.depth_camera is not None and frame.color_from_depth is not None
    # Golden values: pyk4a's for the same file.
    assert (frame.camera.fx, frame.camera.fy) == pytest.approx((611.7954, 611.9270), abs=1e-3)
    assert (frame.camera.cx, frame.camera.cy) == pytest.approx((639.3043, 365.8529), abs=1e-3)
    assert (frame.depth_camera.width, frame.depth_camera.height) == (640, 576)
    assert frame.color_from_depth[:3, 3] == pytest.approx([-0.032083, -0.002205, 0.003884], abs=1e-5)
    assert frame.color_from_imu is not None
    assert frame.color_from_imu[:3] == pytest.approx(
        np.array([
            [0.00251067, -0.99999535, -0.00173974, -0.02848082],
            [0.02241927, -0.00168302, 0.99974722, -0.00238397],
            [-0.99974549, -0.00254904, 0.02241495, -0.04710748],
        ]),
        abs=1e-6,
    )  # fmt: skip


def test_the_recording_says_what_it_holds(recording: Path) -> None:
    with open_config(recording) as source:
        info = source.info
    assert (info.serial, info.color_mode, info.depth_mode) == ("001514394512", "MJPG_720P", "NFOV_UNBINNED")
    assert info.frames_per_s == 5 and info.infrared and info.imu
    assert info.tags["K4A_COLOR_FIRMWARE_VERSION"] == "1.6.110"


def test_the_end_is_an_end_every_time(recording: Path) -> None:
    with open_config(recording) as source:
        source.read()
        for _ in range(2):
            with pytest.raises(EndOfStream):
                source.read()


def test_it_opens_again_after_closing(recording: Path) -> None:
    source = open_config(recording)
    for _ in range(2):
        source.open()
        source.open()
        assert source.read().index == 0
        source.close()
        source.close()


def test_looping_goes_on_counting_and_time_goes_on(recording: Path) -> None:
    with open_config(recording, loop=True, realtime=False) as source:
        frames = [source.read() for _ in range(3)]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert np.diff([frame.timestamp_s for frame in frames]) == pytest.approx([0.2, 0.2])
    felt = [frame.imu.timestamp_s for frame in frames if frame.imu is not None]
    assert np.diff(felt) == pytest.approx([0.2, 0.2])


def test_tracks_are_grouped_by_time_though_depth_runs_late(longer: Path) -> None:
    with open_config(longer, realtime=False) as source:
        frames = []
        with pytest.raises(EndOfStream):
            while True:
                frames.append(source.read())
    assert [round(frame.timestamp_s, 3) for frame in frames] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert [frame.depth is not None for frame in frames] == [True, True, False, True, True]
    assert all(frame.infrared is not None for frame in frames)
    assert frames[2].depth_camera is None


@pytest.mark.parametrize("delay_ms", [20, -20, 33, 0])
def test_depth_belongs_to_the_colour_it_was_taken_with(recording: Path, tmp_path: Path, delay_ms: int) -> None:
    """As the SDK pairs them (microsoft/Azure-Kinect-Sensor-SDK PR#10): `depth_delay_off_color` is no other instant."""
    path = tmp_path / "delayed.mkv"
    with (
        av.open(str(recording)) as source,
        av.open(str(path), "w", format="matroska", options={"allow_raw_vfw": "1"}) as out,
    ):
        tags = {key: value for key, value in source.metadata.items() if key.startswith("K4A_")}
        out.metadata.update(tags | {"K4A_DEPTH_DELAY_NS": str(delay_ms * 1_000_000)})
        streams = tracks_of(source, out)
        packets = [packet for packet in source.demux(source.streams.video) if packet.size]
        contents = [(packet.stream.index, bytes(packet)) for packet in packets]
        written = [
            (100_000 + 33_333 * number + (delay_ms * 1000 if index else 0), index, number, data)
            for number in range(5)
            for index, data in contents
        ]
        for time_us, index, number, data in sorted(written, key=lambda each: each[0]):
            # The first depth says which one it is.
            packet = av.Packet((number + 1).to_bytes(2, "big") + data[2:] if index else data)
            packet.stream, packet.time_base, packet.is_keyframe = streams[index], packets[0].time_base, True
            packet.pts = packet.dts = time_us
            out.mux(packet)
    found = []
    with open_config(path, realtime=False) as source, pytest.raises(EndOfStream):
        while True:
            frame = source.read()
            assert frame.depth is not None
            found.append((round(frame.timestamp_s, 3), int(frame.depth[0, 0])))
    assert found == [(0.1, 1), (0.133, 2), (0.167, 3), (0.2, 4), (0.233, 5)]
    with open_config(path, realtime=False, start_s=0.06) as source:
        frame = source.read()
        assert frame.depth is not None and int(frame.depth[0, 0]) == 3


def test_seeking_goes_to_the_first_frame_from_there(longer: Path) -> None:
    with open_config(longer, realtime=False, start_s=0.5) as source:
        assert source.read().timestamp_s == pytest.approx(0.8)
        source.seek(0.0)
        assert source.read().timestamp_s == pytest.approx(0.2)
        source.seek(0.4)
        assert source.read().timestamp_s == pytest.approx(0.6)


def test_real_time_holds_frames_back_until_they_are_due(longer: Path) -> None:
    with open_config(longer) as source:
        source.read()
        with pytest.raises(StaleFrame, match="due in"):
            source.read(timeout_s=0.01)
        start = time.monotonic()
        assert source.read().timestamp_s == pytest.approx(0.4)
        assert time.monotonic() - start > 0.1


def test_the_spec_names_path_and_options(recording: Path) -> None:
    source = make_source(f"recording:{recording}#loop=true&realtime=no")
    assert isinstance(source, RecordingSource)
    assert source.config == RecordingConfig(path=str(recording), loop=True, realtime=False)


def damaged(tmp_path: Path, data: bytes) -> RecordingSource:
    path = tmp_path / "bad.mkv"
    path.write_bytes(data)
    return open_config(path)


@pytest.mark.parametrize("share", [0.0005, 0.003, 0.1])
def test_a_recording_without_one_whole_frame_is_refused_in_one_line(
    recording: Path, tmp_path: Path, share: float
) -> None:
    data = recording.read_bytes()
    with pytest.raises(WardposeError) as caught:
        damaged(tmp_path, data[: int(len(data) * share)]).open()
    assert "bad.mkv" in str(caught.value) and "\n" not in str(caught.value)


def test_a_recording_cut_off_after_its_colour_plays_the_colour(recording: Path, tmp_path: Path) -> None:
    data = recording.read_bytes()
    with damaged(tmp_path, data[: len(data) // 4]) as source:
        frame = source.read()
    assert frame.color.shape == (720, 1280, 3)
    assert frame.depth is None and frame.color_from_depth is None


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="the recording is empty"):
        damaged(tmp_path, b"").open()


def test_what_is_no_matroska_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="no readable Matroska file"):
        damaged(tmp_path, b"hello, world\n" * 1000).open()


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="there is no such recording"):
        open_config(tmp_path / "none.mkv").open()


def test_a_video_that_is_no_kinect_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.mkv"
    with av.open(str(path), "w", format="matroska") as out:
        stream = out.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        image = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), dtype=np.uint8), format="rgb24")
        out.mux([*stream.encode(image.reformat(format="yuvj420p")), *stream.encode(None)])
    with pytest.raises(WardposeError, match="play it with video:"):
        open_config(path).open()


def test_a_recording_without_calibration_is_refused(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "bare.mkv"
    with av.open(str(recording)) as source, av.open(str(path), "w", format="matroska") as out:
        out.metadata.update(source.metadata)
        stream = out.add_stream_from_template(source.streams.video[0])
        stream.metadata.update(source.streams.video[0].metadata)
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    with pytest.raises(WardposeError, match="carries no factory calibration"):
        open_config(path).open()


def test_a_recording_with_damaged_calibration_is_refused(recording: Path, tmp_path: Path) -> None:
    data = recording.read_bytes().replace(b'"CalibrationInformation"', b'"CalibrationInformatio_"')
    with pytest.raises(WardposeError, match=r"bad\.mkv"):
        damaged(tmp_path, data).open()


def test_a_recording_that_breaks_off_plays_what_is_whole(longer: Path, tmp_path: Path) -> None:
    data = longer.read_bytes()
    with damaged(tmp_path, data[: int(len(data) * 0.7)]) as source:  # the cut goes through frame 3's infrared
        frames = []
        with pytest.raises(EndOfStream):
            while True:
                frames.append(source.read())
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert frames[3].depth is not None and frames[3].infrared is None


@given(at=st.integers(0, 225_000) | st.integers(0, 7_600), noise=st.binary(min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_a_damaged_recording_plays_or_says_why_in_one_line(recording: Path, at: int, noise: bytes) -> None:
    data = bytearray(recording.read_bytes()[:225_000])  # its head and its colour
    data[at : at + len(noise)] = noise
    with tempfile.NamedTemporaryFile(suffix=".mkv") as file:
        Path(file.name).write_bytes(data)
        try:
            with open_config(Path(file.name), realtime=False) as source:
                assert source.read().color.shape == (720, 1280, 3)
        except WardposeError as error:
            assert "\n" not in str(error) and "; " in str(error)


def test_half_a_jpeg_is_no_picture(recording: Path) -> None:
    capture = next(K4aFile(recording).captures())
    assert capture.color is not None
    assert decode_jpeg(capture.color) is not None
    assert decode_jpeg(capture.color[: len(capture.color) // 2]) is None
    assert decode_jpeg(b"") is None


def jpeg(height: int = 24) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, 32, 3), np.uint8)).save(content, "JPEG")
    return content.getvalue()


@pytest.mark.parametrize("zeros", [1, 63, 64, 100, 4096])
def test_zeros_behind_a_jpegs_end_are_no_part_of_it(zeros: int) -> None:
    """As in espressif/esp32-camera#162 and ArduCAM/Arduino#536: a camera hands over its whole buffer."""
    whole = decode_jpeg(jpeg())
    padded = decode_jpeg(jpeg() + bytes(zeros))
    assert whole is not None and padded is not None
    np.testing.assert_array_equal(padded, whole)
    assert decode_jpeg(jpeg()[:-200] + bytes(zeros + 200)) is None  # a cut-off one in a buffer of zeros
