"""The process of one job: `python -m appliance.job_process --home SITE ID`. Started by `job_runner`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
import traceback

import psutil

from appliance.database import now
from appliance.jobs import KINDS, JobStore, load_kinds
from appliance.processes import process_identity
from appliance.site_folder import SiteFolder
from calibration.errors import WardposeError
from calibration.memory import keep_out_of_dumps

PROGRESS_SECONDS = 0.2  # rows are written no more often


def main(arguments: list[str] | None = None) -> int:
    """Run one job to its end and write how it went; the exit code is 0 only when it is done."""
    parser = argparse.ArgumentParser(prog="appliance.job_process", description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--kinds", default=KINDS)
    parser.add_argument("number", type=int)
    options = parser.parse_args(arguments)
    keep_out_of_dumps()
    # A shell that starts us in the background ignores SIGINT for us; being asked to stop must work all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    site = SiteFolder.open(options.home)
    process = JobProcess(site, options.number, options.kinds)
    return process.run()


class JobProcess:
    """Signs the row, does the work, writes the end."""

    def __init__(self, site: SiteFolder, number: int, kinds: str) -> None:
        self.site, self.number, self.kinds = site, number, kinds
        self.store = JobStore(site, kinds)
        self._written_at = 0.0

    def run(self) -> int:
        if not self._sign():
            return 3  # somebody else runs it, or it was taken back
        give_way()
        job = self.store.get(self.number)
        try:
            kind = load_kinds(self.kinds)[job.kind]
            result = kind.run(self.site, job.parameters, self.progress)
            text = json.dumps(result)
        except KeyboardInterrupt:
            cancelled = self.store.get(self.number).cancel_requested
            self._end("cancelled" if cancelled else "interrupted", error="" if cancelled else "stopped from outside")
            return 130
        except WardposeError as error:
            self._end("failed", error=str(error))
            return 1
        except Exception as error:
            traceback.print_exc()  # to the job's log
            self._end("failed", error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            return 1
        self._end("done", result=text)
        return 0

    def progress(self, done: int, total: int, note: str) -> None:
        """Written at most five times a second; raises `KeyboardInterrupt` when somebody asked the job to stop."""
        if done < total and time.monotonic() - self._written_at < PROGRESS_SECONDS:
            return
        self._written_at = time.monotonic()
        with self.site.database.transaction() as db:
            db.execute("UPDATE jobs SET done = ?, total = ?, note = ? WHERE id = ?", (done, total, note, self.number))
            row = db.execute("SELECT cancel_requested FROM jobs WHERE id = ?", (self.number,)).fetchone()
        if row["cancel_requested"]:
            raise KeyboardInterrupt

    def _sign(self) -> bool:
        with self.site.database.transaction(immediate=True) as db:
            changed = db.execute(
                "UPDATE jobs SET process = ? WHERE id = ? AND state = 'running' AND process = ''",
                (process_identity(os.getpid()), self.number),
            )
            return changed.rowcount == 1

    def _end(self, state: str, *, result: str = "", error: str = "") -> None:
        with self.site.database.transaction(immediate=True) as db:
            db.execute(
                "UPDATE jobs SET state = ?, finished_at = ?, result = ?, error = ?, "
                "done = CASE WHEN ? = 'done' THEN total ELSE done END WHERE id = ?",
                (state, now(), result, error, state, self.number),
            )


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
    try:
        sys.exit(main())
    except WardposeError as error:
        sys.exit(str(error))
