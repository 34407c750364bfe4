"""Photographs, video files, USB (UVC) cameras and RTSP streams as capture sources."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import threading
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.bounds import PICTURE_PIXELS
from calibration.errors import WardposeError
from calibration.redaction import encoded_address, host_of, redacted
from runtime.capture.container import BrokenFile, open_container, pictures
from runtime.capture.pace import Pace
from runtime.capture.photograph import PHOTOGRAPH_SUFFIXES, eight_bits, photographs_in, read_photograph
from runtime.capture.source import CaptureSource, EndOfStream, StaleFrame, VideoConfig, config_from_argument
from runtime.capture.stream_clock import StreamClock
from runtime.frames import Frame

_log = logging.getLogger(__name__)

OPEN_TIMEOUT_MS = 5_000
READ_TIMEOUT_MS = 3_000
SETTLE_S = 0.5
_WAITS_S = 6.0  # of a camera's driver; `close` gives the thread four
_NETWORK_WAITS_S = 20.0  # a name is looked up, a connection made, a stream described: each ends by itself
_Clip = Generator[tuple[NDArray[np.uint8], float]]  # images (H, W, 3) RGB with their time in seconds from the start


class VideoSource(CaptureSource):
    """A folder of photographs (by name), one photograph, a video file, a UVC camera or an RTSP stream.

    Stored pictures: no thread; `read` decodes, and in real time sleeps until the frame is due; nothing is dropped. A
    broken photograph in a folder is skipped with a warning (`skipped` lists them): one bad file should not end a
    show. A folder with none that can be read, and a broken single photograph, are errors.

    Cameras: a thread owned by the source takes frames as they come and keeps the newest one only; `read` waits for
    one it hasn't given yet. A camera that ends or fails makes `read` raise `WardposeError`: open it again. A picture's
    age counts from the stream's own clock, so that what a stalled camera hands over late is as old as it is; a stream
    that stays behind ends.
    """

    def __init__(self, config: VideoConfig) -> None:
        self.config = config
        self._where = _Place(config.path, config.allow_network)
        self.name = f"video:{self._where.label}"
        self.live = self._where.live
        self.origin = "camera" if self.live else "recording"
        self.waits_s = _WAITS_S if self._where.address is None else _NETWORK_WAITS_S
        self.skipped: list[Path] = []
        self._clip: _Clip | None = None
        self._camera: _CameraThread | None = None
        self._next: Frame | None = None
        self._pace = Pace(config.realtime)
        self._index = 0

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        return cls(config_from_argument(VideoConfig, argument, "path"))

    def open(self) -> None:
        if self._clip is not None or self._camera is not None:
            return
        self._index, self.skipped = 0, []
        self._pace.restart()
        if self.live:
            self._camera = _CameraThread(self._where)
            return
        self._clip = self._play()
        try:
            self._next = self._take()  # so that a source that is broken from the start fails here
        except EndOfStream:
            self.close()
            raise WardposeError(
                "no picture in it can be read", where=self.config.path, mend="check that the files open elsewhere"
            ) from None
        except BaseException:
            self.close()
            raise

    def read(self, timeout_s: float = 1.0) -> Frame:
        if self._camera is not None:
            color, timestamp_s = self._camera.next(timeout_s)
            frame = Frame(color, timestamp_s, self._index, self.name)
        elif self._clip is not None:
            if self._next is None:
                self._next = self._take()
            self._pace.wait(self._next.timestamp_s, timeout_s, self.name)
            frame, self._next = self._next, None
        else:
            raise RuntimeError(f"{self.name} isn't open: call open() first")
        self._index += 1
        return replace(frame, index=self._index - 1)

    def _take(self) -> Frame:
        assert self._clip is not None
        for color, timestamp_s in self._clip:
            return Frame(color, timestamp_s, 0, self.name)
        raise EndOfStream(self.name)

    def _play(self) -> _Clip:
        start_s = 0.0
        while True:
            last_s, interval_s, count = 0.0, 1.0 / self.config.photos_per_s, 0
            for color, time_s in self._once():
                interval_s = time_s - last_s if count and time_s > last_s else interval_s
                last_s = time_s
                count += 1
                yield color, start_s + time_s
            if not count or not self.config.loop:
                return
            start_s += last_s + interval_s

    def _once(self) -> _Clip:
        path = Path(self.config.path)
        if path.is_dir():
            yield from self._photographs(photographs_in(path))
        elif path.suffix.lower() in PHOTOGRAPH_SUFFIXES:
            yield read_photograph(path), 0.0
        else:
            yield from _video_file(path)

    def _photographs(self, paths: list[Path]) -> _Clip:
        shown = 0
        for path in paths:
            try:
                color = read_photograph(path)
            except WardposeError as error:
                if path not in self.skipped:
                    _log.warning("skipped %s", error)
                    self.skipped.append(path)
                continue
            yield color, shown / self.config.photos_per_s
            shown += 1

    def close(self) -> None:
        if self._clip is not None:
            self._clip.close()
        if self._camera is not None:
            self._camera.close()
        self._clip, self._camera, self._next = None, None, None


class _Place:
    """What a person wrote, understood: a UVC index, an RTSP address, or a path."""

    def __init__(self, text: str, allow_network: bool) -> None:
        device = re.fullmatch(r"(?:/dev/video)?(\d{1,3})", text)
        self.device = int(device[1]) if device and not Path(text).is_file() else None
        self.address = text if text.lower().startswith(("rtsp://", "rtsps://")) else None
        self.live = self.device is not None or self.address is not None
        self.label = text
        if self.address is not None:
            self.label, host = redacted(text), host_of(text)
            self.address = encoded_address(text)
            if not host:
                raise WardposeError("the address names no camera", where=text, mend="write rtsp://HOST/PATH")
            if not allow_network and not _is_loopback(host):
                raise WardposeError(
                    "this camera is on the network, and nothing here opens a network connection unasked",
                    where=self.label,
                    mend="add #allow_network=true to the source if the site allows it",
                )
        elif "://" in text:
            raise WardposeError(
                "only rtsp:// addresses can be played", where=text, mend="give a path or an rtsp address"
            )
        elif not self.live:
            self.label = Path(text).name or text

    def capture(self) -> Any:
        if self.device is not None:
            return _open_capture(self.device, cv2.CAP_V4L2)
        return _open_capture(self.address, cv2.CAP_FFMPEG)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _open_capture(what: int | str | None, backend: int) -> Any:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # errors are ours to word, once
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    options: list[int] = []
    if backend == cv2.CAP_FFMPEG:
        options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
    return cv2.VideoCapture(what, backend, options)  # type: ignore[arg-type]


def camera_rgb(image: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of what OpenCV reads from a camera: blue first or grey, 8 or 16 bits. WardposeError for others."""
    if image.dtype == np.uint16:
        image = eight_bits(image, where)
    planes = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype != np.uint8 or planes not in (1, 3):
        raise WardposeError(
            f"its pictures are {'×'.join(map(str, image.shape))} of {image.dtype}, no colours that are known",
            where=where, mend="set the camera to MJPG, YUYV or grey of 8 bits",
        )  # fmt: skip
    code = cv2.COLOR_GRAY2RGB if planes == 1 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)


