"""wardpose plates capture, list, show, remove: pictures of the empty bed that people are composed into."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.cli.asking import add_reason, ask
from appliance.cli.output import Output

if TYPE_CHECKING:
    from calibration.plate import Plate


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("plates", help="pictures of the empty bed that synthetic people are put into")
    deeds = parser.add_subparsers(title="what", metavar="WHAT", dest="what", required=True)
    capture = deeds.add_parser("capture", parents=[common], help="take one: empty the bed and step aside first")
    capture.add_argument("--name", help="default: the day")
    capture.add_argument("--source", help="where the pictures come from (default: the site's camera)")
    capture.add_argument("--seconds", type=float, default=3.0, help="how long to look")
    capture.add_argument("--expires", default="30d", metavar="SPAN", help="when the box deletes it: 12h, 7d, 2w")
    capture.add_argument("--keep", choices=("yes", "no"), help="keep it or not, without asking (default: ask, or no)")
    capture.add_argument("--picture", type=Path, metavar="FILE.png", help="write what was taken, to look at")
    add_reason(capture)
    capture.set_defaults(run=take)
    listing = deeds.add_parser("list", parents=[common], help="those that are kept")
    listing.set_defaults(run=show_all)
    show = deeds.add_parser("show", parents=[common], help="look at one; this is written down")
    show.add_argument("name", metavar="NAME", help="as `plates list` names it")
    show.add_argument("--picture", type=Path, metavar="FILE.png", help="write it to a file")
    add_reason(show)
    show.set_defaults(run=show_one)
    remove = deeds.add_parser("remove", parents=[common], help="delete one")
    remove.add_argument("name", metavar="NAME", help="as `plates list` names it")
    add_reason(remove)
    remove.set_defaults(run=remove_one)


def take(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside import plates
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    if options.name:
        plates.require_name(site, options.name)
    ask(options, "camera.look", source=plates.plate_source(site, options.source), what="plate", reason=options.reason)
    with out.progress("looking at the empty bed") as progress:
        plate = plates.capture(
            site, source=options.source, seconds=options.seconds, expires=options.expires, progress=progress
        )
    out.say(f"{plate.camera.width}×{plate.camera.height}, depth measured on {100 * plate.measured.mean():.0f} % of it")
    _show(plate, options.picture, out)
    if (options.keep or _ask()) != "yes":
        out.say("not kept; nothing of it is left")
        out.answer({"ok": True, "kept": False})
        return 0
    staged = plates.stage(site, plate)
    try:
        row = ask(options, "plates.keep", staged=staged, name=options.name or "", reason=options.reason)
    finally:
        plates.unstage(site, staged)
    out.say(f"plate {row['name']} is kept until {row['expires_at'][:10]}; the scenario `site` uses it")
    out.answer({"ok": True, "kept": True} | row)
    return 0


def show_all(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside import plates
    from appliance.site.folder import SiteFolder

    found = plates.rows(SiteFolder.open(options.home))
    lines = [(row.name, row.captured_at[:16], row.expires_at[:10], row.usable, row.why) for row in found]
    out.table(("plate", "taken (UTC)", "until", "used", "why not"), lines)
    if not found:
        out.say("none; empty the bed and take one: wardpose plates capture")
    out.answer({"plates": [asdict(row) for row in found]})
    return 0


def show_one(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside import plates
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    ask(options, "plates.look", name=options.name, reason=options.reason)
    plate = plates.look(site, options.name)
    _show(plate, options.picture, out)
    out.answer({"ok": True} | asdict(plates.find(site, options.name)))
    return 0


def remove_one(options: argparse.Namespace, out: Output) -> int:
    ask(options, "plates.remove", name=options.name, reason=options.reason)
    out.say(f"plate {options.name} is gone")
    out.answer({"ok": True, "removed": options.name})
    return 0


def _show(plate: Plate, path: Path | None, out: Output) -> None:
    """In the file that was asked for, else in the terminal's cells."""
    if path is not None:
        from calibration.atomic import write_bytes
        from calibration.plate import picture_of

        write_bytes(path, picture_of(plate))
        out.say(str(path))
    else:
        out.picture(plate.color)


def _ask() -> str:
    """`yes` where the person at the terminal says so; `no` where nobody is there."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return "no"
    print("The bed is empty and nobody is in it: keep it? [y/N]: ", end="", file=sys.stderr, flush=True)
    return "yes" if sys.stdin.readline().strip().lower()[:1] == "y" else "no"
