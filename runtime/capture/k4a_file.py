"""Reading an Azure Kinect recording (.mkv) without the Kinect SDK.

It gives what the file holds, grouped by time but not decoded:
colour as JPEG, depth and infrared as 16-bit millimetres and intensities, inertial samples, the factory calibration.
Format: `docs/record_and_playback` of the Azure Kinect Sensor SDK (MIT).
"""

from __future__ import annotations

import contextlib
import logging
import re
import struct
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from runtime.capture.container import BrokenFile, open_container, seek
from runtime.frames import ImuSample

_log = logging.getLogger(__name__)

EXPIRES_TAG = (
    "WARDPOSE_EXPIRES"  # our own recordings name the instant (ISO 8601, UTC) from which on nobody may play them
)

COPY_AGAIN = "copy it again from its source"

_IMU = struct.Struct("<Q3fQ3f")  # accelerometer time (ns), m/s²; gyroscope time (ns), rad/s
_LONGEST_DELAY_NS = 10**9  # the camera itself takes a thirtieth of it
_PATIENCE_US = 2_000_000  # how far one track may run ahead of another before a capture goes out without the latter


@dataclass(frozen=True, slots=True)
class RecordingInfo:
    """What a recording says of itself. Sizes are (width, height) in pixels; None where the track is absent."""

    serial: str
    color_mode: str
    depth_mode: str
    color_size: tuple[int, int]
    depth_size: tuple[int, int] | None
    infrared: bool
    imu: bool
    frames_per_s: float
    duration_s: float
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RawCapture:
    """One instant of a recording; `timestamp_us` counts from the recording's start. color: JPEG bytes."""

    timestamp_us: int
    color: bytes | None
    depth: NDArray[np.uint16] | None
    infrared: NDArray[np.uint16] | None
    imu: ImuSample | None


