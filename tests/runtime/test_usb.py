"""What the kernel's own files say of a camera: trees as a box with that fault shows them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.capture.kinect_usb import UsbProblem, usb_devices, usb_problem, usb_problems
from runtime.capture.v4l import VideoDevice, video_devices

HUB_3, HUB_2, DEPTH, COLOR, MICROPHONES = "097a", "097b", "097c", "097d", "097e"
WHOLE = {HUB_3: "5000", HUB_2: "480", DEPTH: "5000", COLOR: "5000", MICROPHONES: "12"}


class Bus:
    """A tree like /sys/bus/usb/devices and /dev/bus/usb."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.nodes, self.rule = root / "sys", root / "dev", root / "99-wardpose-k4a.rules"
        self.sysfs.mkdir()
        self._number = 0

    def plug(self, vendor: str, product: str, speed: str, *, mode: int = 0o666) -> None:
        self._number += 1
        device = self.sysfs / f"2-1.{self._number}"
        device.mkdir()
        about = {"idVendor": vendor, "idProduct": product, "speed": speed, "busnum": "2", "devnum": str(self._number),
                 "product": "Azure Kinect 4K Camera", "serial": "000123"}  # fmt: skip
        for name, content in about.items():
            (device / name).write_text(f"{content}\n")
        node = self.nodes / "002" / f"{self._number:03d}"
        node.parent.mkdir(parents=True, exist_ok=True)
        node.touch()
        node.chmod(mode)

    def plug_kinect(self, products: dict[str, str], *, mode: int = 0o666) -> None:
        for product, speed in products.items():
            self.plug("045e", product, speed, mode=mode)

    def problems(self, **options: str) -> list[UsbProblem]:
        return usb_problems(self.sysfs, self.nodes, self.rule, **options)


@pytest.fixture
def bus() -> Iterator[Bus]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own can't be entered by another user
        Path(folder).chmod(0o755)
        yield Bus(Path(folder))


def as_nobody(look: Callable[[], list[UsbProblem]]) -> str:
    """What `look` finds for a user without rights; root could open every device node."""
    if os.geteuid() != 0:
        return "; ".join(f"{problem.what}: {problem.mend}" for problem in look())
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        os.write(write_end, "; ".join(f"{problem.what}: {problem.mend}" for problem in look()).encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


def test_a_whole_kinect_has_no_problem(bus: Bus) -> None:
    bus.plug_kinect(WHOLE)
    assert bus.problems() == []
    assert usb_problem(bus.sysfs, bus.nodes, bus.rule) is None
    assert len(usb_devices(bus.sysfs, bus.nodes)) == 5


def test_no_camera_is_said(bus: Bus) -> None:
    bus.plug("046d", "0825", "480")
    (problem,) = bus.problems()
    assert "no Azure Kinect is connected" in problem.what and "power supply" in problem.mend


@pytest.mark.parametrize(
    "products", [{HUB_2: "480", MICROPHONES: "12"}, {**WHOLE, HUB_3: "480", DEPTH: "480", COLOR: "480"}]
)
def test_a_usb_2_port_or_cable_is_said(bus: Bus, products: dict[str, str]) -> None:
    bus.plug_kinect(products)
    (problem,) = bus.problems()
    assert ("USB 2 only" in problem.what or "480 Mbit/s" in problem.what) and "USB 3 port" in problem.mend


@pytest.mark.parametrize(
    ("absent", "said"), [((DEPTH, COLOR), "depth camera and colour camera do not"), ((DEPTH,), "depth camera does not")]
)
def test_missing_power_is_said(bus: Bus, absent: tuple[str, ...], said: str) -> None:
    bus.plug_kinect({product: speed for product, speed in WHOLE.items() if product not in absent})
    (problem,) = bus.problems()
    assert said in problem.what and "power supply" in problem.mend


def test_missing_rights_are_said_and_whether_the_rule_is_there(bus: Bus) -> None:
    bus.plug_kinect(WHOLE, mode=0o600)
    said = as_nobody(bus.problems)
    assert "may not open the camera" in said and "install the udev rule" in said
    bus.rule.touch()
    assert "plug it in again" in as_nobody(bus.problems) and "install" not in as_nobody(bus.problems)


def test_several_faults_are_all_said(bus: Bus) -> None:
    bus.plug_kinect({HUB_3: "480", HUB_2: "480", COLOR: "480"}, mode=0o600)
    said = as_nobody(bus.problems)
    assert "480 Mbit/s" in said and "depth camera does not answer" in said and "may not open" in said


def test_an_orbbec_camera_is_told_how_to_be_used(bus: Bus) -> None:
    bus.plug("2bc5", "066b", "5000")
    (problem,) = bus.problems()
    assert "Orbbec" in problem.what and "library=" in problem.mend
    assert bus.problems(library="libk4a.so") == []


def test_a_named_library_looks_for_its_own_camera(bus: Bus) -> None:
    bus.plug_kinect(WHOLE)
    assert "no Orbbec camera" in bus.problems(library="libk4a.so")[0].what


def test_what_is_unplugged_while_we_look_is_left_out(bus: Bus) -> None:
    bus.plug_kinect(WHOLE)
    (bus.sysfs / "2-1.9").mkdir()
    (bus.sysfs / "2-1.9" / "idVendor").mkdir()  # a file that can't be read any more
    assert bus.problems() == []


def test_usb_cameras_are_listed_by_their_first_node(tmp_path: Path) -> None:
    for number, index, name in ((2, 0, "Webcam C270"), (3, 1, "Webcam C270"), (10, 0, "Integrated Camera")):
        folder = tmp_path / "sys" / f"video{number}"
        folder.mkdir(parents=True)
        (folder / "index").write_text(f"{index}\n")
        (folder / "name").write_text(f"{name}\n")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "video2").touch()
    assert video_devices(tmp_path / "sys", tmp_path / "dev") == [
        VideoDevice(2, "Webcam C270", True),
        VideoDevice(10, "Integrated Camera", False),
    ]
    assert video_devices(tmp_path / "nothing", tmp_path / "dev") == []


def test_our_rule_covers_every_camera() -> None:
    from tests.conftest import REPOSITORY

    rule = (REPOSITORY / "systemd" / "99-wardpose-k4a.rules").read_text()
    for product in WHOLE:
        assert f'ATTRS{{idVendor}}=="045e", ATTRS{{idProduct}}=="{product}"' in rule
    assert 'ATTRS{idVendor}=="2bc5"' in rule
