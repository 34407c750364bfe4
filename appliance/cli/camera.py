"""wardpose camera list, camera probe, camera record."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

from appliance.cli.asking import ask
from appliance.cli.output import Output


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("camera", help="which cameras there are, and whether one delivers")
    kinds = parser.add_subparsers(title="what", metavar="WHAT", dest="what", required=True)
    which = kinds.add_parser("list", parents=[common], help="kinds of source, and whether each can be used here")
    which.set_defaults(run=list_sources)
    forget = kinds.add_parser("forget", parents=[common], help="delete the password kept of a camera")
    forget.add_argument("camera", help="the camera as `camera list` names it, with *** for its password")
    forget.set_defaults(run=forget_password)
    probe = kinds.add_parser("probe", parents=[common], help="open a source and measure what it delivers")
    probe.add_argument(
        "source", nargs="?", help="for example simulated, kinect, recording:FILE, video:FOLDER (default: the site's)"
    )
    probe.add_argument("--seconds", type=float, default=3.0, help="how long to measure")
    probe.set_defaults(run=probe_source)
    record = kinds.add_parser(
        "record", parents=[common], help="record into a Kinect .mkv, for a reason, until it expires"
    )
    record.add_argument("--out", type=Path, required=True, metavar="FILE.mkv", help="the file; it must not exist")
    record.add_argument("--seconds", type=float, required=True, help="how long")
    record.add_argument("--reason", required=True, help="why, in a few words; the audit trail keeps it")
    record.add_argument("--expires", required=True, metavar="SPAN", help="when the box deletes it: 12h, 7d, 2w")
    record.add_argument("--source", help="camera (default: the site's)")
    record.set_defaults(run=record_source)


def list_sources(options: argparse.Namespace, out: Output) -> int:
    from appliance.box.cameras import list_cameras
    from appliance.site.folder import SiteFolder
    from appliance.site.settings import load_settings
    from runtime.capture.secrets import kept

    site = SiteFolder.open(options.home)
    chosen, cameras, known = load_settings(site).camera.source, list_cameras(), kept(site.secrets_file)
    out.table(("source", "usable", "detail"), [(c["name"], c["ok"], c["detail"]) for c in cameras])
    for camera in cameras:
        for problem in camera["problems"]:
            out.say(f"{camera['name']}: {problem['what']} → {problem['mend']}")
    out.say(f"in use on this site: {chosen}")
    for named in known:
        out.say(f"its password is kept: {named}")
    out.answer({"cameras": cameras, "chosen": chosen, "passwords_kept": known})
    return 0


def forget_password(options: argparse.Namespace, out: Output) -> int:
    from calibration.redaction import redacted

    named = redacted(options.camera)
    ask(options, "camera.forget", source=named)
    out.say(f"deleted: the password of {named}")
    out.answer({"ok": True, "source": named})
    return 0


def probe_source(options: argparse.Namespace, out: Output) -> int:
    from appliance.box.cameras import probe
    from appliance.site.folder import SiteFolder
    from appliance.site.settings import load_settings
    from runtime.state import not_this_bed

    site = SiteFolder.open(options.home)
    spec = options.source or load_settings(site).camera.source
    started = time.monotonic()
    found = probe(site, spec, seconds=options.seconds)
    pace = f"{found['fps']:.1f} frames a second ({found['frames']} frames)"
    out.say(f"{found['source']}: {found['width']}×{found['height']}, {pace}")
    if warning := not_this_bed(found["origin"]):
        out.say(warning)
    out.say(
        f"depth: {found['depth'] or 'none'}; lens calibration: {'yes' if found['calibrated'] else 'no'}; "
        f"motion sensor: {'yes' if found['imu'] else 'no'}"
    )
    if found["pitch_deg"] is not None:
        way = "down" if found["pitch_deg"] < 0 else "up"
        out.say(f"it looks {abs(found['pitch_deg']):.0f}° {way}, and stands {abs(found['roll_deg']):.0f}° askew")
    out.answer(found | {"ok": True, "seconds": round(time.monotonic() - started, 3)})
    return 0


def record_source(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside.recordings import record
    from appliance.site.folder import SiteFolder

    with out.progress("recording") as progress:
        done = record(
            SiteFolder.open(options.home), options.out, partial(ask, options), seconds=options.seconds,
            reason=options.reason, expires=options.expires, source=options.source, progress=progress,
        )  # fmt: skip
    out.say(f"{done.file}: {done.frames} frames, {done.seconds:.1f} s, {done.bytes / 1e6:.1f} MB")
    out.say(f"only this user can read it; the box deletes it at {done.expires_at}")
    out.answer({"ok": True} | done.to_dict())
    return 0
