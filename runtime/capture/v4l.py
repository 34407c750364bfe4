"""Which USB (UVC) cameras the kernel has, and whether this user may open them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

SYSFS = Path("/sys/class/video4linux")
NODES = Path("/dev")


@dataclass(frozen=True, slots=True)
class VideoDevice:
    """One camera: `video:NUMBER` opens it. usable: this user may."""

    number: int
    name: str
    usable: bool


def video_devices(sysfs: Path = SYSFS, nodes: Path = NODES) -> list[VideoDevice]:
    """The cameras by number. A camera's further nodes (metadata) are left out: only its first delivers pictures."""
    found = []
    for entry in sysfs.glob("video*"):
        number = re.fullmatch(r"video(\d+)", entry.name)
        if number is None or _read(entry / "index") not in ("0", ""):
            continue
        usable = os.access(nodes / entry.name, os.R_OK | os.W_OK)
        found.append(VideoDevice(int(number[1]), _read(entry / "name") or entry.name, usable))
    return sorted(found, key=lambda device: device.number)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # unplugged while we looked
        return ""
