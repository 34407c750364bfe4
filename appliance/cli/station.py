"""wardpose doctor, setup, test: the box itself."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import Any

from appliance.cli.output import Output


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "doctor", parents=[common], help="what this box has, what it lacks, what to do about it"
    )
    parser.set_defaults(run=doctor)
    parser = commands.add_parser(
        "setup", parents=[common], help="install what a full appliance wants besides the environment"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--kinect", action="store_true", help="only what an Azure Kinect or its successors need")
    parser.set_defaults(run=setup)
    parser = commands.add_parser("test", parents=[common], help="run the test suite (further arguments go to pytest)")
    parser.set_defaults(run=test, rest=[])


def doctor(options: argparse.Namespace, out: Output) -> int:
    from appliance.doctor import examine
    from appliance.site_folder import SiteFolder

    report = examine(SiteFolder.open(options.home))
    for check in report.checks:
        mark = "ok     " if check.ok else ("absent " if check.optional else "MISSING")
        out.say(f"{mark} {check.name}: {check.detail}")
        if not check.ok and check.mend:
            out.say(f"        → {check.mend}")
    lacking = [check.name for check in report.checks if not check.ok and not check.optional]
    out.say(
        f"needs mending: {', '.join(lacking)}" if lacking else "this box can run the demo, the tests and the live path"
    )
    out.answer(report.to_dict())
    return 0 if report.ok else 1


def setup(options: argparse.Namespace, out: Output) -> int:
    from appliance.setup_full import carry_out, plan

    steps = [step for step in plan() if step.for_kinect or not options.kinect]
    done = carry_out(steps, dry_run=options.dry_run, say=out.say)
    out.answer({"ok": all(step["ok"] for step in done), "dry_run": options.dry_run, "steps": done})
    return 0 if all(step["ok"] for step in done) else 1


def test(options: argparse.Namespace, out: Output) -> int:
    from appliance.site_folder import REPOSITORY

    # A file's tests stay together, in order, in one of a few processes: most wait for something most of the time.
    processes = ["-n", str(max(2, min(4, os.cpu_count() or 1))), "--dist", "loadfile"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *processes, *options.rest]
    ended = subprocess.run(command, cwd=REPOSITORY, check=False)
    out.answer({"ok": ended.returncode == 0, "exit_code": ended.returncode})
    return ended.returncode
