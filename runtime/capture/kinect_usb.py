"""What the USB bus tells of an Azure Kinect, or of the Orbbec cameras that take its place: what is missing, and how to
mend it.

An Azure Kinect shows up as five devices: a USB 3 hub with the depth and the colour camera behind it, and a USB 2 hub
with the microphones. Which of them are there says what is wrong with its cables.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MICROSOFT, ORBBEC = "045e", "2bc5"
HUB_3, HUB_2, DEPTH, COLOR, MICROPHONES = "097a", "097b", "097c", "097d", "097e"
KINECT_PRODUCTS = frozenset({HUB_3, HUB_2, DEPTH, COLOR, MICROPHONES})
SYSFS = Path("/sys/bus/usb/devices")
NODES = Path("/dev/bus/usb")
UDEV_RULE = Path("/etc/udev/rules.d/99-wardpose-k4a.rules")
_CAMERAS = {DEPTH: "depth camera", COLOR: "colour camera"}
_USB3_MBIT_S = 5000


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """One device on the bus, as the kernel lists it. speed_mbit_s: 0 where it says none. node: its file in /dev."""

    vendor: str
    product: str
    name: str
    serial: str
    speed_mbit_s: float
    node: Path

    @property
    def is_kinect(self) -> bool:
        return self.vendor == MICROSOFT and self.product in KINECT_PRODUCTS

    @property
    def is_orbbec(self) -> bool:
        return self.vendor == ORBBEC


@dataclass(frozen=True, slots=True)
class UsbProblem:
    """What hinders the camera, and what a person can do about it."""

    what: str
    mend: str


def usb_devices(sysfs: Path = SYSFS, nodes: Path = NODES) -> list[UsbDevice]:
    """Every device on the bus, in the kernel's order."""
    devices = []
    for vendor in sorted(sysfs.glob("*/idVendor")):
        about = {
            name: _read(vendor.parent / name)
            for name in ("idVendor", "idProduct", "product", "serial", "speed", "busnum", "devnum")
        }
        if not about["idVendor"]:
            continue  # unplugged while we looked
        bus, number = (int(about[name]) if about[name].isdigit() else 0 for name in ("busnum", "devnum"))
        try:
            speed = float(about["speed"])
        except ValueError:
            speed = 0.0
        devices.append(UsbDevice(
            about["idVendor"].lower(), about["idProduct"].lower(), about["product"], about["serial"], speed,
            nodes / f"{bus:03d}" / f"{number:03d}",
        ))  # fmt: skip
    return devices


def usb_problems(
    sysfs: Path = SYSFS, nodes: Path = NODES, rule: Path = UDEV_RULE, *, library: str = ""
) -> list[UsbProblem]:
    """What hinders a camera, the first cause first; empty where the bus shows nothing wrong.

    library: where another libk4a is named, its camera (Orbbec's) is looked for.
    """
    devices = usb_devices(sysfs, nodes)
    if library:
        cameras = [device for device in devices if device.is_orbbec]
        if not cameras:
            return [UsbProblem("no Orbbec camera is connected by USB", "plug in its USB cable and its power supply")]
        return _speed_problems(cameras) + _access_problems(cameras, rule)
    kinect = [device for device in devices if device.is_kinect]
    products = {device.product for device in kinect}
    if not kinect:
        if any(device.is_orbbec for device in devices):
            return [
                UsbProblem(
                    "an Orbbec camera is connected, and no Azure Kinect",
                    "name the folder of Orbbec's K4A wrapper: kinect#library=/path/to/it",
                )
            ]
        return [UsbProblem("no Azure Kinect is connected by USB", "plug in its USB cable and its power supply")]
    if not products & {HUB_3, *_CAMERAS}:
        return [UsbProblem(
            "the Kinect is connected by USB 2 only", "use a USB 3 port (blue, or marked SS) and the cable it came with"
        )]  # fmt: skip
    problems = _speed_problems([device for device in kinect if device.product in {HUB_3, *_CAMERAS}])
    absent = [name for product, name in _CAMERAS.items() if product not in products]
    if absent:
        problems.append(UsbProblem(
            f"the Kinect's {' and '.join(absent)} does not answer" if len(absent) == 1
            else f"the Kinect's {' and '.join(absent)} do not answer",
            "connect its power supply, wait until its light is steady white, and plug its USB cable in again",
        ))  # fmt: skip
    return problems + _access_problems(kinect, rule)


def usb_problem(
    sysfs: Path = SYSFS, nodes: Path = NODES, rule: Path = UDEV_RULE, *, library: str = ""
) -> UsbProblem | None:
    """The first of `usb_problems`; None where there is none."""
    return next(iter(usb_problems(sysfs, nodes, rule, library=library)), None)


def _speed_problems(devices: list[UsbDevice]) -> list[UsbProblem]:
    slow = [device.speed_mbit_s for device in devices if 0 < device.speed_mbit_s < _USB3_MBIT_S]
    if not slow:
        return []
    return [
        UsbProblem(
            f"the camera is connected at {min(slow):g} Mbit/s only",
            "use a USB 3 port (blue, or marked SS) and the cable it came with",
        )
    ]


def _access_problems(devices: list[UsbDevice], rule: Path) -> list[UsbProblem]:
    if all(os.access(device.node, os.R_OK | os.W_OK) for device in devices if device.node.exists()):
        return []
    mend = (
        "plug it in again; this user must be in the group video, or sit at this box"
        if rule.exists()
        else "install the udev rule (sudo ./wardpose setup --kinect) and plug it in again"
    )
    return [UsbProblem("this user may not open the camera", mend)]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # unplugged while we looked, or nothing to tell
        return ""
