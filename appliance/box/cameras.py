"""Which frame sources can be used on this box, what hinders the others, and what one of them delivers."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.bedside.camera_access import open_camera
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from calibration.plugins import load_plugin, plugin_names
from calibration.redaction import redacted
from runtime.capture.kinect_usb import UsbProblem, usb_problems
from runtime.capture.v4l import video_devices

if TYPE_CHECKING:
    from runtime.frames import Frame

DETAILS = {
    "recording": "an Azure Kinect recording, recording:FILE.mkv",
    "simulated": "the simulated ward",
    "video": "photographs, a video, a UVC or RTSP camera, video:WHERE",
}
SETUP = "./wardpose setup --kinect"


def list_cameras(root: Path = Path("/")) -> list[dict[str, Any]]:
    """`{name, ok, detail, problems: [{what, mend}]}` for every kind of source and every USB camera the kernel has.

    root: where `sys`, `dev` and `etc` are looked for.
    """
    cameras = []
    for name in plugin_names("capture_sources"):
        problems, detail = [], DETAILS.get(name, "")
        try:
            load_plugin("capture_sources", name)
        except (ImportError, WardposeError) as error:
            problems = [UsbProblem(str(error), "install what it needs")]
        if name == "kinect" and not problems:
            problems, detail = kinect_problems(root), "connected, and ready"
        cameras.append(_camera(name, detail, problems))
    for device in video_devices(root / "sys/class/video4linux", root / "dev"):
        mend = "add this user to the group video (sudo usermod -aG video $USER) and log in again"
        problems = [] if device.usable else [UsbProblem("this user may not open it", mend)]
        cameras.append(_camera(f"video:{device.number}", device.name, problems))
    return cameras


def _camera(name: str, detail: str, problems: list[UsbProblem]) -> dict[str, Any]:
    told = [asdict(problem) for problem in problems]
    return {"name": name, "ok": not problems, "detail": problems[0].what if problems else detail, "problems": told}


def kinect_problems(root: Path = Path("/")) -> list[UsbProblem]:
    """All that hinders an Azure Kinect on this box: cables, power, rights, library, display; what to mend first."""
    found = usb_problems(
        root / "sys/bus/usb/devices", root / "dev/bus/usb", root / "etc/udev/rules.d/99-wardpose-k4a.rules"
    )
    if (library := library_problem()) is not None:
        found.append(library)
    if not os.environ.get("DISPLAY") and shutil.which("xvfb-run") is None:
        found.append(
            UsbProblem(
                "depth needs a display, and there is none", f"install Xvfb ({SETUP}), or do without: kinect#depth=false"
            )
        )
    return found


def library_problem() -> UsbProblem | None:
    """Why the Kinect's library can't be loaded in its own environment; None where it can. Takes about a second."""
    from appliance.box.setup_full import kinect_python

    python = kinect_python()
    if python is None:
        return UsbProblem("its library is not installed", f"install it: {SETUP}")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    try:
        ended = subprocess.run(
            [python, "-c", "import pyk4a"], capture_output=True, text=True, timeout=20, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return UsbProblem(f"its environment does not answer ({error})", f"remove .venv-kinect; {SETUP}")
    if ended.returncode:
        why = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
        return UsbProblem(
            f"its library can't be loaded ({why})", f"it needs glibc 2.35 and numpy<2: remove .venv-kinect; {SETUP}"
        )
    return None


def probe(site: SiteFolder, spec: str, *, seconds: float = 3.0, wait_s: float = 60.0) -> dict[str, Any]:
    """Open a source, read for `seconds` and say what came; the source is closed again.

    wait_s: how long the first frame may take. Raises `WardposeError` when none comes.
    """
    from runtime.capture.source import EndOfStream, StaleFrame

    with open_camera(site, spec) as source:
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
        felt = [frame]
        while time.monotonic() - started < seconds:
            try:
                frame = source.read(timeout_s=1.0)
            except StaleFrame:
                continue
            except EndOfStream:
                break
            frames += 1
            if frame.imu is not None:
                felt = [*felt[-9:], frame]
        elapsed = max(time.monotonic() - started, 1e-6)
        height, width = frame.color.shape[:2]
        depth = None if frame.depth is None else f"{frame.depth.shape[1]}×{frame.depth.shape[0]}"
        return {
            "source": redacted(spec), "name": source.name, "live": source.live, "width": width, "height": height,
            "frames": frames + 1, "fps": frames / elapsed, "depth": depth, "calibrated": frame.camera is not None,
            "imu": any(frame.imu is not None for frame in felt), "origin": source.origin,
        } | _upright(felt)  # fmt: skip


def _upright(frames: list[Frame]) -> dict[str, float | None]:
    """`pitch_deg` and `roll_deg` of a camera that feels which way is up and stands still; else None."""
    from runtime.capture.gravity import up_in_color

    try:
        upright = up_in_color(frames)
    except WardposeError:
        return {"pitch_deg": None, "roll_deg": None}
    return {"pitch_deg": round(upright.pitch_deg, 1), "roll_deg": round(upright.roll_deg, 1)}
