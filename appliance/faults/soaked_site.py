"""A live site on the simulated ward with one job after the other beside it: what `wardpose bench soak` watches."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOURCE = "simulated"  # as the settings of a new site have it: so its calibration is watched
IMAGES = 16  # of each job
TROUBLE_S = 5.0  # after a job that failed


class Jobs:
    """Makes one small data set after the other through the service, and removes each."""

    def __init__(self, site: Any) -> None:
        self._site, self.done, self.failed = site, 0, 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        from appliance.client import ServiceClient
        from calibration.errors import WardposeError

        with ServiceClient(self._site) as client:
            while not self._stopping.is_set():
                asked = {"scenario": "site", "count": IMAGES, "seed": self.done + self.failed}
                try:
                    made = client.carry_out("synth", asked, self._look)
                except _Ended:
                    return
                except WardposeError:
                    self.failed += 1
                    self._stopping.wait(TROUBLE_S)
                    continue
                shutil.rmtree(made["out"], ignore_errors=True)
                self.done += 1

    def _look(self, done: int, total: int, note: str) -> None:
        if self._stopping.is_set():
            raise _Ended


class _Ended(Exception):
    """The hour is over."""


@contextlib.contextmanager
def soaked_site(work: Path, progress: Any) -> Iterator[tuple[Any, int, Path, Jobs]]:
    """A calibrated site that is live, with jobs beside it, its service's process, its results' socket."""
    from appliance.bedside.calibrate import calibrate_tags
    from appliance.client import ServiceClient
    from appliance.faults.own_port import take_own_port
    from appliance.live.addresses import result_socket
    from appliance.site import calibrations
    from appliance.site.folder import SiteFolder

    (work / "tmp").mkdir()
    with _temporary(work / "tmp"):
        site = SiteFolder.open(work / "site")
        take_own_port(site)
        row = calibrations.keep(site, calibrate_tags(site, source=SOURCE, progress=progress))
        calibrations.confirm(site, row.id)
        with ServiceClient.connect(site) as client:
            try:
                client.start_live(source=SOURCE, reason="bench soak")
                jobs = Jobs(site)
                jobs.start()
                try:
                    yield site, int(client.status()["pid"]), result_socket(site), jobs
                finally:
                    jobs.stop()
            finally:
                client.stop_service()


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    """Temporary files of this process and its children lie in `folder`, so that what is left of them is seen."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"], tempfile.tempdir = str(folder), None
    try:
        yield
    finally:
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before
        tempfile.tempdir = None


def made_by_design(path: Path) -> bool:
    """What each job leaves on purpose, or has only while it runs: its images, its log and its course."""
    return path.parts[0] == "datasets" or path.match("logs/job-*.log") or path.match("logs/job-*.steps")
