"""wardpose engines: the inference engines for the live models, which of them serve, and why not the others."""

from __future__ import annotations

import argparse
from typing import Any

from appliance.cli.output import Output


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "engines", parents=[common], help="the inference engines for the live models: which serve, why not the others"
    )
    parser.add_argument("--measure", action="store_true", help="try every engine now, which takes a few minutes")
    parser.set_defaults(run=show_engines)


def show_engines(options: argparse.Namespace, out: Output) -> int:
    from appliance.live.engines import known_engines, measure_engines
    from appliance.site.folder import SiteFolder
    from runtime.engines.engine import engine_names

    site = SiteFolder.open(options.home)
    if options.measure:
        names = engine_names()
        with out.progress("trying engines") as progress:
            tried = iter(range(2 * len(names)))
            measure_engines(
                site, lambda stage, name: progress(next(tried, len(names)), 2 * len(names), f"{stage}: {name}")
            )
            progress(2 * len(names), 2 * len(names), "done")
    rows = [row.to_dict() for row in known_engines(site)]
    out.table(
        ("engine", "serves", "qualifies", "detector ms", "pose ms", "threads", "why not"),
        [
            (r["name"], ", ".join(r["used"]), r["qualifies"], r["detector_ms"], r["pose_ms"], _threads(r), r["why"])
            for r in rows
        ],
    )
    out.answer({"engines": rows})
    return 0


def _threads(row: dict[str, Any]) -> str:
    return f"{row['threads'] or ''}{', pinned' if row['pinned'] else ''}"
