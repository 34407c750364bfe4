"""Drives an Azure Kinect and hands its captures to the process that started it.

Runs in the Kinect's own environment (Python with pyk4a, which needs numpy 1), by path, never as part of the package:
it may use the standard library and pyk4a only. Each message on the file descriptor `--fd` is `<4sII` (magic, length of
the JSON, length of the planes), then both. Kinds of message: ready, frame, timeout, error. `kinect.py` reads them.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import struct
import sys
import threading
from typing import Any

MAGIC = b"WPK1"
HEADER = struct.Struct("<4sII")
CAPTURE_TIMEOUT_MS = 1000
IMU_DRAIN = 200


def send(fd: int, message: dict[str, Any], planes: list[Any] | None = None) -> None:
    blob = b"".join(bytes(plane) for plane in planes or [])
    text = json.dumps(message).encode()
    data = memoryview(HEADER.pack(MAGIC, len(text), len(blob)) + text + blob)
    while data:
        data = data[os.write(fd, data) :]


def newest_imu(pyk4a: Any, camera: Any) -> dict[str, Any] | None:
    """The last inertial sample waiting; the camera queues some fifty of them a frame."""
    newest = None
    for _ in range(IMU_DRAIN):
        try:
            newest = camera.get_imu_sample(timeout=0)
        except pyk4a.K4AException:
            break
    if newest is None:
        return None
    return {
        "acceleration": list(newest["acc_sample"]),
        "angular_velocity": list(newest["gyro_sample"]),
        "device_us": int(newest["acc_timestamp"]),
    }


def frame_message(capture: Any, imu: dict[str, Any] | None) -> tuple[dict[str, Any], list[Any]]:
    planes, described = [], []
    for name, plane, dtype in (
        ("jpeg", capture.color, "u1"),
        ("depth", capture.depth, "<u2"),
        ("infrared", capture.ir, "<u2"),
    ):
        if plane is not None:
            data = plane.astype(dtype).tobytes()
            described.append({"name": name, "shape": list(plane.shape), "bytes": len(data)})
            planes.append(data)
    message = {
        "kind": "frame",
        "monotonic_ns": int(capture.color_system_timestamp_nsec),
        "device_us": int(capture.color_timestamp_usec),
        "planes": described,
        "imu": imu,
    }
    return message, planes


def run(options: argparse.Namespace) -> str:
    """Stream until the pipe breaks; returns the code of what went wrong."""
    try:
        import pyk4a
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "pyk4a"
        send(options.fd, {"kind": "error", "code": "package" if missing else "library", "detail": str(error)})
        return "package"
    if pyk4a.connected_device_count() <= options.device:
        count = pyk4a.connected_device_count()
        send(options.fd, {"kind": "error", "code": "device", "detail": f"{count} cameras are connected"})
        return "device"
    camera = pyk4a.PyK4A(
        pyk4a.Config(
            color_resolution=getattr(pyk4a.ColorResolution, f"RES_{options.color.upper()}"),
            color_format=pyk4a.ImageFormat.COLOR_MJPG,
            depth_mode=pyk4a.DepthMode.NFOV_UNBINNED if options.depth else pyk4a.DepthMode.OFF,
            camera_fps=getattr(pyk4a.FPS, f"FPS_{options.fps}"),
            synchronized_images_only=bool(options.depth),
        ),
        device_id=options.device,
    )
    step = "open"
    try:
        camera.start()
        step = "calibration"
        send(
            options.fd,
            {"kind": "ready", "serial": camera.serial, "calibration": camera.calibration_raw.rstrip("\0")},
        )
        step = "stream"
        while True:
            try:
                capture = camera.get_capture(timeout=CAPTURE_TIMEOUT_MS)
            except pyk4a.K4ATimeoutException:
                send(options.fd, {"kind": "timeout"})
                continue
            if capture.color is not None:
                send(options.fd, *frame_message(capture, newest_imu(pyk4a, camera)))
    except pyk4a.K4AException as error:  # its message is empty more often than not
        send(options.fd, {"kind": "error", "code": step, "detail": str(error)})
        return step
    finally:
        if camera.opened:
            camera.stop()


def end_with_reader(fd: int) -> None:
    """Leave at once when nobody reads any more, even where the main thread hangs in a driver."""
    poll = select.poll()
    poll.register(fd, 0)  # errors are always reported, and a pipe without a reader is one
    poll.poll()
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(description="hand an Azure Kinect's captures to a file descriptor")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--color", default="720p")
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--depth", type=int, default=1)
    options = parser.parse_args()
    threading.Thread(target=end_with_reader, args=(options.fd,), daemon=True).start()
    try:
        run(options)
    except BrokenPipeError:  # whoever started us is gone or has closed the source
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
