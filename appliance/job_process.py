"""The process of one job: `python -m appliance.job_process --home SITE ID`. Started by `jobs.runner`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
import traceback
from types import FrameType

import psutil

from appliance import program
from appliance.jobs.processes import at_rest, processes_of
from appliance.jobs.store import DEFECT, KINDS, Job, JobStore, load_kinds
from appliance.site.folder import SiteFolder, open_log
from appliance.site.people import acting_as
from calibration.disk import DiskError, behind
from calibration.errors import WardposeError
from calibration.processes import process_identity
from calibration.redaction import redacted

KEPT = "what the job had finished is kept: resume it then"
PROGRESS_SECONDS = 0.2  # rows are written no more often
STEP_SECONDS = 1.0  # nor are steps
PAUSED_SECONDS = 0.3  # between two looks whether a paused job may go on


def main(arguments: list[str] | None = None) -> int:
    """Run one job to its end and write how it went; the exit code is 0 only when it is done."""
    parser = argparse.ArgumentParser(prog="appliance.job_process", description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--kinds", default=KINDS)
    parser.add_argument("number", type=int)
    options = parser.parse_args(arguments)
    program.prepare()
    # A shell that starts us in the background ignores SIGINT for us; being asked to stop must work all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    site = SiteFolder.open(options.home)
    process = JobProcess(site, options.number, options.kinds)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, process.interrupt)
    return process.run()


class JobProcess:
    """Signs the row, does the work, writes the end."""

    def __init__(self, site: SiteFolder, number: int, kinds: str) -> None:
        self.site, self.number, self.kinds = site, number, kinds
        self.store = JobStore(site, kinds)
        self._written_at = 0.0
        self._began, self._noted_at = time.monotonic(), 0.0
        self._interrupted = False

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """A signal asks the job to stop. Libraries may swallow what is raised here, or make another error of it; that
        it was asked is remembered."""
        self._interrupted = True
        raise KeyboardInterrupt

    def run(self) -> int:
        if not self._sign():
            return 3  # somebody else runs it, or it was taken back
        give_way()
        job = self.store.get(self.number)
        with acting_as(job.asked_by):
            return self._work(job)

    def _work(self, job: Job) -> int:
        try:
            kind = load_kinds(self.kinds)[job.kind]
            begun = {"resume": True} if job.attempts > 1 and job.total else {}  # by an attempt that was cut off
            result = kind.run(self.site, job.parameters | begun, self.progress)
            text = json.dumps(result)
        except (KeyboardInterrupt, Exception) as error:
            return self._end_with(error)
        return self._end("done", 0, result=text)

    def _end_with(self, error: BaseException) -> int:
        if not isinstance(error, WardposeError | KeyboardInterrupt):
            error = behind(error) or error
        cancelled = self.store.get(self.number).cancel_requested
        if cancelled or self._interrupted or isinstance(error, KeyboardInterrupt):
            state = "cancelled" if cancelled else "interrupted"
            return self._end(state, 130, error="" if cancelled else "stopped from outside")
        if isinstance(error, DiskError):
            return self._end("failed", os.EX_IOERR, error=f"{error}; {KEPT}")
        if isinstance(error, WardposeError):
            text = str(error)
        else:
            sys.stderr.write(redacted(traceback.format_exc()))  # to the job's log
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            where = f"{self.store.log_file(self.number)} says where; report it"
            text = redacted(f"{DEFECT}{text}; {where}")
        return self._end("failed", 1, error=text)

    def progress(self, done: int, total: int, note: str) -> None:
        """Written at most five times a second; waits while it is paused; raises `KeyboardInterrupt`
        when somebody asked the job to stop."""
        if done < total and time.monotonic() - self._written_at < PROGRESS_SECONDS:
            return
        self._written_at = time.monotonic()
        self._note_step(done, total, note)
        with self.site.database.transaction(immediate=True) as db:
            db.execute("UPDATE jobs SET done = ?, total = ?, note = ? WHERE id = ?", (done, total, note, self.number))
        self._wait_while_paused()

    def _wait_while_paused(self) -> None:
        """Hold for as long as somebody wants it, here, where nothing of others is held: no lock, no transaction. The
        helpers get no processor meanwhile; all memory stays. Raises `KeyboardInterrupt` where the job is to stop."""
        if not self._is_to_pause():
            return
        began = time.monotonic()
        helpers = [pid for pid in processes_of(self.site, self.number) if pid != os.getpid()]
        try:
            with at_rest(helpers):
                self._hold(True)
                while self._is_to_pause():
                    time.sleep(PAUSED_SECONDS)
        finally:
            self._hold(False)
            self._began += time.monotonic() - began  # a pause is no part of how it went

    def _is_to_pause(self) -> bool:
        with self.site.database.transaction() as db:
            row = db.execute(
                "SELECT cancel_requested, pause_requested FROM jobs WHERE id = ?", (self.number,)
            ).fetchone()
        if row["cancel_requested"] or self._interrupted:
            raise KeyboardInterrupt
        return bool(row["pause_requested"])

    def _hold(self, held: bool) -> None:
        with self.site.database.transaction(immediate=True) as db:
            db.execute("UPDATE jobs SET held = ? WHERE id = ?", (held, self.number))

    def _note_step(self, done: int, total: int, note: str) -> None:
        """Keep how it goes, so that a curve of it can be drawn later; the longer it runs the more seldom."""
        seconds = time.monotonic() - self._began
        if seconds - self._noted_at < max(STEP_SECONDS, seconds / 500):
            return
        self._noted_at = seconds
        told = " ".join(redacted(note).split())[:200]
        with contextlib.suppress(OSError), open_log(self.store.steps_file(self.number)) as stream:
            stream.write(f"{seconds:.1f}\t{done}\t{total}\t{told}\n".encode())

    def _sign(self) -> bool:
        with self.site.database.transaction(immediate=True) as db:
            changed = db.execute(
                "UPDATE jobs SET process = ? WHERE id = ? AND state = 'running' AND process = ''",
                (process_identity(os.getpid()), self.number),
            )
            return changed.rowcount == 1

    def _end(self, state: str, code: int, *, result: str = "", error: str = "") -> int:
        """The last word; returns the exit code. The runner makes it the job's state once this process and all its
        helpers are gone; where the disk does not take it, the code alone says that the disk was to blame."""
        outcome = json.dumps({"state": state, "result": result, "error": error})
        try:
            with self.site.database.transaction(immediate=True) as db:
                db.execute("UPDATE jobs SET outcome = ? WHERE id = ?", (outcome, self.number))
        except DiskError as trouble:
            sys.stderr.write(f"{state}: {error or trouble}\n")
            return os.EX_IOERR
        return code


def give_way(*, session: bool = True) -> None:
    """Let the live picture win: least processor and disk weight, and first to go when memory runs out.

    session: also all of this process's session; not where that is somebody's terminal, which would stay slow.
    """
    process = psutil.Process()
    with contextlib.suppress(psutil.Error, OSError):
        process.nice(15)
    with contextlib.suppress(psutil.Error, OSError, ValueError):
        process.ionice(psutil.IOPRIO_CLASS_BE, 7)
    # A session of its own, as every job has, may weigh as much as any other whatever its processes' nice values say:
    # the kernel's autogroups have one of their own. At 10 a job gets a tenth of a saturated processor; at 15 it got a
    # thirtieth, and images for which a quiet box needs a minute were not made in forty.
    for name, value in (("oom_score_adj", "500"), *((("autogroup", "10"),) if session else ())):
        with contextlib.suppress(OSError), open(f"/proc/self/{name}", "w") as stream:
            stream.write(value)


if __name__ == "__main__":
    program.exit_with(main)
