"""wardpose bench soak: a site on the simulated ward for an hour, with jobs beside it; does anything grow?"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from appliance.cli.output import Output


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    soak = kinds.add_parser("soak", parents=[common], help="a site with jobs beside it for an hour: what grows?")
    soak.add_argument("--minutes", type=float, default=60.0, help="default 60")
    soak.add_argument("--out", type=Path, help="folder that keeps the curve (default: soak, here)")
    soak.set_defaults(run=soak_site, bench="soak")


def soak_site(options: argparse.Namespace, out: Output) -> int:
    from appliance.faults.soaked_site import made_by_design, soaked_site
    from benchmarks.soak import run
    from calibration.errors import WardposeError

    if not 0 < options.minutes <= 60 * 24 * 30:
        raise WardposeError("--minutes must be more than nought, at most a month", where="bench soak")
    folder = (options.out or Path("soak")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="wardpose-soak-") as work,
        out.progress("bench soak") as progress,
        soaked_site(Path(work), progress) as (site, service, socket, jobs),
    ):
        found = run(
            options.minutes, service=service, socket=socket, site=site.root, key=site.key, out=folder,
            beside=lambda: jobs.done, aside=made_by_design, temporary=Path(work) / "tmp", progress=progress,
        )  # fmt: skip
    found |= {"jobs": jobs.done, "jobs_failed": jobs.failed}
    rows = [
        (name, *(value[key] for key in ("start", "end", "per_hour", "low", "high", "tolerance", "verdict")))
        for name, value in found["growth"].items()
    ]
    out.table(("what", "start", "end", "an hour", "at least", "at most", "allowed", "verdict"), rows)
    grew = [name for name, value in found["growth"].items() if value["verdict"] == "grows"]
    out.say(f"{'grows: ' + ', '.join(grew) if grew else 'nothing is known to grow'}; curve: {found['curve']}")
    out.answer(found)
    return 0 if found["ok"] else 1
