"""Which frame sources can be used on this box, and what one of them delivers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError
from calibration.plugins import load_plugin, plugin_names

ARGUMENTS = {
    "recording": "an Azure Kinect recording, recording:FILE.mkv",
    "video": "photographs, a video, a UVC or RTSP camera, video:WHERE",
}
KINECT_IDS = ("045e:097c", "045e:097d", "045e:097a", "045e:097b", "045e:097e")


def usb_ids() -> set[str]:
    """`vendor:product` of every connected USB device."""
    found = set()
    for vendor in Path("/sys/bus/usb/devices").glob("*/idVendor"):
        try:
            found.add(f"{vendor.read_text().strip()}:{(vendor.parent / 'idProduct').read_text().strip()}")
        except OSError:
            continue  # unplugged while we looked
    return found


def list_cameras() -> list[dict[str, Any]]:
    """`{name, ok, detail}` for every registered kind of source."""
    cameras = []
    for name in plugin_names("capture_sources"):
        ok, detail = True, ARGUMENTS.get(name, "")
        try:
            load_plugin("capture_sources", name)
        except (ImportError, WardposeError) as error:
            ok, detail = False, str(error)
        if name == "kinect" and ok:
            ok = bool(usb_ids() & set(KINECT_IDS))
            detail = "connected" if ok else "no Azure Kinect is connected by USB"
        elif name == "simulated" and ok:
            detail = "the simulated ward"
        cameras.append({"name": name, "ok": ok, "detail": detail})
    return cameras


def probe(spec: str, *, seconds: float = 3.0, wait_s: float = 60.0) -> dict[str, Any]:
    """Open a source, read for `seconds` and say what came; the source is closed again.

    wait_s: how long the first frame may take. Raises `WardposeError` when none comes.
    """
    from runtime.capture.source import EndOfStream, StaleFrame, open_source

    with open_source(spec) as source:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                frame = source.read(timeout_s=1.0)
                break
            except StaleFrame:
                if time.monotonic() > deadline:
                    raise
            except EndOfStream:
                raise WardposeError("it holds no frame", where=spec, mend="choose another file or folder") from None
        started, frames = time.monotonic(), 0
        imu = frame.imu is not None
        while time.monotonic() - started < seconds:
            try:
                frame = source.read(timeout_s=1.0)
            except StaleFrame:
                continue
            except EndOfStream:
                break
            frames += 1
            imu = imu or frame.imu is not None
        elapsed = max(time.monotonic() - started, 1e-6)
        height, width = frame.color.shape[:2]
        depth = None if frame.depth is None else f"{frame.depth.shape[1]}×{frame.depth.shape[0]}"
        return {
            "source": spec, "name": source.name, "live": source.live, "width": width, "height": height,
            "frames": frames + 1, "fps": frames / elapsed, "depth": depth, "calibrated": frame.camera is not None,
            "imu": imu,
        }  # fmt: skip