def _video_file(path: Path) -> _Clip:
    if not path.is_file():
        raise WardposeError("there is no such file or folder", where=str(path), mend="check the path")
    count, first_s, last_s, size = 0, 0.0, 0.0, None
    try:
        with open_container(path) as container:
            if not container.streams.video:
                raise BrokenFile("no picture in it")
            rate = container.streams.video[0].average_rate or 25
            for image, stamp_s in pictures(container):
                height, width = image.shape[:2]
                if size is not None and (width, height) != size:
                    raise WardposeError(
                        f"its pictures change their size, from {size[0]}×{size[1]} to {width}×{height}",
                        where=str(path), mend="cut the video where they do, or convert it to one size",
                    )  # fmt: skip
                size = (width, height)
                first_s = (stamp_s or 0.0) if count == 0 else first_s
                time_s = (stamp_s or 0.0) - first_s
                if count and not time_s > last_s:  # containers without times, or with wrong ones
                    time_s = last_s + 1.0 / float(rate)
                yield image, time_s
                count, last_s = count + 1, time_s
    except BrokenFile as error:
        if count == 0:
            raise WardposeError(
                f"it is no video that can be played ({error})", where=str(path), mend="convert it to MP4 (H.264)"
            ) from None
        _log.warning("%s: the video breaks off (%s)", path, error)
    if count == 0:
        raise WardposeError(
            "the video holds no frame that can be decoded", where=str(path), mend="copy it again from its source"
        )


class _CameraThread:
    """Takes frames from a camera as they come and keeps the newest, with the time it was taken."""

    def __init__(self, where: _Place) -> None:
        """Opens the camera in the calling thread, for at most `OPEN_TIMEOUT_MS`; raises `WardposeError`."""
        self._label = where.label
        self._capture = where.capture()
        if not self._capture.isOpened():
            self._capture.release()
            raise WardposeError(
                "no camera answers there",
                where=self._label,
                mend="check that it is plugged in, switched on and not in use",
            )
        width, height = (self._capture.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > PICTURE_PIXELS:
            self._capture.release()
            raise WardposeError(
                f"its pictures of {width:.0f}×{height:.0f} are too large", where=self._label, mend="set a smaller size"
            )
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._changed = threading.Condition()
        self._newest: tuple[NDArray[np.uint8], float] | None = None
        self._ended = ""
        self._closing = False
        # What waits in a network camera's buffer comes at once; how old it was shows when that is over.
        self._settle_s = SETTLE_S if where.address is not None else 0.0
        self._thread = threading.Thread(target=self._run, name=f"capture {self._label}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        clock, first_s, why = StreamClock(), None, "the camera ended the stream"
        try:
            while not self._closing:
                got, image = self._capture.read()
                if not got:
                    break
                arrived_s = time.monotonic()
                first_s = arrived_s if first_s is None else first_s
                taken_s = clock.captured_at(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3, arrived_s)
                if clock.hopeless:
                    why = f"its pictures come {arrived_s - taken_s:.1f} s late"
                    break
                if arrived_s - first_s < self._settle_s:
                    continue
                color = camera_rgb(image, self._label)
                with self._changed:
                    self._newest = (color, taken_s)
                    self._changed.notify_all()
        except WardposeError as error:
            why = error.what
        finally:
            self._capture.release()
            with self._changed:
                self._ended = why
                self._changed.notify_all()

    def next(self, timeout_s: float) -> tuple[NDArray[np.uint8], float]:
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or bool(self._ended), timeout_s)
            newest, self._newest = self._newest, None
            if newest is not None:
                return newest
            if self._ended:
                raise WardposeError(self._ended, where=self._label, mend="check its cable, its power and the network")
        raise StaleFrame(f"no frame within {timeout_s:.1f} s", where=self._label)

    def close(self) -> None:
        self._closing = True
        self._thread.join(timeout=READ_TIMEOUT_MS / 1000.0 + 1.0)
