"""What this box has, what it lacks, and what to do about it. Nothing here changes anything."""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import shutil
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from appliance.environment import NEWEST_PYTHON, OLDEST_PYTHON
from appliance.site.ballast import held
from appliance.site.folder import SiteFolder
from appliance.site.privacy import open_to_others
from calibration.disk import DiskError, look
from calibration.errors import WardposeError

# What the demo, the tests and the live path import, as distributions.
PACKAGES = (
    "anny", "av", "mujoco", "numba", "numpy", "onnx", "opencv-python-headless", "pycocotools", "pydantic", "rich",
    "safetensors", "scipy", "textual", "torch", "ultralytics",
)  # fmt: skip
UDEV_RULE = Path("/etc/udev/rules.d/99-wardpose-k4a.rules")
LEAST_DISK_GB = 2.0
LEAST_INODES = 5000
CAN_BE_FREED = ("full", "no inodes")  # causes for which the ballast helps
LEAST_MEMORY_GB = 3.5
LEAST_SHM_MB = 64
SETUP = "run `./wardpose setup`"
FETCH = "wardpose models fetch (without a network, from a USB stick: wardpose models fetch --from FILE.tgz)"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. optional: a full appliance wants it, the demo and the tests do without."""

    name: str
    ok: bool
    detail: str
    mend: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Every check; `ok` when nothing needed is amiss."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok or check.optional for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}


def examine(site: SiteFolder) -> Report:
    """Look at everything; takes well under a second."""
    looks: tuple[Callable[[SiteFolder], Check], ...] = (
        _python, _packages, _onnxruntime, _base_models, _pretrained, _models_in_use, _settings, _passwords,
        _database, _audit, _unwritten, _permissions, _disk, _expired, _memory, _shared_memory, _clock, _loopback_only,
        _station,
        _gpu, _tensorrt, _engines, _egl, _xvfb, _chromium, _kinect_package, _kinect_rule, _kinect,
    )  # fmt: skip
    return Report(tuple(look(site) for look in looks))


def _python(site: SiteFolder) -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Check(
        "python",
        OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON,
        found,
        "install Python 3.11, 3.12 or 3.13, remove .venv and start ./wardpose again",
    )


def _packages(site: SiteFolder) -> Check:
    missing = []
    for name in PACKAGES:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    detail = f"missing: {', '.join(missing)}" if missing else f"all {len(PACKAGES)} are there"
    return Check(
        "packages", not missing, detail, "remove .venv and start ./wardpose again: it makes the environment anew"
    )


def _onnxruntime(site: SiteFolder) -> Check:
    found = []
    for name in ("onnxruntime-gpu", "onnxruntime"):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return Check(
        "onnxruntime",
        len(found) == 1,
        " and ".join(found) or "missing",
        "install exactly one of onnxruntime and onnxruntime-gpu",
    )


def _base_models(site: SiteFolder) -> Check:
    from appliance.models.store import BUILT_IN_DETECTOR, ModelStore

    detail, good = BUILT_IN_DETECTOR, True
    try:
        ModelStore(site).verify(BUILT_IN_DETECTOR)
    except WardposeError as error:
        detail, good = error.what, False
    mend = "get the repository's tuning/base_models again, or make it: wardpose base detector"
    return Check("built-in detector", good, detail, mend)


def _pretrained(site: SiteFolder) -> Check:
    from appliance.models.fetch import missing, without
    from tuning.pretrained import PRETRAINED

    lacking = missing(site)
    detail = f"no {', '.join(lacking)}: {without(site)}" if lacking else f"{', '.join(PRETRAINED)} are there and intact"
    return Check("models trained on photographs", not lacking, detail, FETCH, optional=True)


def _models_in_use(site: SiteFolder) -> Check:
    from appliance.models.in_use import told_in_use
    from appliance.models.store import ModelStore

    name, models = "models in use", told_in_use(site)
    for model in models:
        broken = model.text if model.broken else ""
        if model.name and not broken:
            try:
                ModelStore(site).verify(model.name)
            except WardposeError as error:
                broken = f"{model.name}: {error.what}"
        if broken:
            mend = f"import it again, or go back: wardpose rollback --task {model.task}"
            return Check(name, False, broken, mend)
    detail = "; ".join(f"{model.kind}: {model.text}" for model in models)
    good = all(model.ok for model in models)
    return Check(name, good, detail, optional=not good)


def _settings(site: SiteFolder) -> Check:
    from appliance.site.settings import load_settings

    try:
        load_settings(site)
    except WardposeError as error:
        return Check("settings", False, f"{error.where}: {error.what}", error.mend)
    return Check("settings", True, str(site.settings_file))


def _database(site: SiteFolder) -> Check:
    mend = "restore site.db from a backup of the site folder"
    try:
        with site.database.transaction() as db:
            verdict = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    except DiskError as error:
        verdict, mend = error.what, error.mend
    except (WardposeError, sqlite3.Error) as error:
        verdict = str(error)
    return Check("database", verdict == "ok", verdict, "" if verdict == "ok" else mend)


def _permissions(site: SiteFolder) -> Check:
    found = open_to_others(site.root)
    mend = "wardpose doctor --mend"
    if any(each.foreign for each in found):
        mend = f"as root: chown -R it to the user who runs wardpose, then {mend}"
    detail = "; ".join(str(each) for each in found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    return Check("site folder is private", not found, detail or f"{site.root}: nobody else may open it", mend)


def _passwords(site: SiteFolder) -> Check:
    from appliance.site.settings import password_in_file

    try:
        left = password_in_file(site)
    except WardposeError:
        left = False  # told as a mistake in the settings
    detail = f"{site.settings_file} holds a camera's password" if left else "no camera's password in the settings"
    mend = f"make the site folder writable: the password is then moved to {site.secrets_file.name}"
    return Check("camera passwords", not left, detail, mend)


def _audit(site: SiteFolder) -> Check:
    from appliance.site import audit

    try:
        verdict = audit.verify(site)
    except (WardposeError, sqlite3.Error) as error:
        return Check("audit trail", False, str(error), "see `database`")
    detail = f"{verdict.rows} rows, the chain is whole"
    if verdict.breaks:
        detail = f"broken at row {verdict.breaks[0].row}: {verdict.breaks[0].what}"
    return Check("audit trail", verdict.whole, detail, "wardpose audit; ask who changed site.db, or put it back")


def _disk(site: SiteFolder) -> Check:
    about, trouble = os.statvfs(site.root), look(site.root)
    free = about.f_bavail * about.f_frsize / 1e9
    detail = f"{free:.1f} GB{f' and {about.f_favail} inodes' if about.f_files else ''} free at {site.root}"
    ready = held(site.root) / 2**20
    if trouble is not None:
        ballast = f"; {ready:.0f} MiB of ballast can be freed" if ready and trouble.cause in CAN_BE_FREED else ""
        return Check("disk", False, f"{trouble.words}: {detail}{ballast}", trouble.mend)
    if about.f_files and about.f_favail < LEAST_INODES:
        return Check("disk", False, detail, f"delete files until {LEAST_INODES} inodes are left, many small ones first")
    return Check("disk", free >= LEAST_DISK_GB, detail, f"free space until {LEAST_DISK_GB:.0f} GB are left")


def _unwritten(site: SiteFolder) -> Check:
    from appliance.live import pauses

    owes = pauses.switch(site).owes
    detail = "a pause or resume waits for its row" if owes else "nothing waits for its row"
    mend = "make the site folder writable again: the next command writes it"
    return Check("audit rows written", not owes, detail, mend)


def _expired(site: SiteFolder) -> Check:
    from appliance.bedside.recordings import overdue

    left = overdue(site)
    detail = f"still there: {', '.join(left)}" if left else "nothing is kept beyond its time"
    mend = "delete it by hand, then let the box note it: python -m appliance.housekeeping"
    return Check("expired recordings", not left, detail, mend)


def _memory(site: SiteFolder) -> Check:
    total, cores = psutil.virtual_memory().total / 1e9, os.cpu_count() or 1
    return Check(
        "memory",
        total >= LEAST_MEMORY_GB,
        f"{total:.1f} GB, {cores} cores",
        f"use a box with {LEAST_MEMORY_GB:g} GB or more",
    )


def _shared_memory(site: SiteFolder) -> Check:
    try:
        free = shutil.disk_usage("/dev/shm").free / 1e6
    except OSError as error:
        return Check("shared memory", False, str(error.strerror), "mount a tmpfs at /dev/shm: frames cross there")
    return Check(
        "shared memory", free >= LEAST_SHM_MB, f"{free:.0f} MB free at /dev/shm", "enlarge /dev/shm: frames cross there"
    )


def _clock(site: SiteFolder) -> Check:
    # Older than this file's own installation means that the clock was never set.
    installed = Path(__file__).stat().st_mtime
    ok = time.time() > installed - 86_400
    return Check(
        "clock",
        ok,
        time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "set the clock: timedatectl set-time, or a time server of the site",
    )


def _loopback_only(site: SiteFolder) -> Check:
    from appliance.live import station

    open_to_others, view = [], station.told(site)["on"]
    for process in psutil.process_iter(["pid", "cmdline", "uids"]):
        words = process.info["cmdline"] or []
        ours = any(word.startswith(("appliance", "runtime.")) for word in words[1:4])
        if not ours or process.info["uids"] is None or process.info["uids"].real != os.getuid():
            continue
        if view and "appliance.station_view" in words[1:4]:
            continue  # switched on by somebody, and told of by the next check
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections(kind="inet"):
                places = [place.ip for place in (connection.laddr, connection.raddr) if place]
                if any(not _is_loopback(ip) for ip in places):
                    open_to_others.append(f"{' '.join(words[1:3])} (pid {process.pid}) at {places}")
    besides = " but the ward station's view" if view else ""
    detail = "; ".join(open_to_others) or f"no process of this site has a socket beyond loopback{besides}"
    return Check("loopback only", not open_to_others, detail, "stop that process and report it: this must never happen")


def _station(site: SiteFolder) -> Check:
    from appliance.live import station

    name, view = "ward station's view", station.told(site)
    if not view["on"]:
        return Check(name, True, "off: nothing listens beyond this box")
    found = station.readiness(site)
    if found.lacking:
        return Check(name, False, "on, but not served", "; ".join(found.lacking))
    assert found.certificate is not None
    until = f"its certificate holds until {found.certificate.until:%Y-%m-%d}"
    soon = found.certificate.days_left < station.SOON_DAYS
    return Check(
        name, not soon, f"ON, by TLS and PIN: {', '.join(view['addresses'])}; {until}",
        "wardpose station certificate", optional=True,
    )  # fmt: skip


def _is_loopback(ip: str) -> bool:
    if ":" in ip:
        return socket.inet_pton(socket.AF_INET6, ip) in (bytes(15) + b"\x01", bytes(10) + b"\xff\xff\x7f\x00\x00\x01")
    return ip.startswith("127.")


def _gpu(site: SiteFolder) -> Check:
    try:
        first = Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
    except (OSError, IndexError):
        return Check(
            "GPU",
            False,
            "no NVIDIA driver; everything runs on the processor",
            "optional: install the NVIDIA driver",
            True,
        )
    return Check("GPU", True, first, optional=True)


def _tensorrt(site: SiteFolder) -> Check:
    there = find_spec("tensorrt") is not None
    detail = "installed" if there else "not installed; ONNX Runtime is used"
    return Check("TensorRT", there, detail, "optional: install wardpose's extra `gpu`", True)


def _engines(site: SiteFolder) -> Check:
    from appliance.live.engines import engine_words

    return Check("inference engines", True, engine_words(site), optional=True)


def _egl(site: SiteFolder) -> Check:
    missing = [name for name in ("EGL", "GL") if not ctypes.util.find_library(name)]
    detail = (
        f"lib{' and lib'.join(missing)} not installed" if missing else "the renderers moderngl and pyrender can draw"
    )
    return Check("EGL", not missing, f"{detail}; the numba renderer needs none" if missing else detail, SETUP, True)


def _xvfb(site: SiteFolder) -> Check:
    found = shutil.which("Xvfb")
    return Check("Xvfb", bool(found), found or "not installed; the Kinect's depth needs it", SETUP, True)


def chromium() -> str | None:
    """The browser of this box; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _chromium(site: SiteFolder) -> Check:
    found = chromium()
    return Check(
        "Chromium",
        bool(found),
        found or "not installed; the display page on the box's own screen needs it",
        SETUP,
        True,
    )


def _kinect_package(site: SiteFolder) -> Check:
    from appliance.box.setup_full import kinect_python

    python = kinect_python()
    detail = str(python) if python else "no environment with pyk4a"
    return Check("Kinect environment", python is not None, detail, SETUP, True)


def _kinect_rule(site: SiteFolder) -> Check:
    there = UDEV_RULE.exists()
    return Check("Kinect udev rule", there, str(UDEV_RULE) if there else "not installed", SETUP, True)


def _kinect(site: SiteFolder) -> Check:
    from runtime.capture.kinect_usb import usb_problem

    problem = usb_problem()
    if problem is None:
        return Check("Kinect", True, "connected, and ready", optional=True)
    return Check("Kinect", False, problem.what, problem.mend, True)
