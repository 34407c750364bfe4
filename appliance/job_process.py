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
from appliance.jobs.store import DEFECT, KINDS, Job, JobStore, load_kinds
from appliance.site.folder import SiteFolder
from appliance.site.people import acting_as
from calibration.errors import WardposeError
from calibration.processes import process_identity
from calibration.redaction import redacted

PROGRESS_SECONDS = 0.2  # rows are written no more often


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
            result = kind.run(self.site, job.parameters, self.progress)
            text = json.dumps(result)
        except (KeyboardInterrupt, Exception) as error:
            return self._end_with(error)
        self._end("done", result=text)
        return 0

    def _end_with(self, error: BaseException) -> int:
        cancelled = self.store.get(self.number).cancel_requested
        if cancelled or self._interrupted or isinstance(error, KeyboardInterrupt):
            self._end("cancelled" if cancelled else "interrupted", error="" if cancelled else "stopped from outside")
            return 130
        if isinstance(error, WardposeError):
            self._end("failed", error=str(error))
        else:
            sys.stderr.write(redacted(traceback.format_exc()))  # to the job's log
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            where = f"{self.store.log_file(self.number)} says where; report it"
            self._end("failed", error=redacted(f"{DEFECT}{text}; {where}"))
        return 1

    def progress(self, done: int, total: int, note: str) -> None:
        """Written at most five times a second; raises `KeyboardInterrupt` when somebody asked the job to stop."""
        if done < total and time.monotonic() - self._written_at < PROGRESS_SECONDS:
            return
        self._written_at = time.monotonic()
        with self.site.database.transaction() as db:
            db.execute("UPDATE jobs SET done = ?, total = ?, note = ? WHERE id = ?", (done, total, note, self.number))
            row = db.execute("SELECT cancel_requested FROM jobs WHERE id = ?", (self.number,)).fetchone()
        if row["cancel_requested"] or self._interrupted:
            raise KeyboardInterrupt

    def _sign(self) -> bool:
        with self.site.database.transaction(immediate=True) as db:
            changed = db.execute(
                "UPDATE jobs SET process = ? WHERE id = ? AND state = 'running' AND process = ''",
                (process_identity(os.getpid()), self.number),
            )
            return changed.rowcount == 1

    def _end(self, state: str, *, result: str = "", error: str = "") -> None:
        """The last word. The runner makes it the job's state once this process and all its helpers are gone."""
        outcome = json.dumps({"state": state, "result": result, "error": error})
        with self.site.database.transaction(immediate=True) as db:
            db.execute("UPDATE jobs SET outcome = ? WHERE id = ?", (outcome, self.number))


def give_way() -> None:
    """Let the live picture win: least processor and disk weight, and first to go when memory runs out."""
    process = psutil.Process()
    with contextlib.suppress(psutil.Error, OSError):
        process.nice(15)
    with contextlib.suppress(psutil.Error, OSError, ValueError):
        process.ionice(psutil.IOPRIO_CLASS_BE, 7)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as stream:
        stream.write("500")


if __name__ == "__main__":
    program.exit_with(main)
