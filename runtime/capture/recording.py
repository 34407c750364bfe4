"""An Azure Kinect recording as a capture source."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.bounds import PICTURE_PIXELS
from calibration.errors import WardposeError
from calibration.intrinsics import K4aCalibration, read_k4a_calibration
from runtime.capture.k4a_file import COPY_AGAIN, K4aFile, RawCapture, RecordingInfo
from runtime.capture.pace import Pace
from runtime.capture.source import CaptureSource, EndOfStream, RecordingConfig, config_from_argument
from runtime.frames import Frame

_log = logging.getLogger(__name__)
# The markers of a JPEG that begin a frame, which says how large the picture is.
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class RecordingSource(CaptureSource):
    """Plays an Azure Kinect .mkv: colour, depth, infrared, inertial samples, factory calibration; needs no SDK.

    No thread of its own; `read` decodes (about 10 ms at 720p) and, in real time, sleeps until the frame is due.
    Nothing is dropped. `timestamp_s` is the recording's clock and goes on growing when it loops.
    """

    live = False
    origin = "recording"

    def __init__(self, config: RecordingConfig) -> None:
        self.config = config
        self.path = Path(config.path)
        self.name = f"recording:{self.path.name}"
        self._file: K4aFile | None = None
        self._calibration: K4aCalibration | None = None
        self._frames: Generator[Frame] = _no_frames()
        self._next: Frame | None = None
        self._pace = Pace(config.realtime)
        self._index = 0

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        return cls(config_from_argument(RecordingConfig, argument, "path"))

    @property
    def info(self) -> RecordingInfo:
        """What the recording says of itself; the source must be open."""
        return self._opened().info

    @property
    def calibration(self) -> K4aCalibration:
        """The factory calibration at the recorded sizes; the source must be open."""
        self._opened()
        assert self._calibration is not None
        return self._calibration

    def _opened(self) -> K4aFile:
        if self._file is None:
            raise RuntimeError(f"{self.name} isn't open: call open() first")
        return self._file

    def open(self) -> None:
        if self._file is not None:
            return
        file = K4aFile(self.path)
        try:
            self._calibration = _calibration(file)
            self._file = file
            self._index = 0
            self.seek(self.config.start_s)
            if self._next is None:
                raise WardposeError(
                    "the recording holds no whole frame" + (" after its start time" if self.config.start_s else ""),
                    where=str(self.path),
                    mend="it was probably cut off: record it again",
                )
        except BaseException:
            self.close()
            raise

    def seek(self, time_s: float) -> None:
        """Go on at the first frame `time_s` seconds after the first one."""
        file = self._opened()
        from_us = 0  # from the very start without seeking: inertial samples lie before the first image
        if time_s > 0:
            with closing(file.captures()) as captures:
                from_us = max((capture.timestamp_us for capture in islice(captures, 1)), default=0)
            from_us += round(time_s * 1e6)
        self._frames.close()
        self._frames = self._play(from_us)
        self._next = next(self._frames, None)
        self._pace.restart()

    def _play(self, from_us: int) -> Generator[Frame]:
        file = self._opened()
        offset_s = 0.0
        while True:
            span: tuple[float, float] | None = None
            for capture in file.captures(from_us):
                frame = self._decode(capture)
                if frame is not None:
                    span = (span[0] if span else frame.timestamp_s, frame.timestamp_s)
                    yield frame.at(frame.timestamp_s + offset_s)
            if span is None or not self.config.loop:
                return
            offset_s += span[1] - span[0] + 1.0 / file.info.frames_per_s

    def _decode(self, capture: RawCapture) -> Frame | None:
        """The frame of a capture; None where it has no (whole) colour image, which is the one thing all need."""
        color = None if capture.color is None else decode_jpeg(capture.color)
        if color is None or capture.color is None:
            _log.warning("%s: no whole colour image at %.3f s", self.path, capture.timestamp_us / 1e6)
            return None
        calibration = self.calibration
        if color.shape[:2] != (calibration.color.height, calibration.color.width):
            raise WardposeError(
                f"a picture of {color.shape[1]}×{color.shape[0]} lies in a recording of "
                f"{calibration.color.width}×{calibration.color.height}",
                where=str(self.path), mend=COPY_AGAIN,
            )  # fmt: skip
        return Frame(
            color=color,
            timestamp_s=capture.timestamp_us / 1e6,
            index=0,
            source=self.name,
            camera=calibration.color,
            depth=capture.depth,
            infrared=capture.infrared,
            depth_camera=None if capture.depth is None else calibration.depth,
            color_from_depth=None if capture.depth is None else calibration.color_from_depth,
            imu=capture.imu,
            color_from_imu=calibration.color_from_accelerometer,
            jpeg=np.frombuffer(capture.color, dtype=np.uint8),
        )

    def read(self, timeout_s: float = 1.0) -> Frame:
        self._opened()
        if self._next is None:
            self._next = next(self._frames, None)
        if self._next is None:
            raise EndOfStream(self.name)
        self._pace.wait(self._next.timestamp_s, timeout_s, self.name)
        frame = replace(self._next, index=self._index)
        self._index += 1
        self._next = None
        return frame

    def close(self) -> None:
        self._frames.close()
        self._file, self._next = None, None


def _no_frames() -> Generator[Frame]:
    yield from ()


def decode_jpeg(data: bytes) -> NDArray[np.uint8] | None:
    """(H, W, 3) RGB of a JPEG, or None where it isn't a whole one."""
    # libjpeg fills what a cut-off JPEG lacks with grey and calls it a success; the end marker tells. Behind it some
    # cameras fill their buffer with zeros.
    if not data.startswith(b"\xff\xd8") or b"\xff\xd9" not in data.rstrip(b"\0")[-64:]:
        return None
    size = jpeg_size(data)
    if size is None or size[0] * size[1] > PICTURE_PIXELS:
        return None
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
    return None if image is None else np.asarray(image, dtype=np.uint8)


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height as a JPEG's head says, which is read and nothing else; None where it has none."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # filling
            place += 1
        elif marker in _FRAME_MARKERS:
            return int.from_bytes(data[place + 7 : place + 9]), int.from_bytes(data[place + 5 : place + 7])
        elif marker == 0x01 or 0xD0 <= marker <= 0xD9:  # without a length
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return None


def _calibration(file: K4aFile) -> K4aCalibration:
    info = file.info
    try:
        return read_k4a_calibration(file.calibration_json, info.color_size, info.depth_size or (640, 576))
    except WardposeError as error:
        raise WardposeError(error.what, where=str(file.path), mend="record it again with k4arecorder") from error
