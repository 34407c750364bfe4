"""wardpose doctor, setup, kept, status, test: the box itself."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from appliance.cli.output import Output
from calibration.errors import WardposeError


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "doctor", parents=[common], help="what this box has, what it lacks, what to do about it"
    )
    parser.add_argument("--mend", action="store_true", help="mend first what can be mended here, and say what was done")
    parser.set_defaults(run=doctor)
    parser = commands.add_parser(
        "setup", parents=[common], help="install what a full appliance wants besides the environment"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--kinect", action="store_true", help="only what an Azure Kinect or its successors need")
    parser.add_argument(
        "--external", metavar="NAME", help="only the environment of an external trainer: mmdetection (DINO), "
        "salience-detr",
    )  # fmt: skip
    parser.add_argument(
        "--checkout", type=Path, metavar="DIR", help="with --external: its authors' code, where the trainer needs it"
    )
    parser.set_defaults(run=setup)
    parser = commands.add_parser("kept", parents=[common], help="what is kept that came from pixels: how long, by whom")
    parser.set_defaults(run=kept)
    parser = commands.add_parser("status", parents=[common], help="how this site is now: live picture, models, jobs")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of the service's calls instead")
    parser.set_defaults(run=status)
    parser = commands.add_parser("test", parents=[common], help="run the test suite (further arguments go to pytest)")
    parser.set_defaults(run=test, rest=[])


def doctor(options: argparse.Namespace, out: Output) -> int:
    from appliance.box.doctor import examine
    from appliance.client import ask_or_do
    from appliance.deeds import Deeds
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    mended: list[str] = []
    if options.mend:  # a service that is only just started would have closed the site itself
        mended = ask_or_do(site, "site.close", lambda: Deeds(site).ask("site.close"))["mended"]
    for line in mended:
        out.say(f"mended {line}")
    if options.mend and not mended:
        out.say("nothing to mend: no file of the site was open to others, and no ballast is to be freed or laid down")
    report = examine(site)
    for check in report.checks:
        mark = "ok     " if check.ok else ("absent " if check.optional else "MISSING")
        out.say(f"{mark} {check.name}: {check.detail}")
        if not check.ok and check.mend:
            out.say(f"        → {check.mend}")
    lacking = [check.name for check in report.checks if not check.ok and not check.optional]
    out.say(
        f"needs mending: {', '.join(lacking)}" if lacking else "this box can run the demo, the tests and the live path"
    )
    out.answer(report.to_dict() | {"mended": mended})
    return 0 if report.ok else 1


def kept(options: argparse.Namespace, out: Output) -> int:
    """The table of what is kept, with what of it lies in this site's folder; 1 where something lies there that stands
    in no row."""
    from appliance.box import kept as register
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    rows, strays, swaps = register.found(site), register.strays(site), register.swaps()
    for row in rows:
        if not row.row.from_pixels:
            continue
        here = ""
        if row.row.patterns:
            size = f"{row.bytes / 1e6:.1f} MB, the newest of {row.newest[:16].replace('T', ' ')} UTC"
            here = f": {row.files} file{'' if row.files == 1 else 's'}, {size}" if row.files else ": none now"
        out.say(f"{row.row.what}{here}".replace("`", ""))
        out.say(f"        {row.row.where}; kept {row.row.how_long}".replace("`", ""))
        out.say(f"        agreed: {row.row.who_agreed}; deleted: {row.row.how_deleted}".replace("`", ""))
    out.say(f"this box {'has swap: memory may be written to it' if swaps else 'has no swap'}")
    for stray in strays:
        out.say(f"NOT EXPLAINED: {stray}")
    out.answer({"ok": not strays, "kept": [row.to_dict() for row in rows], "unexplained": strays, "swap": swaps})
    return 1 if strays else 0


def status(options: argparse.Namespace, out: Output) -> int:
    """What the service says; where none runs, what is found: processes, sockets, files. None is started for this."""
    from dataclasses import asdict

    from appliance.client import ServiceClient
    from appliance.jobs.runner import NOBODY_RUNS_JOBS, START_THEM, JobRunner, Turn
    from appliance.jobs.store import JobStore
    from appliance.live import station
    from appliance.live.status import live_words, look_once
    from appliance.models.in_use import models_in_use, told_in_use
    from appliance.site import calibrations
    from appliance.site.folder import SiteFolder
    from appliance.tui.job_words import state_of
    from calibration.disk import look

    if options.schema:
        from appliance.wire import schema

        if not out.as_json:
            out.say(json.dumps(schema(), indent=1))
        out.answer(schema())
        return 0
    site = SiteFolder.open(options.home)
    with ServiceClient(site) as client:
        served = client.answers()
        told = client.status() if served else look_once(site)
    trouble = look(site.root)
    if not served and trouble is None:  # nobody looks after jobs: those that have ended are said to have
        turn = Turn(site)
        if turn.take():
            JobRunner(site).settle()
        turn.release()
    row, jobs = calibrations.current_row(site), JobStore(site).all(20)
    models, view = told_in_use(site), station.told(site)
    active = [f"#{job.id} {job.title}: {state_of(job)} ({100 * job.fraction:.0f} %)" for job in jobs if job.active]
    last = f"none runs; the last was #{jobs[0].id} {jobs[0].title}: {jobs[0].state}" if jobs else "none yet"
    rows = [
        ("service", f"process {told['pid']}" if served else "does not run; `wardpose` starts it"),
        ("live", live_words(told)[0]),
        *([("run by", told["live"]["owner"]["words"])] if told["live"]["owner"] else []),
        ("so far", told["outages"]["words"]),
        ("calibration", f"number {row.id}, by {row.method}, {row.made_at}" if row else "none yet"),
        *((model.kind, model.text) for model in models),
        ("jobs", "; ".join(active) or last),
        *([("outside", f"the ward's station may look, by PIN: {', '.join(view['addresses'])}")] if view["on"] else []),
        *([("disk", f"{trouble.words}; {trouble.mend}")] if trouble else []),
        *([("", f"{NOBODY_RUNS_JOBS}; {START_THEM}")] if served and active and not told["runner"] else []),
    ]
    for name, text in rows:
        out.say(f"{name:<12} {text}")
    own = {
        "site": str(site.root),
        "models": models_in_use(site),
        "calibration": asdict(row) if row else None,
        "disk": trouble.words if trouble else None,
        "skeleton": any(model.task == "pose" and model.name and not model.broken for model in models),
    }
    out.answer({"ok": True, "service": served} | told | own)
    return 0


def setup(options: argparse.Namespace, out: Output) -> int:
    from appliance.box.setup_full import carry_out, external_plan, plan
    from appliance.client import ask_or_do
    from appliance.deeds import Deeds
    from appliance.site.folder import SiteFolder

    steps = [step for step in plan() if step.for_kinect or not options.kinect]
    if options.external:
        steps = external_plan(options.external, options.checkout)
    elif options.checkout:
        raise WardposeError(
            "--checkout belongs to an external trainer", where="wardpose setup", mend="name that with --external"
        )
    done = carry_out(steps, dry_run=options.dry_run, say=out.say)
    if installed := [step["name"] for step in done if step["done"]]:
        site = SiteFolder.open(options.home)  # of another user, it may be: root is no client of its service
        ask_or_do(site, "box.installed", lambda: Deeds(site).ask("box.installed", names=installed), names=installed)
    out.answer({"ok": all(step["ok"] for step in done), "dry_run": options.dry_run, "steps": done})
    return 0 if all(step["ok"] for step in done) else 1


def test(options: argparse.Namespace, out: Output) -> int:
    from appliance.site.folder import REPOSITORY

    # A file's tests stay together, in order, in one of a few processes, one more than cores: most wait for something
    # most of the time.
    processes = ["-n", str(max(2, min(4, (os.cpu_count() or 1) + 1))), "--dist", "loadfile", "--no-loadscope-reorder"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *processes, *options.rest]
    ended = subprocess.run(command, cwd=REPOSITORY, check=False)
    out.answer({"ok": ended.returncode == 0, "exit_code": ended.returncode})
    return ended.returncode
