"""Writing frames as an Azure Kinect recording that `K4aFile` and the Kinect SDK play.

The camera's own JPEGs pass through; other sources' pictures are compressed once. Depth and infrared are stored as they
are. Format: `docs/record_and_playback` of the Azure Kinect Sensor SDK (MIT).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from calibration.k4a_json import k4a_calibration_json
from runtime.capture.matroska import Attachment, MatroskaWriter, Track
from runtime.frames import Frame, ImuSample

_DEPTH_MODES = {
    (640, 576): "NFOV_UNBINNED", (320, 288): "NFOV_2X2BINNED",
    (1024, 1024): "WFOV_UNBINNED", (512, 512): "WFOV_2X2BINNED",
}  # fmt: skip
_RATES = (5, 15, 30)  # the format knows no others
_JPEG_QUALITY = 95
_BITMAP_INFO = struct.Struct("<IiiHH4sIiiII")
_IMU = struct.Struct("<Q3fQ3f")


class K4aWriter:
    """Writes one recording onto a seekable stream; what the first frame has decides which tracks there are."""

    def __init__(self, stream: IO[bytes], first: Frame, tags: Mapping[str, str]) -> None:
        """tags: what else the file says of itself. Raises `WardposeError` where the source's lens isn't known or its
        pictures have a size that the format doesn't."""
        if first.camera is None:
            raise WardposeError(
                "a recording holds the camera's lens calibration, and this camera's is not known",
                where=first.source, mend="record a Kinect, a recording or the simulated ward",
            )  # fmt: skip
        self._source, self._size = first.source, (first.camera.width, first.camera.height)
        self._start_us = _microseconds(min(first.timestamp_s, first.imu.timestamp_s if first.imu else np.inf))
        self._first_us = self._newest_us = 0
        self._imu_us = -1
        self.frames = 0
        calibration = k4a_calibration_json(
            first.camera, first.depth_camera, first.color_from_depth, first.color_from_imu
        )
        tracks = {"COLOR": _picture("COLOR", self._size, b"MJPG", 24, 0, K4A_COLOR_MODE=f"MJPG_{self._size[1]}P")}
        if first.depth is not None:
            tracks["DEPTH"] = _plane("DEPTH", first.depth, "K4A_DEPTH_MODE")
        if first.infrared is not None:
            tracks["IR"] = _plane("IR", first.infrared, "")
        if first.imu is not None:
            tracks["IMU"] = Track("IMU", "data", "S_K4A/IMU", tags={"K4A_IMU_MODE": "ON"})
        self._numbers = {name: number for number, name in enumerate(tracks)}
        self._planes = {"DEPTH": first.depth, "IR": first.infrared}
        own = {
            "K4A_DEPTH_DELAY_NS": "0", "K4A_WIRED_SYNC_MODE": "STANDALONE",
            "K4A_COLOR_FIRMWARE_VERSION": "0.0.0", "K4A_DEPTH_FIRMWARE_VERSION": "0.0.0",
            "K4A_START_OFFSET_NS": "0",  # the SDK counts it in 32 bits of microseconds: a box runs longer
        }  # fmt: skip
        name = "calibration.json"
        attachment = Attachment(name, calibration, tags={"K4A_CALIBRATION_FILE": name})
        self._file = MatroskaWriter(stream, "Azure Kinect", list(tracks.values()), own | dict(tags), [attachment])

    def write(self, frame: Frame) -> None:
        """Add a frame. Raises `WardposeError` where its pictures have another size than the first one's."""
        time_us = _microseconds(frame.timestamp_s) - self._start_us
        blocks: list[tuple[int, str, bytes | memoryview]] = [(time_us, "COLOR", self._jpeg(frame))]
        for name, plane in (("DEPTH", frame.depth), ("IR", frame.infrared)):
            if plane is not None and name in self._numbers:
                first = self._planes[name]
                if first is not None and plane.shape != first.shape:
                    raise self._changed(first.shape, plane.shape)
                blocks.append((time_us, name, plane.astype(">u2").tobytes()))
        if frame.imu is not None and "IMU" in self._numbers:
            imu_us = _microseconds(frame.imu.timestamp_s) - self._start_us
            if imu_us > self._imu_us:  # a frame may carry the sample of the one before
                self._imu_us = imu_us
                blocks.append((imu_us, "IMU", _imu_bytes(frame.imu, imu_us * 1000)))
        for block_us, name, data in sorted(blocks, key=lambda block: block[0]):
            self._file.write(self._numbers[name], block_us, data)
        self._first_us = self._first_us if self.frames else time_us
        self._newest_us = time_us
        self.frames += 1

    def _jpeg(self, frame: Frame) -> bytes | memoryview:
        height, width = frame.color.shape[:2]
        if (width, height) != self._size:
            raise self._changed(self._size[::-1], (height, width))
        if frame.jpeg is not None:
            return memoryview(np.ascontiguousarray(frame.jpeg).data)
        bgr = cv2.cvtColor(frame.color, cv2.COLOR_RGB2BGR)
        return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()

    def _changed(self, before: tuple[int, ...], after: tuple[int, ...]) -> WardposeError:
        return WardposeError(
            f"a picture changed its size from {before[1]}×{before[0]} to {after[1]}×{after[0]} while it was recorded",
            where=self._source, mend="record again",
        )  # fmt: skip

    @property
    def duration_s(self) -> float:
        """From the first frame to the last."""
        return (self._newest_us - self._first_us) / 1e6

    def finish(self) -> None:
        """Complete the file. The frame rate it names is the format's nearest to the one measured."""
        measured = (self.frames - 1) / self.duration_s if self.duration_s > 0 else 0.0
        rate = min(_RATES, key=lambda known: abs(known - measured))
        self._file.finish(1_000_000_000 // rate)  # rounded down, or the SDK takes 15 for 14


def _microseconds(time_s: float) -> int:
    return round(time_s * 1e6)


def _picture(name: str, size: tuple[int, int], code: bytes, bits: int, image_bytes: int, **tags: str) -> Track:
    width, height = size
    head = _BITMAP_INFO.pack(_BITMAP_INFO.size, width, height, 1, bits, code, image_bytes, 0, 0, 0, 0)
    return Track(name, "video", "V_MS/VFW/FOURCC", head, size, tags)


def _plane(name: str, plane: NDArray[np.uint16], mode_tag: str) -> Track:
    height, width = plane.shape
    if (width, height) not in _DEPTH_MODES:
        raise WardposeError(f"an Azure Kinect has no {name.lower()} pictures of {width}×{height}", where="recording")
    tags = {mode_tag: _DEPTH_MODES[width, height]} if mode_tag else {"K4A_IR_MODE": "ACTIVE"}
    return _picture(name, (width, height), b"b16g", 16, plane.nbytes, **tags)


def _imu_bytes(sample: ImuSample, time_ns: int) -> bytes:
    return _IMU.pack(time_ns, *sample.acceleration.tolist(), time_ns, *sample.angular_velocity.tolist())
