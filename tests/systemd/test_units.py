"""The units parse, watch their process, and hold no more rights than they need."""

from __future__ import annotations

import configparser
import ctypes.util
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.jobs.runner import MERCY_SECONDS, UNKILLABLE_SECONDS
from appliance.live import station
from appliance.live.running import END_SECONDS
from appliance.live.supervisor import FIRST_PAUSE_SECONDS, SILENCE_SECONDS
from appliance.site import assigning
from appliance.site.folder import SiteFolder
from appliance.site.settings import set_value
from tests.conftest import REPOSITORY

KIOSK = REPOSITORY / "systemd" / "wardpose-kiosk.service"  # a browser, under an account of its own
STATION = REPOSITORY / "systemd" / "wardpose-station.service"  # the one that others reach, once a site wants it
UNITS = sorted(set((REPOSITORY / "systemd").glob("*.service")) - {KIOSK})
LASTING = [unit for unit in UNITS if "Type=oneshot" not in unit.read_text()]


def load(unit: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser


def test_the_live_paths_processes_the_service_and_the_jobs_have_a_unit_each() -> None:
    parts = ("capture", "runtime", "display", "drift", "service", "jobs")
    assert {unit.stem for unit in UNITS} >= {f"wardpose-{part}" for part in parts}


def test_jobs_run_in_one_unit_and_yield_to_the_live_picture() -> None:
    service, jobs = (load(REPOSITORY / "systemd" / f"wardpose-{name}.service") for name in ("service", "jobs"))
    assert jobs["Service"]["ExecStart"].endswith("-m appliance.job_runner")
    assert service["Service"]["ExecStart"].endswith("-m appliance.service --without-jobs")
    assert "wardpose-jobs.service" in service["Unit"]["Wants"]
    assert int(jobs["Service"]["CPUWeight"]) < 100 and int(jobs["Service"]["IOWeight"]) < 100
    live = load(REPOSITORY / "systemd" / "wardpose-runtime.service")["Service"]
    assert "CPUWeight" not in live  # systemd's own 100
    assert int(jobs["Service"]["OOMScoreAdjust"]) > 0


@pytest.mark.parametrize("name", ["service", "jobs"])
def test_what_these_started_gets_the_time_to_end_by_itself(name: str) -> None:
    service = load(REPOSITORY / "systemd" / f"wardpose-{name}.service")["Service"]
    assert service["KillMode"] == "mixed"  # only the program itself is asked, and asks its children
    assert int(service["TimeoutStopSec"]) > max(END_SECONDS, MERCY_SECONDS + UNKILLABLE_SECONDS)


# What polkit answers to whom, for which unit, wanting what of it.
ASKED = """
let rule;
globalThis.polkit = { addRule: (f) => { rule = f; }, Result: { YES: "yes", NOT_HANDLED: "not handled" } };
eval(require("fs").readFileSync(0, "utf8"));
const ask = (user, unit, verb, id = "org.freedesktop.systemd1.manage-units") =>
  rule({ id, lookup: (key) => ({ unit, verb })[key] }, { user });
console.log(JSON.stringify([
  ask("wardpose", "wardpose-capture.service", "stop"), ask("wardpose", "wardpose-runtime.service", "stop"),
  ask("wardpose", "wardpose-capture.service", "start"), ask("wardpose", "wardpose-jobs.service", "stop"),
  ask("wardpose", "ssh.service", "stop"), ask("anna", "wardpose-capture.service", "stop"),
  ask("wardpose", "wardpose-capture.service", "stop", "org.freedesktop.login1.power-off"),
]));
"""


def test_the_service_may_stop_the_live_paths_units_and_nothing_else() -> None:
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed (apt install nodejs)")
    rules = (REPOSITORY / "systemd" / "50-wardpose.rules").read_text()
    asked = subprocess.run([node, "-e", ASKED], input=rules, capture_output=True, text=True, check=True)
    assert json.loads(asked.stdout) == ["yes", "yes"] + ["not handled"] * 5


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_calls_the_unit_well_confined(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    outcome = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(unit)], capture_output=True, text=True
    )
    if "Unknown" in outcome.stderr or "unrecognized option" in outcome.stderr:
        pytest.skip("this systemd-analyze judges no unit file")
    assert outcome.returncode == 0, outcome.stdout[-200:] + outcome.stderr


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


@pytest.mark.parametrize("part", ["capture", "runtime", "display"])
def test_a_live_process_that_hangs_while_it_starts_is_not_waited_for_as_long_as_systemd_would(part: str) -> None:
    service = load(REPOSITORY / "systemd" / f"wardpose-{part}.service")["Service"]
    assert int(service["TimeoutStartSec"]) <= 30 and int(service["WatchdogSec"]) <= 3


