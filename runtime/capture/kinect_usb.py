"""Why an Azure Kinect can't be used, as far as the USB bus tells."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

KINECT_VENDOR = "045e"
KINECT_PRODUCTS = frozenset({"097a", "097b", "097c", "097d", "097e"})  # two hubs, depth, colour, microphones
_CAMERAS = frozenset({"097c", "097d"})
_USB3_MBIT_S = 5000


@dataclass(frozen=True, slots=True)
class UsbProblem:
    """What hinders the camera, and what a person can do about it."""

    what: str
    mend: str


def usb_problem(sysfs: Path = Path("/sys/bus/usb/devices"), nodes: Path = Path("/dev/bus/usb")) -> UsbProblem | None:
    """The first thing that hinders a connected Azure Kinect; None where the bus shows nothing wrong."""
    cameras = []
    for vendor in sorted(sysfs.glob("*/idVendor")):
        device = vendor.parent
        if _read(vendor) == KINECT_VENDOR and _read(device / "idProduct") in _CAMERAS:
            cameras.append(device)
    if not cameras:
        return UsbProblem("no Azure Kinect is connected by USB", "plug in its USB cable and its power supply")
    for device in cameras:
        speed = _read(device / "speed")
        if speed.isdigit() and int(speed) < _USB3_MBIT_S:
            return UsbProblem(
                f"the Kinect is connected at {speed} Mbit/s only", "use a USB 3 port and the cable that came with it"
            )
        bus, number = _read(device / "busnum"), _read(device / "devnum")
        if bus.isdigit() and number.isdigit():
            node = nodes / f"{int(bus):03d}" / f"{int(number):03d}"
            if node.exists() and not os.access(node, os.R_OK | os.W_OK):
                return UsbProblem(
                    "this user may not open the Kinect", "install the udev rule (wardpose setup) and plug it in again"
                )
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # unplugged while we looked
        return ""
