"""wardpose audit: who did what, when and why, and whether the trail is whole."""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from appliance.cli.output import Output

if TYPE_CHECKING:
    from appliance.site.audit import AuditRow, Verdict

SHOWN = 50  # rows, to a person who asks for no time and nobody
NARROWEST = 60


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("audit", parents=[common], help="who did what and why, and whether a row is missing")
    parser.add_argument("--since", metavar="WHEN", help="7d, 12h, 2026-11-01: no older rows (default: the newest 50)")
    parser.add_argument("--who", metavar="NAME", help="only what this person did, by log-in or account")
    parser.add_argument("--csv", action="store_true", help="print the rows as a table for another program")
    parser.set_defaults(run=show_audit)


def show_audit(options: argparse.Namespace, out: Output) -> int:
    from appliance.site import audit, roles
    from appliance.site.folder import SiteFolder
    from calibration.errors import WardposeError

    if options.csv and out.as_json:
        raise WardposeError("--csv and --json exclude each other", mend="give one of them")
    site = SiteFolder.open(options.home)
    roles.require(site, roles.READING_THE_TRAIL, "reading the audit trail")
    since = audit.parse_since(options.since) if options.since else None
    rows = audit.rows(site, None, since=since, who=options.who or "")
    verdict = audit.verify(site)
    if options.csv:
        out.say(_csv(rows[::-1]).rstrip("\r\n"))
        _tell(verdict, lambda line: print(line, file=sys.stderr))
    elif not out.as_json:
        shown = rows if options.since or options.who else rows[:SHOWN]
        for line in _lines(shown[::-1]):
            out.say(line)
        if len(shown) < len(rows):
            out.say(f"the newest {len(shown)} of {len(rows)} rows; --since 30d shows more")
        elif not rows:
            out.say("no row" + (" of that time or person" if options.since or options.who else " yet"))
        _tell(verdict, out.say)
    out.answer({
        "ok": verdict.whole, "rows": [row.to_dict() for row in rows[::-1]],
        "chain": "whole" if verdict.whole else "broken",
        "breaks": [{"row": place.row, "what": place.what} for place in verdict.breaks],
        "head": {"row": verdict.head.row, "hash": verdict.head.hash},
    })  # fmt: skip
    return 0 if verdict.whole else 1


def _tell(verdict: Verdict, say: Any) -> None:
    for place in verdict.breaks:
        say(f"BROKEN at row {place.row}: {place.what}")
    if verdict.whole and verdict.rows:
        say(f"the chain of all {verdict.rows} rows is whole; its head, worth noting elsewhere:")
        say(f"  {verdict.head.hash}")
    elif verdict.breaks:
        say("the chain is broken: rows were lost, changed or put in from outside, or site.db is an older copy")


def _lines(rows: list[AuditRow]) -> list[str]:
    """Time, person and deed on one line, to what and why below it; times are local."""
    from datetime import datetime

    width = max(shutil.get_terminal_size().columns - 1, NARROWEST)
    people = max((len(row.who) for row in rows), default=0)
    told, day = [], ""
    for row in rows:
        at = datetime.fromisoformat(row.at).astimezone()
        if (today := f"{at:%A %d %B %Y}") != day:
            told.append(f"{today} ({at:%Z})")
            day = today
        told.append(f"  {at:%H:%M:%S}  {row.who:<{people}}  {row.what}")
        for text in (row.subject, row.reason):
            told += textwrap.wrap(text, width, initial_indent=" " * 12, subsequent_indent=" " * 14)
    return told


def _csv(rows: list[AuditRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["at", "who", "what", "subject", "why"])
    for row in rows:
        values = row.to_dict()
        writer.writerow([_harmless(values[name]) for name in ("at", "who", "what", "subject", "why")])
    return text.getvalue()


def _harmless(cell: str) -> str:
    """A cell that a spreadsheet does not take for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