@pytest.mark.parametrize("part", ["capture", "runtime", "display"])
def test_a_live_process_that_fails_is_started_again_as_soon_as_the_supervisor_would(part: str) -> None:
    """A hang is noticed and started anew within five seconds, of which the start itself has the rest; and since systemd
    counts restarts for ever, what once failed often must not be waited for longer ever after."""
    service = load(REPOSITORY / "systemd" / f"wardpose-{part}.service")["Service"]
    pause_s = int(service["RestartSec"].removesuffix("ms")) / 1000
    assert pause_s <= FIRST_PAUSE_SECONDS
    assert SILENCE_SECONDS < int(service["WatchdogSec"]) <= SILENCE_SECONDS + 1
    assert service["WatchdogSignal"] == "SIGKILL"  # nothing is waited for of a process that hangs
    assert "RestartSteps" not in service and "RestartMaxDelaySec" not in service


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_no_unit_but_the_stations_reaches_beyond_the_box(unit: Path) -> None:
    text = unit.read_text()
    assert "PrivateNetwork=yes" in text or ("IPAddressDeny=any" in text and "IPAddressAllow=localhost" in text)
    assert ("IPAddressAllow=localhost\n" in text or "PrivateNetwork=yes" in text) is (unit != STATION)
    service = load(unit)["Service"]
    assert service["User"] == "wardpose" and service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict" and service["CapabilityBoundingSet"] == ""


# The station's program where no socket can be had of another family than the unit allows, as systemd has it.
CONFINED = """
import errno, socket, sys
import pyseccomp
from appliance.site.folder import SiteFolder
from appliance.station_view import StationView
allowed = {getattr(socket, name) for name in sys.argv[2:]}
rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
for family in range(46):
    if family not in allowed:
        rules.add_rule(pyseccomp.ERRNO(errno.EAFNOSUPPORT), "socket", pyseccomp.Arg(0, pyseccomp.EQ, family))
rules.load()
view = StationView(SiteFolder.open(sys.argv[1]))
print(view.look())
assert view.server is not None and view.server.alive
view.close()
"""


def test_the_stations_page_is_served_with_the_kinds_of_sockets_that_its_unit_allows(tmp_path: Path) -> None:
    if ctypes.util.find_library("seccomp") is None:
        pytest.skip("libseccomp is not installed (apt install libseccomp2)")
    site = SiteFolder.open(tmp_path / "site")
    assigning.assign(site, pwd.getpwuid(os.getuid()).pw_name, "engineer", "a test")
    assigning.assign(site, "Station 3", "viewer", "a test", pin="480261")
    station.keep_certificate(site, ["127.0.0.1"], "", "", "a test")  # no name: each address of the box is told
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        set_value(site, "station", "port", free.getsockname()[1])
    set_value(site, "station", "on", True)
    families = load(STATION)["Service"]["RestrictAddressFamilies"].split()
    done = subprocess.run(
        [sys.executable, "-c", CONFINED, str(site.root), *families], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("serves"), done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_what_a_unit_holds_in_memory_goes_to_no_core_file_and_to_no_swap(unit: Path) -> None:
    service = load(unit)["Service"]
    assert service["LimitCORE"] == "1"  # byte: a handler of core files gets nothing either
    assert service["MemorySwapMax"] == "0"


def test_the_screen_has_an_account_that_sees_the_pages_key_and_nothing_else_of_the_site() -> None:
    service = load(KIOSK)["Service"]
    accounts = (REPOSITORY / "systemd" / "wardpose.sysusers").read_text()
    assert service["User"] == "wardpose-kiosk" and "\nu wardpose-kiosk " in accounts
    assert service["LoadCredential"] == "page.html:/var/lib/wardpose/sockets/page.html"
    assert service["ExecStart"].endswith("file://%d/page.html") and "key" not in service["ExecStart"]
    assert "-/var/lib/wardpose" in service["InaccessiblePaths"]
    assert service["IPAddressDeny"] == "any" and service["IPAddressAllow"] == "localhost"
    assert service["Restart"] == "always" and service["NoNewPrivileges"] == "yes"
    assert service["LimitCORE"] == "1" and service["MemorySwapMax"] == "0"


def test_systemd_accepts_the_screens_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    copy = tmp_path / KIOSK.name
    copy.write_text(KIOSK.read_text().replace("/usr/bin/cage", "/bin/true"))
    outcome = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True)
    complaints = [line for line in outcome.stderr.splitlines() if "kiosk" in line]
    assert outcome.returncode == 0 and not complaints, outcome.stderr
