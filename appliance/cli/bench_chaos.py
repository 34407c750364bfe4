"""wardpose bench chaos: random faults on a live site of the simulated ward."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from appliance.cli.output import Output

_COLUMNS = {
    "fault": "fault", "tried": "tried", "showed": "showed", "shown_median_s": "shown after (s)",
    "shown_most_s": "at most", "recovered_median_s": "back after (s)", "recovered_most_s": "at most",
    "lost": "lost",
}  # fmt: skip


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    chaos = kinds.add_parser("chaos", parents=[common], help="random faults on a live site: shown when, back when?")
    chaos.add_argument("--faults", type=int, default=200, help="how many, default 200")
    chaos.add_argument("--minutes", type=float, default=10.0, help="in how long, default 10; longer on a slow box")
    chaos.add_argument("--seed", type=int, default=0, help="of the faults, default 0")
    chaos.set_defaults(run=strike, bench="chaos")


def strike(options: argparse.Namespace, out: Output) -> int:
    from appliance.faults.chaos import RECOVERED_S, SHOWN_S, run
    from calibration.errors import WardposeError

    if options.faults < 1 or not 0 < options.minutes <= 24 * 60:
        raise WardposeError("--faults must be 1 or more, --minutes at most a day", where="bench chaos")
    with tempfile.TemporaryDirectory(prefix="wardpose-chaos-") as work, out.progress("bench chaos") as progress:
        found = run(Path(work), faults=options.faults, minutes=options.minutes, seed=options.seed, progress=progress)
    out.table(tuple(_COLUMNS.values()), [tuple(row[key] for key in _COLUMNS) for row in found["rows"]])
    out.say(
        f"{found['faults']} faults in {found['seconds']:.0f} s, {found['lost']} not recovered from; shown within "
        f"{SHOWN_S:g} s: {_percent(found['shown_in_time'])}, back within {RECOVERED_S:g} s: "
        f"{_percent(found['recovered_in_time'])}; load {found['load']}"
    )
    out.answer(found)
    return 0 if found["ok"] else 1


def _percent(part: float | None) -> str:
    return "none tried" if part is None else f"{100 * part:.0f} %"
