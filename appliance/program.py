"""How each of our programs that run without anybody watching begins and ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from appliance.box.silence import keep_silent
from calibration.errors import WardposeError
from calibration.memory import keep_out_of_dumps


def prepare() -> None:
    """What is written is this user's alone, libraries keep silent, and nothing seen goes to a core file or to swap."""
    os.umask(0o077)
    name_semaphores()
    keep_silent()
    keep_out_of_dumps()


def name_semaphores() -> None:
    """Let the named semaphores that `multiprocessing` makes for this program and its helpers say whose they are: what a
    kill leaves of them can be told from others' then (see `appliance.jobs.leftovers`)."""
    import multiprocessing

    multiprocessing.current_process()._config["semprefix"] = "/wardpose"  # type: ignore[attr-defined]


def end_by(stop: Callable[[], object]) -> None:
    """Let SIGTERM and Ctrl-C call `stop`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit by its code; what a person can mend is told in one line."""
    try:
        sys.exit(main())
    except WardposeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
