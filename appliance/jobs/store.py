"""Long work, each piece in a process of its own that survives the runner, and is missed when it is killed.

A job is a row in `site.db`. States: queued → running → done | failed | cancelled | interrupted; an interrupted job of
a resumable kind can be queued again and carries on. A paused one stays queued or running, and waits: with its memory,
at the next place where it holds nothing of others, or, where its process ends meanwhile, in the queue.
`jobs.runner.JobRunner` starts, watches and stops the processes; each (`job_process`) alone writes its own progress and
how it ended, so a runner that is killed and started again finds everything as it was. A job's state changes once its
last process is gone, not before.
"""

from __future__ import annotations

import importlib
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from appliance.site import audit
from appliance.site.database import now
from appliance.site.folder import SiteFolder
from appliance.site.people import current_user
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.progress import Progress
from calibration.redaction import redacted
from runtime.capture.secrets import keep

KINDS = "appliance.jobs.kinds"
ACTIVE = ("queued", "running")
STOPPED = ("failed", "cancelled", "interrupted")
DEFECT = "a defect in wardpose: "  # begins the error of a job that failed by no fault of whoever asked for it


@dataclass(frozen=True, slots=True)
class JobKind:
    """One sort of work. `run(site, parameters, progress)` returns figures for JSON.

    resumable: run again with the same parameters, and `resume` where it had begun, it carries on where it was cut off.
    heavy: takes the processor for minutes; only one such job runs at a time.
    """

    name: str
    title: str
    run: Callable[[SiteFolder, Mapping[str, Any], Progress], dict[str, Any]]
    resumable: bool = True
    heavy: bool = True


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the table; times are UTC text, `done` of `total` steps, `error` is one line.

    asked_by: the person. outcome: how its process says it ended; the state follows when the last process is gone.
    """

    id: int
    kind: str
    title: str
    parameters: dict[str, Any]
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    heavy: bool
    resumable: bool
    created_at: str
    started_at: str
    finished_at: str
    process: str
    attempts: int
    cancel_requested: bool
    done: int
    total: int
    note: str
    result: dict[str, Any] | None
    error: str
    asked_by: str
    outcome: str
    pause_requested: bool = False
    held: bool = False

    @property
    def paused(self) -> bool:
        """Whether it waits because somebody wants it to; one that runs still is about to."""
        return self.pause_requested and (self.state == "queued" or self.held)

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def why_not_paused(self) -> str:
        """Why it can't be paused; empty where it can, or already is."""
        if not self.active:
            return f"it is {self.state}"
        if self.cancel_requested:
            return "it is being stopped"
        if not self.heavy:
            return "it is over in moments"
        return "" if self.resumable else "it could not carry on if its process ended meanwhile"

    @property
    def fraction(self) -> float:
        """Done of total in [0, 1]; 0 while the total is unknown."""
        return min(self.done / self.total, 1.0) if self.total > 0 else 0.0


def load_kinds(module: str = KINDS) -> dict[str, JobKind]:
    """The kinds a module offers in its `JOB_KINDS`, by name."""
    return {kind.name: kind for kind in importlib.import_module(module).JOB_KINDS}


