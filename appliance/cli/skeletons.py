"""wardpose skeletons record, list, export, delete: what was seen of people over time, without a picture."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from appliance.cli.asking import add_reason, ask
from appliance.cli.output import Output


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("skeletons", help="keep skeletons over time, for a reason, until they expire")
    deeds = parser.add_subparsers(title="what", metavar="WHAT", dest="what", required=True)
    record = deeds.add_parser("record", parents=[common], help="keep what the live path says of people, from now on")
    record.add_argument("name", help="what to call them")
    record.add_argument("--seconds", type=float, required=True, help="how long")
    record.add_argument("--reason", required=True, help="why, in a few words; the audit trail keeps it")
    record.add_argument("--expires", required=True, metavar="SPAN", help="when the box deletes them: 12h, 7d, 2w")
    record.set_defaults(run=record_stream)
    listing = deeds.add_parser("list", parents=[common], help="those that are kept")
    listing.set_defaults(run=list_streams)
    export = deeds.add_parser("export", parents=[common], help="write them for other programs; this is written down")
    export.add_argument("name", metavar="NAME", help="as `skeletons list` names them")
    export.add_argument("--to", choices=("c3d", "bids", "csv"), required=True, help="the format")
    export.add_argument("--out", type=Path, required=True, help="the file; for bids, the folder")
    export.add_argument("--person", type=int, help="one person alone, by the number (default: everybody)")
    add_reason(export)
    export.set_defaults(run=export_stream)
    delete = deeds.add_parser("delete", parents=[common], help="delete them before their time")
    delete.add_argument("name", metavar="NAME", help="as `skeletons list` names them")
    add_reason(delete)
    delete.set_defaults(run=delete_stream)


def record_stream(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside.skeleton_streams import record
    from appliance.site.folder import SiteFolder

    with out.progress("keeping skeletons") as progress:
        done = record(
            SiteFolder.open(options.home), options.name, partial(ask, options), seconds=options.seconds,
            reason=options.reason, expires=options.expires, progress=progress,
        )  # fmt: skip
    out.say(f"{done['name']}: {done['rows']} skeletons in {done['frames']} frames, {done['seconds']:.1f} s; no picture")
    out.say(f"only this user can read it; the box deletes it at {done['expires_at']}")
    out.answer({"ok": True} | done)
    return 0


def list_streams(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside.skeleton_streams import rows, told
    from appliance.site.folder import SiteFolder

    found = rows(SiteFolder.open(options.home))
    out.table(
        ("name", "made (UTC)", "until", "kB", "why"),
        [(row.name, row.made_at[:16], row.expires_at[:16], round(row.bytes / 1e3, 1), row.reason) for row in found],
    )
    if not found:
        out.say("none are kept")
    out.answer({"skeletons": [told(row) for row in found]})
    return 0


def export_stream(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside.skeleton_streams import export, require
    from appliance.site.folder import SiteFolder

    file = require(SiteFolder.open(options.home), options.name)
    target = options.out.absolute()
    ask(options, "skeletons.export", name=options.name, to=options.to, out=str(target), reason=options.reason)
    written = export(file, options.to, target, options.person)
    for path in written:
        out.say(str(path))
    out.say("what was exported is yours to delete: the box does not know when it expires")
    out.answer({"ok": True, "written": [str(path) for path in written]})
    return 0


def delete_stream(options: argparse.Namespace, out: Output) -> int:
    ask(options, "skeletons.delete", name=options.name, reason=options.reason)
    out.say(f"{options.name} is deleted")
    out.answer({"ok": True, "deleted": options.name})
    return 0
