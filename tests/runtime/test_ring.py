"""The frame ring: what crosses it is what was captured, is young enough, and is never a mixture of two frames."""

from __future__ import annotations

import os
import secrets
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calibration.camera import CameraModel
from calibration.errors import WardposeError
from runtime.capture.frame_codec import decode_frame, encode_frame
from runtime.capture.ring import DamagedRing, RingReader, RingWriter, ring_path
from runtime.capture.source import StaleFrame
from runtime.frames import Frame, ImuSample

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def name() -> Iterator[str]:
    ring = f"test-{secrets.token_hex(6)}"
    yield ring
    for path in ring_path(ring).parent.glob(f"*wardpose-{ring}*"):
        path.unlink()


def make_frame(index: int = 0, value: int = 7, size: tuple[int, int] = (48, 64)) -> Frame:
    color = np.full((*size, 3), value, dtype=np.uint8)
    depth = np.full((size[0] // 2, size[1] // 2), 100 * value, dtype=np.uint16)
    return Frame(color, time.monotonic(), index, "test", depth=depth)


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        time.sleep(0.01)


WRITER = """
    import sys, time
    import numpy as np
    from runtime.capture.ring import RingWriter
    from runtime.frames import Frame
    name, pause_s, height = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    writer = RingWriter(name, slot_count=2)
    index = 0
    while True:
        index += 1
        color = np.full((height, 320, 3), index % 251, dtype=np.uint8)
        depth = np.full((height, 320), index % 251, dtype=np.uint16)
        writer.write(Frame(color, time.monotonic(), index, "child", depth=depth))
        writer.heartbeat("streaming")
        time.sleep(pause_s)
"""


@pytest.fixture
def start_writer(name: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts writers in processes of their own: they can then be killed and stopped like the real one."""
    started: list[subprocess.Popen[bytes]] = []

    def start(pause_s: float = 0.01, height: int = 240) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", textwrap.dedent(WRITER), name, str(pause_s), str(height)]
        started.append(subprocess.Popen(command, cwd=REPOSITORY))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


sizes = st.integers(0, 9)
cameras = st.none() | st.builds(
    CameraModel,
    width=st.just(5), height=st.just(3), fx=st.floats(1e-3, 1e4), fy=st.floats(1e-3, 1e4),
    cx=st.floats(-1e4, 1e4), cy=st.floats(-1e4, 1e4), distortion=st.tuples(*[st.floats(-10, 10)] * 8),
)  # fmt: skip
planes = st.none() | hnp.arrays(np.uint16, st.tuples(sizes, sizes))


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    camera = draw(cameras)
    shape = (3, 5) if camera else draw(st.tuples(sizes, sizes))
    vector = hnp.arrays(np.float64, 3, elements=st.floats(-1e6, 1e6))
    return Frame(
        color=draw(hnp.arrays(np.uint8, (*shape, 3))),
        timestamp_s=draw(st.floats(0, 1e9)), index=draw(st.integers(0, 2**40)), source=draw(st.text(max_size=20)),
        camera=camera, depth=draw(planes), infrared=draw(planes), depth_camera=draw(cameras),
        color_from_depth=draw(st.none() | hnp.arrays(np.float64, (4, 4), elements=st.floats(-1e6, 1e6))),
        imu=draw(st.none() | st.builds(ImuSample, vector, vector, st.floats(0, 1e9))),
        color_from_imu=draw(st.none() | hnp.arrays(np.float64, (4, 4), elements=st.floats(-1e6, 1e6))),
        jpeg=draw(st.none() | hnp.arrays(np.uint8, st.integers(0, 40))),
    )  # fmt: skip


def assert_same(left: Frame, right: Frame) -> None:
    for field in ("color", "depth", "infrared", "color_from_depth", "color_from_imu", "jpeg"):
        np.testing.assert_array_equal(getattr(left, field), getattr(right, field), err_msg=field)
    for field in ("index", "source", "camera", "depth_camera"):
        assert getattr(left, field) == getattr(right, field)
    assert (left.imu is None) == (right.imu is None)
    if left.imu and right.imu:
        np.testing.assert_array_equal(left.imu.acceleration, right.imu.acceleration)
        np.testing.assert_array_equal(left.imu.angular_velocity, right.imu.angular_velocity)
        assert left.imu.timestamp_s == right.imu.timestamp_s


@given(frames())
@settings(max_examples=50, deadline=None)
def test_any_frame_survives_the_codec(frame: Frame) -> None:
    description, blobs = encode_frame(frame)
    decoded = decode_frame(description, np.frombuffer(b"".join(blobs), dtype=np.uint8))
    assert_same(frame, decoded)
    assert decoded.timestamp_s == frame.timestamp_s


@given(frames(), st.data())
@settings(max_examples=50, deadline=None)
def test_a_damaged_description_is_refused_or_still_a_frame(frame: Frame, data: st.DataObject) -> None:
    description, blobs = encode_frame(frame)
    at = data.draw(st.integers(0, len(description) - 1))
    damaged = description[:at] + bytes([data.draw(st.integers(0, 255))]) + description[at + 1 :]
    try:
        assert isinstance(decode_frame(damaged, np.frombuffer(b"".join(blobs), dtype=np.uint8)), Frame)
    except ValueError:
        pass


@given(frames())
@settings(max_examples=30, deadline=None)
def test_any_frame_survives_the_ring(frame: Frame) -> None:
    ring = f"test-{secrets.token_hex(6)}"
    with RingWriter(ring) as writer, RingReader(ring) as reader:
        writer.write(frame, live=False)
        read = reader.read_latest(60_000)
    if frame.imu is not None and read.imu is not None:  # both are on this machine's clock now
        assert read.imu.timestamp_s - read.timestamp_s == pytest.approx(
            frame.imu.timestamp_s - frame.timestamp_s, abs=1e-5
        )
        read = replace(read, imu=replace(read.imu, timestamp_s=frame.imu.timestamp_s))
    assert_same(frame, read)


def test_the_latest_frame_wins(name: str) -> None:
    with RingWriter(name) as writer, RingReader(name) as reader:
        for index in range(11):
            writer.write(make_frame(index))
        assert reader.read_latest().index == 10


def test_read_next_gives_each_frame_once(name: str) -> None:
    with RingWriter(name) as writer, RingReader(name) as reader:
        writer.write(make_frame(0))
        assert reader.read_next(0.1).index == 0
        with pytest.raises(StaleFrame, match="no new frame"):
            reader.read_next(0.05)
        writer.write(make_frame(1))
        assert reader.read_next(0.1).index == 1


def test_two_readers_get_the_same_frame(name: str) -> None:
    with RingWriter(name) as writer, RingReader(name) as one, RingReader(name) as other:
        writer.write(make_frame(3))
        assert_same(one.read_latest(), other.read_latest())


def test_an_old_frame_is_refused_with_its_age(name: str) -> None:
    with RingWriter(name) as writer, RingReader(name) as reader:
        frame = make_frame()
        writer.write(Frame(frame.color, time.monotonic() - 3.0, 0, "test"))
        with pytest.raises(StaleFrame, match=r"3\.\d s old, at most 500 ms"):
            reader.read_latest(500)
        assert reader.read_latest(60_000).index == 0


def test_the_age_of_a_recorded_frame_counts_from_its_writing(name: str) -> None:
    with RingWriter(name) as writer, RingReader(name) as reader:
        writer.write(Frame(make_frame().color, 0.464, 0, "recording"), live=False)
        assert abs(time.monotonic() - reader.read_latest(5_000).timestamp_s) < 5.0


def test_without_a_writer_there_is_only_a_stale_frame(name: str) -> None:
    reader = RingReader(name)
    with pytest.raises(StaleFrame, match="start the capture process"):
        reader.read_latest()
    assert reader.status().state == "absent"


def test_a_ring_without_a_frame_says_what_the_writer_does(name: str) -> None:
    with RingWriter(name) as writer, RingReader(name) as reader:
        writer.heartbeat("retrying", "no camera is plugged in")
        with pytest.raises(StaleFrame, match="no camera is plugged in"):
            reader.read_latest()


@given(message=st.text(max_size=500), source=st.text(max_size=500))
@settings(max_examples=30, deadline=None)
def test_the_state_survives_any_message(message: str, source: str) -> None:
    ring = f"test-{secrets.token_hex(6)}"
    with RingWriter(ring) as writer, RingReader(ring) as reader:
        writer.heartbeat("stalled", message, source=source)
        status = reader.status()
        assert status.state == "stalled"
        assert status.heartbeat_age_s < 10


def test_the_ring_lies_in_memory_and_only_its_owner_may_open_it(name: str) -> None:
    with RingWriter(name) as writer:
        assert stat.S_IMODE(writer.path.stat().st_mode) == 0o600
        mounts = {line.split()[1]: line.split()[2] for line in Path("/proc/mounts").read_text().splitlines()}
        assert mounts[str(writer.path.parent)] in {"tmpfs", "ramfs"}


def test_closing_unlinks_the_ring(name: str) -> None:
    writer = RingWriter(name)
    writer.write(make_frame())
    writer.close()
    writer.close()
    assert not list(writer.path.parent.glob(f"*{name}*"))


def test_a_second_writer_is_refused_and_harms_nothing(name: str) -> None:
    with RingWriter(name) as writer, RingReader(name) as reader:
        writer.write(make_frame(5))
        with pytest.raises(WardposeError, match="already writes"):
            RingWriter(name)
        assert reader.read_latest().index == 5
        assert len(list(writer.path.parent.glob(f"*{name}*"))) == 1


def test_a_frame_larger_than_a_slot_is_refused_in_one_line(name: str) -> None:
    with RingWriter(name, slot_bytes=10_000) as writer, RingReader(name) as reader:
        writer.write(make_frame(1, size=(20, 20)))
        with pytest.raises(WardposeError, match="larger than a slot"):
            writer.write(make_frame(2, size=(200, 200)))
        assert reader.read_latest().index == 1


@pytest.mark.parametrize("bad", ["", "../x", "a/b", ".hidden", "x" * 65, "a b"])
def test_a_name_that_leaves_the_folder_is_refused(bad: str) -> None:
    with pytest.raises(WardposeError, match="can't name"):
        ring_path(bad)


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("size", [0, 3, 60, 5000])
def test_something_that_is_no_ring_is_called_damaged(name: str, size: int) -> None:
    ring_path(name).write_bytes(os.urandom(size))
    with pytest.raises(DamagedRing, match="restart the capture process"):
        RingReader(name).read_latest()


def test_a_ring_of_another_version_is_called_so(name: str) -> None:
    from runtime.capture.ring_layout import HEADER, MAGIC, sealed

    ring_path(name).write_bytes(sealed(HEADER, MAGIC, 99, 1, 4, 1 << 20, 0).ljust(8192, b"\0"))
    with pytest.raises(DamagedRing, match="version 99"):
        RingReader(name).read_latest()


@given(offset=st.integers(2048, 4096 + 200), data=st.binary(min_size=1, max_size=64))
@settings(max_examples=50, deadline=None)
def test_a_corrupted_ring_gives_the_right_frame_or_none(offset: int, data: bytes) -> None:
    ring = f"test-{secrets.token_hex(6)}"
    with RingWriter(ring, slot_count=2, slot_bytes=20_000) as writer, RingReader(ring) as reader:
        first, second = make_frame(1, value=1), make_frame(2, value=2)
        writer.write(first)
        writer.write(second)  # frame 2 lies in slot 0, the first after the header page
        overwrite(writer.path, offset, data)
        try:
            assert_same(reader.read_latest(60_000), second)
        except StaleFrame:
            pass


def test_a_truncated_ring_gives_no_frame_and_no_crash(name: str) -> None:
    with RingWriter(name, slot_count=2, slot_bytes=20_000) as writer, RingReader(name) as reader:
        writer.write(make_frame())
        reader.read_latest()
        os.truncate(writer.path, 5000)
        with pytest.raises(DamagedRing):
            reader.read_latest()


def test_a_reader_never_sees_half_of_two_frames(name: str, start_writer: Callable[..., object]) -> None:
    start_writer(pause_s=0.0)
    readers = [RingReader(name), RingReader(name)]
    seen: list[set[int]] = [set(), set()]
    until(lambda: readers[0].status().frames > 0)
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        for reader, indices in zip(readers, seen, strict=True):
            try:
                frame = reader.read_latest(60_000)
            except DamagedRing:  # a writer that never pauses may lap the reader: refusing is right, mixing is not
                continue
            assert frame.depth is not None
            values = {*np.unique(frame.color).tolist(), *np.unique(frame.depth).tolist()}
            assert values == {frame.index % 251}
            indices.add(frame.index)
    assert all(len(indices) > 3 for indices in seen)


def test_a_stopped_writer_is_noticed_and_its_return_too(name: str, start_writer: Callable[..., object]) -> None:
    writer: subprocess.Popen[bytes] = start_writer()  # type: ignore[assignment]
    reader = RingReader(name)
    until(lambda: reader.status().frames > 0)
    reader.read_latest(5_000)
    writer.send_signal(signal.SIGSTOP)
    time.sleep(0.4)
    with pytest.raises(StaleFrame, match="old"):
        reader.read_latest(200)
    with pytest.raises(WardposeError, match="already writes"):
        RingWriter(name)
    writer.send_signal(signal.SIGCONT)
    assert reader.read_next(10.0, max_age_ms=5_000).source == "child"


def test_a_killed_writer_is_replaced_and_the_reader_follows(name: str, start_writer: Callable[..., object]) -> None:
    first: subprocess.Popen[bytes] = start_writer()  # type: ignore[assignment]
    reader = RingReader(name)
    until(lambda: reader.status().frames > 5)
    first.kill()
    first.wait()
    time.sleep(0.3)
    with pytest.raises(StaleFrame):
        reader.read_latest(200)
    second: subprocess.Popen[bytes] = start_writer()  # type: ignore[assignment]
    until(lambda: reader.status().pid == second.pid)
    assert reader.read_next(20.0, max_age_ms=5_000).source == "child"
    assert reader.writers_seen == 2


def test_a_writer_killed_at_any_moment_leaves_no_torn_frame(name: str, start_writer: Callable[..., object]) -> None:
    for attempt in range(3):
        writer: subprocess.Popen[bytes] = start_writer(pause_s=0.0, height=1080)  # type: ignore[assignment]
        reader = RingReader(name)
        until(lambda pid=writer.pid, reader=reader: reader.status().pid == pid and reader.status().frames > 0)  # type: ignore[misc]
        time.sleep(0.003 * attempt)
        writer.kill()
        writer.wait()
        frame = reader.read_latest(60_000)
        assert len(np.unique(frame.color)) == 1
