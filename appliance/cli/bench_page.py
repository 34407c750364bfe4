"""wardpose bench page: how far behind the camera is what the bedside page paints, in a real browser?"""

from __future__ import annotations

import argparse
from typing import Any

from appliance.cli.output import Output


def add(kinds: Any, common: argparse.ArgumentParser) -> None:
    page = kinds.add_parser("page", parents=[common], help="the bedside page in Chromium: frame to painted")
    page.add_argument("--seconds", type=float, default=10.0, help="default 10")
    page.add_argument(
        "--live",
        action="store_true",
        help="follow the live path of this site from the camera on; start it first: wardpose run --headless",
    )
    page.set_defaults(run=measure_page, bench="page")


def measure_page(options: argparse.Namespace, out: Output) -> int:
    from appliance.box.doctor import chromium
    from appliance.live.addresses import calibration_in_use, result_socket
    from appliance.site.folder import SiteFolder
    from benchmarks.page import run
    from calibration.errors import WardposeError

    program = chromium()
    if program is None:
        raise WardposeError("there is no Chromium", mend="type: wardpose setup")
    if not 0 < options.seconds <= 3600:
        raise WardposeError("--seconds must be more than nought, at most an hour", where="bench page")
    socket = calibration = None
    if options.live:
        site = SiteFolder.open(options.home)
        socket, calibration = result_socket(site), calibration_in_use(site)
        if not socket.exists():
            raise WardposeError(
                "no live picture runs on this site", where=str(site.root), mend="start it: wardpose run"
            )
    with out.progress("bench page") as progress:
        found = run(options.seconds, chromium=program, socket=socket, calibration=calibration, progress=progress)
    out.table(
        ("from … to painted", "p50 ms", "p95 ms", "p99 ms", "most ms"),
        [
            (name, *(found[key][part] for part in ("p50", "p95", "p99", "most")))
            for name, key in (("the frame", "behind_ms"), ("the message at the page", "page_ms"))
        ],
    )
    within = found["behind_ms"]["p95"] <= found["goal_ms"]
    out.say(
        f"{found['painted_fps']} new frames a second painted, of {found['source']}; "
        f"p95 is {'within' if within else 'over'} {found['goal_ms']:.0f} ms at load {found['load']}"
    )
    out.answer({"ok": True, "within": within} | found)
    return 0
