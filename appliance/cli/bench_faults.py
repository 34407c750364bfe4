"""wardpose bench faults: what is done to a site, and what it does then."""

from __future__ import annotations

import argparse
from typing import Any

from appliance.cli.output import Output

PARTS = ("kills", "pairs", "hostile", "disk", "live")


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    faults = kinds.add_parser("faults", parents=[common], help="kills, two at once, hostile files, full disks, crowds")
    faults.add_argument("--part", action="append", choices=PARTS, help="one of them alone (may be repeated)")
    faults.add_argument("--every", type=int, default=1, help="try each so many of the kill points, default 1")
    faults.set_defaults(run=measure, bench="faults")


def measure(options: argparse.Namespace, out: Output) -> int:
    from appliance.faults.suite import run
    from calibration.errors import WardposeError

    if options.every < 1:
        raise WardposeError("--every must be 1 or more", where="bench faults", mend="leave it out for every one")
    with out.progress("bench faults") as progress:
        rows = run(tuple(options.part or PARTS), every=options.every, progress=progress)
    columns = ("fault", "tried", "shown after (s)", "recovered after (s)", "lost")
    out.table(columns, [(row.fault, row.tried, row.shown_s, row.recovered_s, row.lost) for row in rows])
    lost = sum(row.lost for row in rows)
    out.say(f"{sum(row.tried for row in rows)} faults tried, {lost} lost")
    out.answer({"ok": lost == 0, "faults": [row.to_dict() for row in rows]})
    return 0 if lost == 0 else 1
