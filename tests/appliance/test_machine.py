"""What systemctl and nvidia-smi say of a box, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.box import machine
from appliance.box.machine import Gpu, Unit

# As systemd 252 prints it for a loaded, a failed and a missing unit.
TOLD = """NRestarts=2
Id=wardpose-runtime.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled

NRestarts=0
Id=wardpose-jobs.service
LoadState=loaded
ActiveState=failed
SubState=failed
UnitFileState=enabled

Id=wardpose-station.service
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
"""


def test_each_unit_has_its_state_and_a_failed_one_is_bad() -> None:
    found = machine.parse_units(TOLD)
    assert found[0] == Unit("wardpose-runtime.service", "loaded", "active", "running", 2)
    assert [unit.installed for unit in found] == [True, True, False]
    assert machine.unit_words(found) == ("runtime active (2 restarts), jobs failed", "bad")
    assert machine.unit_words(found[:1])[1] == "good"
    assert machine.unit_words(found[2:])[0].startswith("none of wardpose's units is installed")


def test_without_systemd_or_a_gpu_it_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SYSTEMD", tmp_path / "absent")
    assert machine.units() is None and machine.unit_words(None)[0].startswith("no systemd runs this machine")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpus() == []


def test_a_gpu_says_how_warm_and_how_full_it_is() -> None:
    [gpu, other] = machine.parse_gpus("NVIDIA L4, 61, 34, 2048, 23034\nTegra, [N/A], 12, [N/A], 7620\n")
    assert gpu == Gpu("NVIDIA L4", 61.0, 34.0, 2048.0, 23034.0)
    assert gpu.words == "NVIDIA L4: 61 °C, 34 % busy, 2.0 of 22 GiB used"
    assert other.celsius == 0.0