class JobStore:
    """Jobs as rows: asked for by anyone, run by `JobRunner`."""

    def __init__(self, site: SiteFolder, kinds: str = KINDS) -> None:
        self.site, self.kinds = site, kinds
        self.unwritten: dict[int, tuple[str, str]] = {}  # state and error of ended jobs whose disk takes no row

    def submit(self, kind: str, parameters: Mapping[str, Any] | None = None) -> Job:
        """Queue one job; raises `WardposeError` for a kind that doesn't exist."""
        known = load_kinds(self.kinds)
        if kind not in known:
            raise WardposeError(f"no job is called {kind!r}", mend=f"choose one of: {', '.join(sorted(known))}")
        told = json.dumps(
            {
                name: keep(self.site.secrets_file, value) if isinstance(value, str) else value
                for name, value in (parameters or {}).items()
            },
            sort_keys=True,
        )
        with audit.deed(self.site, "job.submit", kind, told[:500]) as db:
            row = db.execute(
                "INSERT INTO jobs (kind, title, parameters, heavy, resumable, created_at, asked_by) "
                "VALUES (?,?,?,?,?,?,?)",
                (kind, known[kind].title, told, known[kind].heavy, known[kind].resumable, now(), current_user()),
            )
            number = int(row.lastrowid or 0)
        return self.get(number)

    def get(self, number: int) -> Job:
        with self.site.database.transaction() as db:
            row = db.execute("SELECT * FROM jobs WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise WardposeError(f"there is no job {number}", mend="the jobs screen and `wardpose` list them")
        return self._job(row)

    def all(self, limit: int = 100, *, states: Sequence[str] = (*ACTIVE, *STOPPED, "done")) -> list[Job]:
        """The newest first."""
        marks = ", ".join("?" * len(states))
        with self.site.database.transaction() as db:
            rows = db.execute(
                f"SELECT * FROM jobs WHERE state IN ({marks}) ORDER BY id DESC LIMIT ?", (*states, limit)
            ).fetchall()
        return [self._job(row) for row in rows]

    def cancel(self, number: int) -> Job:
        """Ask a job to stop; a queued one is cancelled at once, a running one by its runner within a second."""
        job = self.get(number)
        with self.site.database.transaction(immediate=True) as db:
            asked = db.execute(
                "UPDATE jobs SET cancel_requested = 1, pause_requested = 0 "
                "WHERE id = ? AND state = 'running' AND cancel_requested = 0",
                (number,),
            ).rowcount
            asked += db.execute(
                "UPDATE jobs SET state = 'cancelled', finished_at = ?, pause_requested = 0 "
                "WHERE id = ? AND state = 'queued'",
                (now(), number),
            ).rowcount
            if asked:
                audit.add(self.site, db, "job.cancel", f"#{number} {job.kind}")
        audit.seal(self.site)
        return self.get(number)

    def pause(self, number: int) -> Job:
        """Let a job wait until it is resumed: a queued one where it is, a running one at its next step.

        Raises `WardposeError` where it can't be (see `Job.why_not_paused`).
        """
        job = self.get(number)
        if why := job.why_not_paused:
            mend = "wait for it, or stop it" if job.active else "only what runs or waits can be paused"
            raise WardposeError(f"job {number} ({job.title}) can't be paused: {why}", mend=mend)
        with self.site.database.transaction(immediate=True) as db:
            asked = db.execute(
                "UPDATE jobs SET pause_requested = 1 WHERE id = ? AND state IN ('queued', 'running') "
                "AND pause_requested = 0 AND cancel_requested = 0",
                (number,),
            ).rowcount
            if asked:
                audit.add(self.site, db, "job.pause", f"#{number} {job.kind}")
        audit.seal(self.site)
        return self.get(number)

    def resume(self, number: int) -> Job:
        """Let a paused job go on; queue a failed, cancelled or interrupted one again: a resumable kind carries on where
        it was."""
        job = self.get(number)
        if job.active and job.pause_requested:
            with audit.deed(self.site, "job.resume", f"#{number} {job.kind}") as db:
                went_on = db.execute(
                    "UPDATE jobs SET pause_requested = 0 WHERE id = ? AND pause_requested = 1", (number,)
                ).rowcount
                _require_first(went_on, number)
            return self.get(number)
        if job.state not in STOPPED:
            raise WardposeError(f"job {number} is {job.state}", mend="only a paused or a stopped job can be resumed")
        with audit.deed(self.site, "job.resume", f"#{number} {job.kind}") as db:
            queued = db.execute(
                "UPDATE jobs SET state = 'queued', cancel_requested = 0, process = '', error = '', finished_at = '', "
                "outcome = '', pause_requested = 0, asked_by = ? WHERE id = ? AND state = ?",
                (current_user(), number, job.state),
            ).rowcount
            _require_first(queued, number)
        return self.get(number)

    def _job(self, row: sqlite3.Row) -> Job:
        job = _job(row)
        if job.state == "running" and job.id in self.unwritten:
            state, error = self.unwritten[job.id]
            job = replace(job, state=cast(Any, state), error=error)
        return job

    def log_file(self, number: int) -> Path:
        return self.site.logs / f"job-{number:05d}.log"

    def steps_file(self, number: int) -> Path:
        """Where a job notes how it goes, a line each: seconds, done, total, note."""
        return self.site.logs / f"job-{number:05d}.steps"

    def steps(self, number: int) -> list[Step]:
        """How a job went so far; its last attempt's where there were several."""
        try:
            lines = self.steps_file(number).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        found: list[Step] = []
        for line in lines:
            parts = line.split("\t", 3)
            try:
                step = Step(float(parts[0]), int(parts[1]), int(parts[2]), parts[3])
            except (ValueError, IndexError):
                continue  # cut off by a power cut
            if found and step.seconds < found[-1].seconds:
                found = []
            found.append(step)
        return found

    def log_tail(self, number: int, lines: int = 40) -> list[str]:
        """The last lines a job wrote."""
        path = self.log_file(number)
        if not path.exists():
            return []
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 64_000))
            return [redacted(line) for line in stream.read().decode(errors="replace").splitlines()[-lines:]]


@dataclass(frozen=True, slots=True)
class Step:
    """How far a job was at one moment. seconds: since its process began."""

    seconds: float
    done: int
    total: int
    note: str


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    values["parameters"] = parse_json(values["parameters"])
    values["result"] = parse_json(values["result"]) if values["result"] else None
    for name in ("heavy", "resumable", "cancel_requested", "pause_requested", "held"):
        values[name] = bool(values[name])
    return Job(**values)


def _require_first(changed: int, number: int) -> None:
    """Of two who resume a job at once the second is told so, and writes no row of a deed that was none."""
    if not changed:
        raise WardposeError(f"job {number} was resumed by somebody else just now", mend="see `wardpose jobs`")
