"""wardpose jobs: long work as it stands, and how it is stopped and gone on with."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from appliance.cli.asking import ask
from appliance.cli.output import Output

if TYPE_CHECKING:
    from appliance.jobs.store import Job


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "jobs", parents=[common], help="long work: what runs, what came of it, pause, stop, resume"
    )
    parser.add_argument(
        "what", nargs="?", choices=("list", "show", "log", "pause", "stop", "resume"), default="list",
        metavar="WHAT", help="list (default), show, log, pause, stop or resume; all but list take a number",
    )  # fmt: skip
    parser.add_argument("number", nargs="?", type=int, metavar="NUMBER", help="the job's (default: the newest)")
    parser.add_argument("--limit", type=int, default=20, help="so many of the newest in the list")
    parser.set_defaults(run=jobs)


def jobs(options: argparse.Namespace, out: Output) -> int:
    from appliance.jobs.store import JobStore
    from appliance.site.folder import SiteFolder
    from appliance.tui.job_words import state_of
    from calibration.errors import WardposeError

    if options.limit < 1:
        raise WardposeError(f"--limit must be 1 or more, got {options.limit}", where="jobs", mend="leave it out for 20")
    store = JobStore(SiteFolder.open(options.home))
    known = store.all(options.limit)
    if options.what == "list":
        out.table(("#", "job", "state", "how"), [(job.id, job.title, state_of(job), _how(job)) for job in known])
        if not known:
            out.say("none yet")
        out.answer({"ok": True, "jobs": [asdict(job) for job in known]})
        return 0
    if options.number is None and not known:
        raise WardposeError("there is no job yet", mend="`wardpose synth` makes one, and so does the terminal UI")
    job = store.get(known[0].id if options.number is None else options.number)
    if options.what == "stop":
        ask(options, "jobs.cancel", id=job.id)
    elif options.what == "pause":
        ask(options, "jobs.pause", id=job.id)
    elif options.what == "resume":
        ask(options, "jobs.resume", id=job.id)
    elif options.what == "log":
        lines = store.log_tail(job.id, 200)
        for line in lines or ["its log is empty"]:
            out.say(line)
    job = store.get(job.id)
    if options.what != "log":
        out.say(f"#{job.id} {job.title}: {state_of(job)}; {_how(job)}")
    out.answer({"ok": True, "job": asdict(job)})
    return 0


def _how(job: Job) -> str:
    """How far it is, or what came of it."""
    from appliance.tui.job_words import outcome

    if job.state == "running":
        return f"{job.done} of {job.total} {job.note}".strip() if job.total else job.note or "it begins"
    return outcome(job)[0]
