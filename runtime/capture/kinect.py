"""An Azure Kinect as a capture source, driven by a process and an environment of its own.

pyk4a needs numpy 1 and USB drivers hang and crash: so `kinect_worker.py` runs in the Kinect's environment, and its
captures come through a pipe. Nothing here imports pyk4a.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from calibration.errors import WardposeError
from calibration.intrinsics import K4aCalibration, read_k4a_calibration
from calibration.json_text import parse_json
from runtime.capture.kinect_usb import usb_problem
from runtime.capture.kinect_worker import HEADER, MAGIC
from runtime.capture.recording import decode_jpeg
from runtime.capture.source import CaptureSource, KinectConfig, StaleFrame, config_from_argument
from runtime.frames import Frame, ImuSample

_log = logging.getLogger(__name__)

WORKER = Path(__file__).with_name("kinect_worker.py")
OPEN_TIMEOUT_S = 20.0  # a Kinect takes about two seconds; its depth engine, the first time, some more
_LARGEST_MESSAGE = 64 << 20
_COLOR_SIZES = {
    "720p": (1280, 720), "1080p": (1920, 1080), "1440p": (2560, 1440),
    "1536p": (2048, 1536), "2160p": (3840, 2160), "3072p": (4096, 3072),
}  # fmt: skip


class KinectSource(CaptureSource):
    """An Azure Kinect: 30 frames a second of colour with depth, infrared, inertial samples, factory calibration.

    `open` starts a worker process and a thread that reads its pipe, and waits for the camera for at most 20 s; `close`
    ends both. The thread keeps the newest capture only; `read` waits for one it hasn't given and decodes its JPEG
    (about 10 ms at 720p). A worker that dies makes `read` raise `WardposeError`: open again.
    """

    live = True
    origin = "camera"
    waits_s = OPEN_TIMEOUT_S + 5.0  # `close` gives the worker four

    def __init__(self, config: KinectConfig) -> None:
        self.config = config
        self.name = "kinect" if config.device == 0 else f"kinect:{config.device}"
        self.serial = ""
        self._calibration: K4aCalibration | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._ready: dict[str, Any] | None = None
        self._error: dict[str, Any] | None = None
        self._newest: tuple[dict[str, Any], bytes] | None = None
        self._index = 0

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        return cls(config_from_argument(KinectConfig, argument, "device"))

    def open(self) -> None:
        if self._worker is not None:
            return
        self._ready = self._error = self._newest = None
        self._index = 0
        self._start()
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._ready is not None or self._error is not None, OPEN_TIMEOUT_S)
            if self._ready is None:
                raise self._worded(self._error or {"code": "silent"})
            self.serial = str(self._ready["serial"])
            self._calibration = read_k4a_calibration(self._ready["calibration"], _COLOR_SIZES[self.config.color])
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        python, environment = self._python(), self._environment()
        read_end, write_end = os.pipe()
        command = [
            *self._display(), python, "-s", str(WORKER), "--fd", str(write_end), "--device", str(self.config.device),
            "--color", self.config.color, "--fps", str(self.config.fps), "--depth", str(int(self.config.depth)),
        ]  # fmt: skip
        try:
            self._worker = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # the SDK's log: what matters of it comes through the pipe, worded
                pass_fds=(write_end,),
                env=environment,
                start_new_session=True,  # so that close can end xvfb-run and all it started
            )
        except OSError as error:
            os.close(read_end)
            raise WardposeError(
                f"the Kinect's environment can't be started ({error.strerror})", where=python, mend="run wardpose setup"
            ) from None
        finally:
            os.close(write_end)
        self._thread = threading.Thread(target=self._listen, args=(read_end,), name=f"{self.name} pipe", daemon=True)
        self._thread.start()

    def _python(self) -> str:
        chosen = self.config.python or os.environ.get("WARDPOSE_KINECT_PYTHON", "")
        if not chosen:
            beside = Path(sys.prefix).parent / ".venv-kinect" / "bin" / "python"
            chosen = str(beside)
        if not Path(chosen).is_file():
            raise WardposeError(
                "the Kinect's own Python environment is not installed", where=chosen, mend="run wardpose setup"
            )
        return chosen

    def _display(self) -> list[str]:
        """What to put before the command so that the depth engine finds the display it insists on."""
        if not self.config.depth or os.environ.get("DISPLAY"):
            return []
        xvfb = shutil.which("xvfb-run")
        return [xvfb, "-a"] if xvfb else []  # without one the camera still says what it lacks, see _worded

    def _environment(self) -> dict[str, str]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
        if self.config.library:
            library = Path(self.config.library)
            folder, file = (library, library / "libk4a.so") if library.is_dir() else (library.parent, library)
            if not file.is_file():
                raise WardposeError(
                    "there is no such library", where=str(file), mend="correct the Kinect's library setting"
                )
            environment["LD_LIBRARY_PATH"] = f"{folder}:{environment.get('LD_LIBRARY_PATH', '')}".rstrip(":")
            environment["LD_PRELOAD"] = str(file)  # the bundle finds its own copy by a name that no other library has
        return environment

    def _listen(self, fd: int) -> None:
        """The pipe's thread: until the worker ends, keep its newest capture and what it says of itself."""
        with open(fd, "rb", buffering=1 << 20) as pipe:
            while (message := _receive(pipe)) is not None:
                content, planes = message
                with self._changed:
                    if content.get("kind") == "frame":
                        self._newest = (content, planes)
                    elif content.get("kind") == "ready":
                        self._ready = content
                    elif content.get("kind") == "error":
                        self._error = content
                    self._changed.notify_all()
        with self._changed:
            self._error = self._error or {"code": "died"}
            self._changed.notify_all()

    def _worded(self, error: dict[str, Any]) -> WardposeError:
        """What a worker's error means to a person; the bus often knows more than the SDK, whose messages are empty."""
        code, detail = str(error.get("code", "")), str(error.get("detail", "")).splitlines()
        said = f" ({detail[0]})" if detail and detail[0] else ""
        if code == "package":
            return WardposeError(
                "pyk4a is not installed in the Kinect's environment", where=self.name, mend="run wardpose setup"
            )
        if code == "library":
            return WardposeError(
                f"the Kinect's library can't be loaded{said}",
                where=self.name,
                mend="run wardpose setup; the environment needs numpy<2 and glibc 2.35 or newer",
            )
        problem = usb_problem(library=self.config.library)
        if problem is not None:
            return WardposeError(problem.what, where=self.name, mend=problem.mend)
        if code == "device":
            return WardposeError(
                f"the Kinect library sees no camera number {self.config.device}{said}",
                where=self.name,
                mend="unplug it, wait five seconds and plug it in again",
            )
        if code == "open" and self.config.depth and not os.environ.get("DISPLAY") and not shutil.which("xvfb-run"):
            return WardposeError(
                "depth needs a display, and there is none",
                where=self.name,
                mend="install Xvfb (wardpose setup) or switch depth off (kinect:0#depth=false)",
            )
        meaning = {
            "open": f"the camera can't be started{said}",
            "calibration": f"its factory calibration can't be read{said}",
            "stream": f"the camera stopped delivering{said}",
            "silent": f"the camera did not start within {OPEN_TIMEOUT_S:.0f} s",
        }
        mend = "close other programs that use it, then unplug it and plug it in again"
        return WardposeError(meaning.get(code, "the Kinect's process died"), where=self.name, mend=mend)

    def read(self, timeout_s: float = 1.0) -> Frame:
        if self._worker is None or self._calibration is None:
            raise RuntimeError(f"{self.name} isn't open: call open() first")
        until = time.monotonic() + timeout_s
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._newest is not None or self._error is not None, max(until - time.monotonic(), 0.0)
                )
                newest, self._newest = self._newest, None
                if newest is None:
                    if self._error is not None:
                        raise self._worded(self._error)
                    raise StaleFrame(f"no frame within {timeout_s:.1f} s", where=self.name, mend="check its USB cable")
            frame = self._frame(*newest)
            if frame is not None:
                self._index += 1
                return frame

    def _frame(self, content: dict[str, Any], data: bytes) -> Frame | None:
        """The frame of a message; None where its JPEG is damaged, as on a bad cable."""
        assert self._calibration is not None
        found, offset = {}, 0
        for plane in content["planes"]:
            found[plane["name"]] = (data[offset : offset + plane["bytes"]], plane["shape"])
            offset += plane["bytes"]
        color = decode_jpeg(found["jpeg"][0])
        if color is None or color.shape[:2] != (self._calibration.color.height, self._calibration.color.width):
            _log.warning("%s: skipped a damaged colour image", self.name)
            return None
        depth = _plane(found.get("depth"))
        timestamp_s = content["monotonic_ns"] / 1e9
        imu = content["imu"]
        return Frame(
            color=color,
            timestamp_s=timestamp_s,
            index=self._index,
            source=self.name,
            camera=self._calibration.color,
            depth=depth,
            infrared=_plane(found.get("infrared")),
            depth_camera=None if depth is None else self._calibration.depth,
            color_from_depth=None if depth is None else self._calibration.color_from_depth,
            imu=imu
            and ImuSample(
                np.array(imu["acceleration"], dtype=np.float64),
                np.array(imu["angular_velocity"], dtype=np.float64),
                timestamp_s + (imu["device_us"] - content["device_us"]) / 1e6,
            ),
            color_from_imu=self._calibration.color_from_accelerometer,
            jpeg=np.frombuffer(found["jpeg"][0], dtype=np.uint8),
        )

    def close(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            _end(worker, signal.SIGTERM)
            try:
                worker.wait(timeout=2.0)
            except subprocess.TimeoutExpired:  # a worker that hangs in the driver ignores all but the last word
                _end(worker, signal.SIGKILL)
                worker.wait()
        if self._thread is not None:
            self._thread.join(timeout=2.0)
            self._thread = None
        self._calibration = None


def _end(worker: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(worker.pid, number)
    except ProcessLookupError:
        pass


def _plane(found: tuple[bytes, list[int]] | None) -> NDArray[np.uint16] | None:
    return None if found is None else np.frombuffer(found[0], dtype="<u2").reshape(found[1]).astype(np.uint16)


def _receive(pipe: Any) -> tuple[dict[str, Any], bytes] | None:
    """The next message; None at the end of the pipe, or where what comes is no message."""
    head = pipe.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    magic, text_bytes, planes_bytes = HEADER.unpack(head)
    if magic != MAGIC or text_bytes + planes_bytes > _LARGEST_MESSAGE:
        return None
    text, planes = pipe.read(text_bytes), pipe.read(planes_bytes)
    if len(text) + len(planes) < text_bytes + planes_bytes:
        return None
    try:
        content = parse_json(text)
    except ValueError:  # what isn't UTF-8 too
        return None
    return (content, planes) if isinstance(content, dict) else None
