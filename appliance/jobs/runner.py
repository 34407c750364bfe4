"""Starts, watches and stops the processes of jobs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from typing import IO

from appliance.jobs.needs import needed_first
from appliance.jobs.processes import MARK, kill, mark_of, processes_of
from appliance.jobs.store import ACTIVE, KINDS, Job, JobStore
from appliance.site.database import now
from appliance.site.folder import REPOSITORY, SiteFolder, open_lock, open_log
from calibration.disk import DiskError
from calibration.json_text import parse_json
from calibration.processes import is_running, pid_of, process_identity

SIGNING_SECONDS = 60.0  # how long a started process may take until it has signed its row
STARTING_SECONDS = 5.0  # how long after its row says running it may take until there is such a process
MOST_ATTEMPTS = 3  # of a job whose runner died before its process had signed
MERCY_SECONDS = 20.0  # between asking a job to stop and killing it
_MOST_ACTIVE = 1000  # jobs that are looked at for the next to start
ENDING_SECONDS = 5.0  # between a job's last word and its process's end
DISK_ENDED = "its disk could not be written any more; what the job had finished is kept: resume it when it can"
NOBODY_RUNS_JOBS = "no program runs the jobs of this site: its service leaves them to the unit wardpose-jobs"
START_THEM = "type: sudo systemctl start wardpose-jobs, or: python -m appliance.job_runner"
UNKILLABLE_SECONDS = 10.0  # a process that does not die of SIGKILL waits for a disk; we don't wait for it for ever


class Turn:
    """The right to run a site's jobs, held by one program at a time: the service, or `appliance.job_runner`.

    It is a lock (flock) on a file beside the sockets; the kernel lets go of it however its holder ends.
    """

    def __init__(self, site: SiteFolder) -> None:
        self._path = site.sockets / "jobs.lock"
        self._stream: IO[str] | None = None

    def take(self) -> bool:
        """Whether this program has the right now; it tries to get it."""
        if self._stream is not None:
            return True
        stream = os.fdopen(open_lock(self._path))
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            return False
        self._stream = stream
        return True

    @staticmethod
    def is_taken(site: SiteFolder) -> bool:
        """Whether any program has it now."""
        with os.fdopen(open_lock(site.sockets / "jobs.lock")) as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def release(self) -> None:
        """Let go. Does nothing where it is not held."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class JobRunner:
    """Call `step` about once a second from one thread. One heavy job runs at a time, light ones beside it.

    A job is running until its last process is gone, helpers included; only then is its row given the state that its
    process wrote as `outcome`, or that its silence means, and only then may the next heavy one start. Jobs outlive a
    runner that is killed: the next one finds them by their process's identity and looks after them.
    """

    def __init__(self, site: SiteFolder, kinds: str = KINDS, store: JobStore | None = None) -> None:
        """store: where else is told how a job ended whose row can't be written."""
        self.site, self.kinds, self.store = site, kinds, store or JobStore(site, kinds)
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._asked_at: dict[int, float] = {}
        self._last_word_at: dict[int, float] = {}

    def step(self) -> None:
        """Notice the dead, stop the cancelled, start what may start."""
        self.settle()
        if not any(job.heavy for job in self.running()):
            self._start_next(heavy=True)
        if sum(not job.heavy for job in self.running()) < 2:
            self._start_next(heavy=False)

    def settle(self) -> None:
        """Notice the dead and stop the cancelled; start nothing."""
        for job in self.running():
            self._look_after(job)

    def running(self) -> list[Job]:
        return self.store.all(states=("running",))

    def stop_all(self) -> None:
        """Interrupt every job (they can be resumed) and wait until the last process of each is gone."""
        for job in self.running():
            self._interrupt(job)
        killing_from = time.monotonic() + MERCY_SECONDS
        while (jobs := self.running()) and time.monotonic() < killing_from + UNKILLABLE_SECONDS:
            for job in jobs:
                if time.monotonic() > killing_from:
                    kill(processes_of(self.site, job.id, self._leader(job)))
                self._look_after(job, patient=False)
            time.sleep(0.05)

    def _look_after(self, job: Job, *, patient: bool = True) -> None:
        """patient: a process that has yet to sign its row is waited for."""
        if self._leads(job, patient):
            if job.outcome:
                if time.monotonic() - self._last_word_at.setdefault(job.id, time.monotonic()) > ENDING_SECONDS:
                    kill(processes_of(self.site, job.id, self._leader(job)))
            elif job.cancel_requested:
                self._ask_to_stop(job)
            return
        if left := processes_of(self.site, job.id, self._leader(job)):
            kill(left)  # helpers of a job that is over have nothing left to keep
            return
        self._finish(job)

    def _leads(self, job: Job, patient: bool) -> bool:
        """Whether the job's own process lives, or may be about to."""
        if child := self._children.get(job.id):
            return child.poll() is None
        if job.process:
            return is_running(job.process)
        age = time.time() - datetime.fromisoformat(job.started_at).timestamp()
        if not patient or not 0 <= age < SIGNING_SECONDS:
            return False
        return age < STARTING_SECONDS or bool(processes_of(self.site, job.id))

    def _leader(self, job: Job) -> str:
        child = self._children.get(job.id)
        return job.process or (process_identity(child.pid) if child is not None else "")

    def _ask_to_stop(self, job: Job) -> None:
        if job.id not in self._asked_at:
            if self._interrupt(job):
                self._asked_at[job.id] = time.monotonic()
        elif time.monotonic() - self._asked_at[job.id] > MERCY_SECONDS:
            kill(processes_of(self.site, job.id, self._leader(job)))

    def _interrupt(self, job: Job) -> bool:
        """Ask the job's own process to stop; False where it isn't known yet."""
        child = self._children.get(job.id)
        if child is None and not is_running(job.process):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid if child is not None else pid_of(job.process), signal.SIGINT)
        return True

    def _finish(self, job: Job) -> None:
        job = self.store.get(job.id)  # its last word may have come since the row was read
        if job.outcome:
            outcome = parse_json(job.outcome)
            state, result, why = outcome["state"], outcome["result"], outcome["error"]
        elif job.cancel_requested:
            state, result, why = "cancelled", "", ""
        elif not job.process and job.id not in self._children and job.attempts < MOST_ATTEMPTS:
            state, result, why = "queued", "", ""  # the runner that was to start it was killed first: nothing is lost
        elif (child := self._children.get(job.id)) is not None and child.poll() == os.EX_IOERR:
            state, result, why = "failed", "", DISK_ENDED
        else:
            why = f"its process ended without a word; see {self.store.log_file(job.id)}"
            state, result = "interrupted", ""
        if state == "interrupted" and job.pause_requested and job.resumable:
            state, result, why = "queued", "", ""  # it waits there for whoever paused it, and carries on then
        paused = job.pause_requested and state == "queued"
        try:
            with self.site.database.transaction(immediate=True) as db:
                db.execute(
                    "UPDATE jobs SET state = ?, finished_at = ?, result = ?, error = ?, outcome = '', held = 0, "
                    "pause_requested = ?, "
                    "done = CASE WHEN ? = 'done' THEN total ELSE done END WHERE id = ? AND state = 'running'",
                    (state, "" if state == "queued" else now(), result, why, paused, state, job.id),
                )
        except DiskError:
            if state not in ("done", "queued"):
                self.store.unwritten[job.id] = (state, why)  # what is true until the row says so
            raise
        self.store.unwritten.pop(job.id, None)
        if child := self._children.pop(job.id, None):
            child.wait()
        self._asked_at.pop(job.id, None)
        self._last_word_at.pop(job.id, None)

    def _start_next(self, *, heavy: bool) -> None:
        active = self.store.all(_MOST_ACTIVE, states=ACTIVE)
        may_start = (
            job.id
            for job in reversed(active)
            # What a paused job is to make would be missed by those that use it.
            if job.state == "queued" and job.heavy == heavy and not (job.pause_requested or needed_first(job, active))
        )
        if (number := next(may_start, None)) is None:
            return
        with self.site.database.transaction(immediate=True) as db:
            started = db.execute(
                "UPDATE jobs SET state = 'running', started_at = ?, finished_at = '', process = '', error = '', "
                "outcome = '', cancel_requested = 0, held = 0, attempts = attempts + 1 "
                "WHERE id = ? AND state = 'queued' AND pause_requested = 0",
                (now(), number),
            ).rowcount
        if not started:  # paused or cancelled since
            return
        command = [sys.executable, "-m", "appliance.job_process", "--home", str(self.site.root), "--kinds", self.kinds]
        environment = os.environ | {MARK: mark_of(self.site, number)}
        with open_log(self.store.log_file(number)) as log:
            self._children[number] = subprocess.Popen(
                [*command, str(number)], cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