class K4aFile:
    """A recording whose head has been read; each pass over its captures opens the file anew."""

    def __init__(self, path: Path) -> None:
        """Raises `WardposeError` where the file is absent, empty, damaged or no Azure Kinect recording."""
        self.path = path
        with self._open() as container:
            self._read_head(container)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        if not self.path.is_file():
            raise self._error("there is no such recording", "check the path")
        if self.path.stat().st_size == 0:
            raise self._error("the recording is empty", "record it again; the recorder was probably cut off")
        with contextlib.ExitStack() as opened:
            try:
                container = opened.enter_context(open_container(self.path, format="matroska"))
            except BrokenFile as error:
                raise self._error(
                    f"it is no readable Matroska file ({error})", "give an .mkv made by k4arecorder"
                ) from None
            yield container

    def _error(self, what: str, mend: str) -> WardposeError:
        return WardposeError(what, where=str(self.path), mend=mend)

    def _read_head(self, container: Any) -> None:
        tags = {key: value for key, value in container.metadata.items() if key.startswith(("K4A_", "WARDPOSE_"))}
        if not any(key.startswith("K4A_") for key in tags):
            raise self._error(
                "it is a video, but no Azure Kinect recording (no K4A_ tags)",
                "play it with video: instead of recording:",
            )
        if _is_past(tags.get(EXPIRES_TAG, "")):
            raise self._error(f"the recording expired at {tags[EXPIRES_TAG]}", "delete it, and record again if you may")
        tracks: dict[str, Any] = {}
        for stream in container.streams:
            for name in ("COLOR", "DEPTH", "IR", "IMU"):
                if f"K4A_{name}_TRACK" in stream.metadata or stream.metadata.get("title") == name:
                    tracks[name] = stream
        color = tracks.get("COLOR")
        if color is None:
            raise self._error("the recording has no colour track", "record with colour switched on")
        if any(not getattr(tracks[name], "width", 0) for name in ("COLOR", "DEPTH", "IR") if name in tracks):
            raise self._error("the head of the recording is damaged (a track of pictures has no size)", COPY_AGAIN)
        color_mode = color.metadata.get("K4A_COLOR_MODE", "")
        if not color_mode.startswith("MJPG"):
            raise self._error(
                f"its colour is {color_mode or 'of an unknown format'}", "record with a MJPG colour mode (the default)"
            )
        self.calibration_json = self._attachment(container, tags.get("K4A_CALIBRATION_FILE", "calibration.json"))
        offset_ns = tags.get("K4A_START_OFFSET_NS", "0")
        if not offset_ns.isascii() or not offset_ns.isdigit():
            raise self._error(f"the head of the recording is damaged (it starts at {offset_ns!r})", COPY_AGAIN)
        self._start_offset_ns = int(offset_ns)
        self._delay_us = self._depth_delay_us(tags.get("K4A_DEPTH_DELAY_NS", "0"))
        depth = tracks.get("DEPTH")
        self._tracks = {stream.index: name for name, stream in tracks.items()}
        self._sizes: dict[str, tuple[int, int]] = {
            name: (tracks[name].width, tracks[name].height) for name in ("DEPTH", "IR") if name in tracks
        }
        self.info = RecordingInfo(
            serial=tags.get("K4A_DEVICE_SERIAL_NUMBER", ""),
            color_mode=color_mode,
            depth_mode="" if depth is None else depth.metadata.get("K4A_DEPTH_MODE", ""),
            color_size=(color.width, color.height),
            depth_size=None if depth is None else (depth.width, depth.height),
            infrared="IR" in tracks,
            imu="IMU" in tracks,
            frames_per_s=float(color.average_rate or 30),
            duration_s=(container.duration or 0) / 1e6,
            tags=tags,
        )

    def _depth_delay_us(self, text: str) -> int:
        """By how much later depth and infrared were taken than the colour they belong to (`depth_delay_off_color`)."""
        delay_ns = int(text) if re.fullmatch(r"[+-]?\d{1,10}", text.strip(), re.ASCII) else None
        if delay_ns is None or abs(delay_ns) > _LONGEST_DELAY_NS:
            raise self._error(f"the head of the recording is damaged (depth comes {text!r} ns late)", COPY_AGAIN)
        return round(delay_ns / 1000)

    def _attachment(self, container: Any, name: str) -> bytes:
        for stream in container.streams:
            if stream.type == "attachment" and ("K4A_CALIBRATION_FILE" in stream.metadata or stream.name == name):
                return bytes(stream.data)
        raise self._error("the recording carries no factory calibration", "record it again with k4arecorder")

    def captures(self, from_us: int = 0) -> Generator[RawCapture]:
        """Every capture from that time on, in order of time; a capture may lack what the camera dropped.

        Pairs are the SDK's: depth belongs to the colour image that it was taken with, by the delay that was recorded.
        A file that breaks off gives what is whole, and a warning.
        """
        window_us = round(0.5e6 / self.info.frames_per_s)
        grouper = _Grouper([name for name in self._tracks.values() if name != "IMU"], window_us)
        try:
            with self._open() as container:
                if from_us > 0:
                    seek(container, max(from_us - abs(self._delay_us), 0))
                for packet in container.demux():
                    self._sort_in(packet, from_us, grouper)
                    yield from map(self._raw_capture, grouper.ready(ended=False))
        except BrokenFile as error:
            _log.warning("%s: the recording breaks off (%s)", self.path, error)
        yield from map(self._raw_capture, grouper.ready(ended=True))

    def _sort_in(self, packet: Any, from_us: int, grouper: _Grouper) -> None:
        name = self._tracks.get(packet.stream_index)
        if name is None or packet.size == 0 or packet.pts is None:
            return
        if packet.is_corrupt:
            _log.warning("%s: skipped a damaged %s packet", self.path, name.lower())
            return
        time_us = round(packet.pts * packet.time_base * 1_000_000)
        if name == "IMU":
            grouper.samples.extend(self._imu_samples(bytes(packet)))
            return
        time_us -= 0 if name == "COLOR" else self._delay_us
        if time_us >= from_us:
            grouper.tracks[name].append((time_us, bytes(packet)))

    def _imu_samples(self, data: bytes) -> Iterator[ImuSample]:
        for values in _IMU.iter_unpack(data[: len(data) // _IMU.size * _IMU.size]):
            time_s = (values[0] - self._start_offset_ns) / 1e9  # device time; the tracks count from the start offset
            yield ImuSample(np.array(values[1:4]), np.array(values[5:8]), time_s)

    def _raw_capture(self, group: _Group) -> RawCapture:
        return RawCapture(
            group.time_us,
            group.packets.get("COLOR"),
            self._plane("DEPTH", group.packets.get("DEPTH")),
            self._plane("IR", group.packets.get("IR")),
            group.imu,
        )

    def _plane(self, name: str, data: bytes | None) -> NDArray[np.uint16] | None:
        if data is None:
            return None
        width, height = self._sizes[name]
        if len(data) != width * height * 2:
            _log.warning("%s: skipped a %s image of %d bytes", self.path, name.lower(), len(data))
            return None
        return np.frombuffer(data, dtype=">u2").reshape(height, width).astype(np.uint16)


def _is_past(instant: str) -> bool:
    try:
        return datetime.fromisoformat(instant) <= datetime.now(UTC)
    except (ValueError, TypeError):  # none, or none of ours
        return False


@dataclass(frozen=True, slots=True)
class _Group:
    time_us: int
    packets: dict[str, bytes]
    imu: ImuSample | None


class _Grouper:
    """Puts packets of several tracks together that lie within half a frame interval of the earliest."""

    def __init__(self, names: list[str], window_us: int) -> None:
        self.tracks: dict[str, deque[tuple[int, bytes]]] = {name: deque() for name in names}
        self.samples: deque[ImuSample] = deque()
        self._window_us = window_us
        self._imu: ImuSample | None = None

    def ready(self, *, ended: bool) -> Iterator[_Group]:
        while True:
            filled = [track for track in self.tracks.values() if track]
            if not filled:
                return
            first_us = min(track[0][0] for track in filled)
            limit_us = first_us + self._window_us
            newest_us = max(track[-1][0] for track in filled)
            # Complete once each track has shown its packet of this instant, or has shown that it has none.
            complete = len(filled) == len(self.tracks)
            if not (complete or ended or newest_us > first_us + _PATIENCE_US):
                return
            packets: dict[str, bytes] = {}
            for name, track in self.tracks.items():
                if track and track[0][0] <= limit_us:
                    packets[name] = track.popleft()[1]
            while self.samples and self.samples[0].timestamp_s * 1e6 <= limit_us:
                self._imu = self.samples.popleft()
            yield _Group(first_us, packets, self._imu)
