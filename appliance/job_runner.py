"""Runs the site's jobs, and nothing else: `python -m appliance.job_runner`.

On a box with systemd it is a unit of its own (`wardpose-jobs`), so that a training run that eats memory or processor
takes neither from the live picture nor from the service, which then leaves the jobs to it.
"""

from __future__ import annotations

import argparse
import sys
import threading

from appliance import program
from appliance.jobs.runner import JobRunner, Turn
from appliance.jobs.store import KINDS
from appliance.site import closing
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError
from calibration.memory import give_back_freed_memory
from runtime.notify import notify

STEP_SECONDS = 0.5
TROUBLE_SECONDS = 10.0  # a full disk, for one: jobs go on when there is room


def run(site: SiteFolder, stopping: threading.Event, kinds: str = KINDS) -> None:
    """Run jobs until told to stop, then interrupt them; they can be resumed. While another program runs the site's
    jobs, wait until it has ended."""
    turn, runner = Turn(site), JobRunner(site, kinds)
    notify("READY=1")
    wait_s = 0.0
    while not stopping.wait(wait_s):
        wait_s = STEP_SECONDS
        notify("WATCHDOG=1")
        if not turn.take():
            continue
        try:
            runner.step()
        except WardposeError as error:
            sys.stderr.write(f"{error}\n")
            wait_s = TROUBLE_SECONDS
    notify("STOPPING=1")
    if turn.take():
        runner.stop_all()
    turn.release()


def main(arguments: list[str] | None = None) -> int:
    """Run one site's jobs in the foreground."""
    parser = argparse.ArgumentParser(prog="appliance.job_runner", description=__doc__)
    parser.add_argument("--home")
    parser.add_argument("--kinds", default=KINDS)
    options = parser.parse_args(arguments)
    program.prepare()
    give_back_freed_memory()
    stopping = threading.Event()
    program.end_by(stopping.set)
    closing.close_and_tell(options.home)
    run(SiteFolder.open(options.home), stopping, options.kinds)
    return 0


if __name__ == "__main__":
    program.exit_with(main)
