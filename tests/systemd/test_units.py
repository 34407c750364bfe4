"""The units parse, watch their process, and hold no more rights than they need."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

UNITS = sorted((REPOSITORY / "systemd").glob("*.service"))
LASTING = [unit for unit in UNITS if "Type=oneshot" not in unit.read_text()]


def load(unit: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser


def test_capture_runtime_and_display_have_a_unit_each() -> None:
    assert {unit.stem for unit in UNITS} >= {"wardpose-capture", "wardpose-runtime", "wardpose-display"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    copies = []
    for other in UNITS:  # verify also wants the program to exist, which it does only on an installed box
        text = other.read_text().replace("/opt/wardpose/.venv/bin/python", "/bin/true")
        copies.append(tmp_path / other.name)
        copies[-1].write_text(text)
    outcome = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit.name)], capture_output=True, text=True
    )
    complaints = [line for line in outcome.stderr.splitlines() if "wardpose" in line]
    assert outcome.returncode == 0 and not complaints, outcome.stderr


def test_what_has_expired_is_cleared_away_every_few_minutes() -> None:
    timer = load(REPOSITORY / "systemd" / "wardpose-housekeeping.timer")
    assert timer["Timer"]["OnUnitActiveSec"] == "5min" and timer["Timer"]["OnBootSec"]
    service = load(REPOSITORY / "systemd" / "wardpose-housekeeping.service")["Service"]
    assert service["Type"] == "oneshot" and int(service["TimeoutStartSec"]) <= 300
    assert service["ExecStart"].endswith("-m appliance.housekeeping")


@pytest.mark.parametrize("unit", LASTING, ids=lambda unit: unit.stem)
def test_a_hung_process_is_restarted_for_ever(unit: Path) -> None:
    service = load(unit)["Service"]
    assert service["Type"] == "notify" and int(service["WatchdogSec"]) <= 30
    assert service["Restart"] == "always" and load(unit)["Unit"]["StartLimitIntervalSec"] == "0"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_no_unit_reaches_beyond_the_box(unit: Path) -> None:
    text = unit.read_text()
    assert "PrivateNetwork=yes" in text or ("IPAddressDeny=any" in text and "IPAddressAllow=localhost" in text)
    service = load(unit)["Service"]
    assert service["User"] == "wardpose" and service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict" and service["CapabilityBoundingSet"] == ""


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_what_a_unit_holds_in_memory_goes_to_no_core_file_and_to_no_swap(unit: Path) -> None:
    service = load(unit)["Service"]
    assert service["LimitCORE"] == "1"  # byte: a handler of core files gets nothing either
    assert service["MemorySwapMax"] == "0"
