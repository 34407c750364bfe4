"""Starts, watches and stops the processes of jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import datetime

from appliance.database import now
from appliance.jobs import KINDS, Job, JobStore
from appliance.processes import is_running, pid_of, signal_group
from appliance.site_folder import REPOSITORY, SiteFolder

SIGNING_SECONDS = 60.0  # how long a started process may take until it has signed its row
MERCY_SECONDS = 20.0  # between asking a job to stop and killing it


class JobRunner:
    """Call `step` about once a second from one thread. One heavy job runs at a time, light ones beside it.

    Jobs outlive a runner that is killed: the next one finds them by their process's identity and looks after them.
    """

    def __init__(self, site: SiteFolder, kinds: str = KINDS) -> None:
        self.site, self.kinds, self.store = site, kinds, JobStore(site, kinds)
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._asked_at: dict[int, float] = {}

    def step(self) -> None:
        """Notice the dead, stop the cancelled, start what may start."""
        for job in self.running():
            self._look_after(job)
        for number in [number for number, child in self._children.items() if child.poll() is not None]:
            self._forget(number)
        if not any(job.heavy for job in self.running()):
            self._start_next(heavy=True)
        if sum(not job.heavy for job in self.running()) < 2:
            self._start_next(heavy=False)

    def running(self) -> list[Job]:
        return self.store.all(states=("running",))

    def stop_all(self) -> None:
        """Interrupt this runner's jobs (they can be resumed) and wait until each has ended."""
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        for child in self._children.values():
            try:
                child.wait(MERCY_SECONDS)
            except subprocess.TimeoutExpired:
                signal_group(child.pid, signal.SIGKILL)
                child.wait()
        for job in self.running():
            self._look_after(job)
        for number in list(self._children):
            self._forget(number)

    def _look_after(self, job: Job) -> None:
        child = self._children.get(job.id)
        if child is not None:
            ended = child.poll() is not None
        elif job.process:
            ended = not is_running(job.process)
        else:
            ended = time.time() - datetime.fromisoformat(job.started_at).timestamp() > SIGNING_SECONDS
        if ended:
            self._mark_dead(job)
            self._forget(job.id)
        elif job.cancel_requested and (child is not None or job.process):
            self._ask_to_stop(job.id, child.pid if child is not None else pid_of(job.process))

    def _ask_to_stop(self, number: int, pid: int) -> None:
        if number not in self._asked_at:
            self._asked_at[number] = time.monotonic()
            os.kill(pid, signal.SIGINT)
        elif time.monotonic() - self._asked_at[number] > MERCY_SECONDS:
            signal_group(pid, signal.SIGKILL)

    def _mark_dead(self, job: Job) -> None:
        state = "cancelled" if job.cancel_requested else "interrupted"
        why = "" if job.cancel_requested else f"its process ended without a word; see {self.store.log_file(job.id)}"
        with self.site.database.transaction(immediate=True) as db:
            db.execute(
                "UPDATE jobs SET state = ?, finished_at = ?, error = ? WHERE id = ? AND state = 'running'",
                (state, now(), why, job.id),
            )

    def _forget(self, number: int) -> None:
        self._asked_at.pop(number, None)
        if child := self._children.pop(number, None):
            child.wait()
            signal_group(child.pid, signal.SIGKILL)  # whatever helpers it left behind in its session

    def _start_next(self, *, heavy: bool) -> None:
        with self.site.database.transaction(immediate=True) as db:
            row = db.execute(
                "SELECT id FROM jobs WHERE state = 'queued' AND heavy = ? ORDER BY id LIMIT 1", (heavy,)
            ).fetchone()
            if row is None:
                return
            number = int(row["id"])
            db.execute(
                "UPDATE jobs SET state = 'running', started_at = ?, finished_at = '', process = '', error = '', "
                "cancel_requested = 0, attempts = attempts + 1 WHERE id = ?",
                (now(), number),
            )
        command = [sys.executable, "-m", "appliance.job_process", "--home", str(self.site.root), "--kinds", self.kinds]
        with self.store.log_file(number).open("ab") as log:
            self._children[number] = subprocess.Popen(
                [*command, str(number)], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
