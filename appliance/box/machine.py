"""What the machine says of itself: the states of systemd's units, temperatures, the GPU."""

from __future__ import annotations

import csv
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

SYSTEMD = Path("/run/systemd/system")  # there where systemd runs the machine, as sd_booted(3) asks
UNITS = tuple(
    f"wardpose-{part}"
    for part in (
        "capture.service", "runtime.service", "display.service", "drift.service", "service.service", "jobs.service",
        "kiosk.service", "station.service", "housekeeping.timer",
    )
)  # fmt: skip
_SHOWN = ("Id", "LoadState", "ActiveState", "SubState", "NRestarts", "UnitFileState")
_ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as `systemctl show` tells of it. load: `loaded`, `not-found`, `masked`; active: `active`, `inactive`,
    `failed`, `activating`, …; restarts: since it was started."""

    name: str
    load: str
    active: str
    sub: str
    restarts: int

    @property
    def installed(self) -> bool:
        return self.load not in ("not-found", "")

    @property
    def good(self) -> bool:
        return self.active == "active" and self.load == "loaded"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as its driver tells of it; °C, %, MiB."""

    name: str
    celsius: float
    busy_percent: float
    used_mib: float
    total_mib: float

    @property
    def words(self) -> str:
        memory = f"{self.used_mib / 1024:.1f} of {self.total_mib / 1024:.0f} GiB used"
        return f"{self.name}: {self.celsius:.0f} °C, {self.busy_percent:.0f} % busy, {memory}"


def units() -> list[Unit] | None:
    """The appliance's units, installed or not; None where systemd does not run this machine, or does not answer."""
    if not SYSTEMD.is_dir():
        return None
    told = _asked("systemctl", "show", f"--property={','.join(_SHOWN)}", *UNITS)
    return None if told is None else parse_units(told)


def parse_units(told: str) -> list[Unit]:
    """The units in what `systemctl show` said: `Key=value` a line, an empty line between two units."""
    found = []
    for block in told.strip().split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        if name := values.get("Id"):
            restarts = values.get("NRestarts", "0")
            found.append(
                Unit(
                    name, values.get("LoadState", ""), values.get("ActiveState", ""), values.get("SubState", ""),
                    int(restarts) if restarts.isdigit() else 0,
                )
            )  # fmt: skip
    return found


def unit_words(found: list[Unit] | None) -> tuple[str, str]:
    """In a sentence how the units are, and its mark: good, warn, bad, off."""
    if found is None:
        return "no systemd runs this machine: the service itself keeps the processes running", "off"
    installed = [unit for unit in found if unit.installed]
    if not installed:
        return "none of wardpose's units is installed; the service itself keeps the processes running", "off"
    words = ", ".join(
        f"{unit.name.removeprefix('wardpose-').removesuffix('.service')} {unit.active}"
        f"{f' ({unit.restarts} restarts)' if unit.restarts else ''}"
        for unit in installed
    )
    failed = any(unit.active == "failed" for unit in installed)
    return words, "bad" if failed else "good" if any(unit.good for unit in installed) else "off"


def gpus() -> list[Gpu]:
    """NVIDIA's GPUs; none where there is no driver, or it does not answer."""
    asked = "name,temperature.gpu,utilization.gpu,memory.used,memory.total"
    told = _asked("nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader,nounits")
    return parse_gpus(told or "")


def parse_gpus(told: str) -> list[Gpu]:
    """The GPUs in what `nvidia-smi` said; a figure that a GPU does not know counts as 0."""
    return [
        Gpu(row[0], *(float(value) if value.replace(".", "", 1).isdigit() else 0.0 for value in row[1:]))
        for row in csv.reader(told.splitlines(), skipinitialspace=True)
        if len(row) == 5
    ]


def warmth() -> list[tuple[str, float]]:
    """The warmest sensor of each kind that this machine tells of, °C."""
    try:
        sensors = psutil.sensors_temperatures()
    except (AttributeError, OSError):
        return []
    return [(name, max(one.current for one in each)) for name, each in sensors.items() if each]


def _asked(*command: str) -> str | None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout if ended.returncode == 0 else None
