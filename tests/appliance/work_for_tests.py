"""Small honest jobs: they count files into a folder, so that a resumed one can be seen to carry on."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.jobs.store import JobKind
from appliance.site.folder import SiteFolder
from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from calibration.progress import Progress


def count_files(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    folder = Path(parameters["folder"])
    folder.mkdir(exist_ok=True)
    made = 0
    for index in range(parameters["count"]):
        path = folder / f"{index:04d}"
        if not path.exists():
            path.touch()
            made += 1
            time.sleep(parameters.get("seconds_each", 0.0))
        progress(index + 1, parameters["count"], f"file {index + 1}")
    return {"made": made} | ({"resumed": True} if parameters.get("resume") else {})


def count_with_a_helper(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """`count_files` beside a helper process."""
    helper = subprocess.Popen(["sleep", "600"])
    try:
        return count_files(site, parameters, progress)
    finally:
        helper.kill()
        helper.wait()


def write_pictures(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Write `count` files of half a MiB into the site, those that are there already left alone."""
    folder, made = site.datasets / "pictures", 0
    folder.mkdir(exist_ok=True)
    for index in range(parameters["count"]):
        path = folder / f"{index:04d}"
        if not path.exists():
            write_bytes(path, bytes(512 << 10))
            made += 1
            time.sleep(parameters.get("seconds_each", 0.0))
        progress(index + 1, parameters["count"], path.name)
    return {"made": made}


def refuse(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    raise WardposeError("no bed", where="the ward", mend="put one there")


def break_down(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    raise ZeroDivisionError("one by none")


def leave_a_stray(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Start a helper that leaves our session and is nobody's child any more."""
    script = (
        "import os, sys, time\nif os.fork():\n    os._exit(0)\nos.setsid()\nif os.fork():\n    os._exit(0)\n"
        "open(sys.argv[1], 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )
    subprocess.run([sys.executable, "-c", script, parameters["file"]], check=True)
    while not Path(parameters["file"]).exists():
        time.sleep(0.01)
    return {}


def go_on_regardless(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Start a helper and wait for ever, without listening where `listens` is not set."""
    if not parameters.get("listens"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    helper = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(parameters["file"]).write_text(str(helper.pid))
    while True:
        time.sleep(0.1)


def linger(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Done, but for a thread that keeps the process."""
    threading.Thread(target=time.sleep, args=(600,)).start()
    return {}


def mistake_an_interrupt(site: SiteFolder, parameters: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Do with Ctrl-C what libraries do: make another error of it, or lose it."""
    while True:
        try:
            progress(0, 0, "waiting")
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            if parameters["as"] == "error":
                raise ImportError("a part of the library could not be loaded") from None
        progress(1, 1, "going on")


JOB_KINDS = (
    JobKind("count", "Counting", count_files),
    JobKind("helped", "Counting with a helper", count_with_a_helper),
    JobKind("count-light", "Counting quietly", count_files, heavy=False),
    JobKind("pictures", "Writing pictures", write_pictures),
    JobKind("refuse", "Refusing", refuse),
    JobKind("break", "Breaking down", break_down),
    JobKind("stray", "Leaving a stray", leave_a_stray),
    JobKind("stubborn", "Going on regardless", go_on_regardless),
    JobKind("mistaken", "Mistaking", mistake_an_interrupt),
    JobKind("lingering", "Lingering", linger),
)
