"""wardpose station: the page for the ward's station, over the network by TLS and a PIN; off until it is switched on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from appliance.cli.asking import add_reason, ask
from appliance.cli.output import Output
from calibration.errors import WardposeError

UNIT = "where systemd runs the box: sudo systemctl enable --now wardpose-station"


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "station", parents=[common], help="the page for the ward's station: TLS, a PIN, to look only; off by default"
    )
    parser.set_defaults(run=show)
    deeds = parser.add_subparsers(title="deeds", metavar="DEED", dest="deed")
    deeds.add_parser("show", parents=[common], help="whether it is on, where, by what certificate").set_defaults(
        run=show
    )
    on = deeds.add_parser("on", parents=[common], help="serve it from now on")
    off = deeds.add_parser("off", parents=[common], help="hang up on whoever looks, and serve it no longer")
    for deed, wanted in ((on, True), (off, False)):
        add_reason(deed)
        deed.set_defaults(run=switch, on=wanted)
    certificate = deeds.add_parser("certificate", parents=[common], help="make a certificate, or use the site's own")
    certificate.add_argument(
        "--name", action="append", default=[], metavar="HOST",
        help="a name or address that stations reach this box by, once for each (default: all that it has)",
    )  # fmt: skip
    certificate.add_argument("--use", type=Path, metavar="PEM", help="the site's own, with the chain behind it")
    certificate.add_argument("--key", type=Path, metavar="PEM", help="its key, without a passphrase")
    add_reason(certificate)
    certificate.set_defaults(run=keep_certificate)


def show(options: argparse.Namespace, out: Output) -> int:
    from appliance.live import station
    from appliance.site.assigning import looking_names
    from appliance.site.folder import SiteFolder
    from appliance.site.settings import load_settings

    site = SiteFolder.open(options.home)
    settings, ready = load_settings(site).station, station.readiness(site)
    places, people = station.addresses(settings), sorted(looking_names(site))
    out.say(f"on: {', '.join(places)}" if settings.on else "off: nothing of this box listens beyond itself")
    if (found := ready.certificate) is not None:
        whose = "made by this box: a station is told to trust it once" if found.own else "the site's own"
        out.say(f"certificate for {', '.join(found.names)}, until {found.until:%Y-%m-%d}; {whose}")
        out.say(f"  SHA-256 {found.fingerprint}")
    out.say(
        f"with a PIN: {', '.join(people) or 'nobody'}; over the network it has {station.LEAST_DIGITS} digits or more"
    )
    for lacking in ready.lacking:
        out.say(f"missing: {lacking}")
    told: dict[str, Any] | None = None
    if found is not None:
        told = {"names": list(found.names), "until": f"{found.until:%Y-%m-%d}", "own": found.own}
        told["fingerprint"] = found.fingerprint
    out.answer({
        "ok": True, "on": settings.on, "addresses": places, "certificate": told, "people": people,
        "missing": list(ready.lacking),
    })  # fmt: skip
    return 0


def switch(options: argparse.Namespace, out: Output) -> int:
    from appliance.live import station
    from appliance.site.folder import SiteFolder
    from appliance.site.settings import load_settings

    ask(options, "station.switch", on=options.on, reason=options.reason)
    places = station.addresses(load_settings(SiteFolder.open(options.home)).station) if options.on else []
    if options.on:
        out.say(f"the ward's station finds it at {' or '.join(places)}; {UNIT}")
        out.say("each look is in the audit trail; `wardpose station off` hangs up at once")
    else:
        out.say("off: nothing of this box listens beyond itself")
    out.answer({"ok": True, "on": options.on, "addresses": places})
    return 0


def keep_certificate(options: argparse.Namespace, out: Output) -> int:
    if (options.use is None) != (options.key is None):
        raise WardposeError("a certificate of the site's own comes with its key", mend="give --use and --key")
    if options.use is not None and options.name:
        raise WardposeError("a certificate's names stand in it", mend="leave --name out")
    given = {} if options.use is None else {"certificate": _text(options.use), "key": _text(options.key)}
    told = ask(options, "station.certificate", names=options.name, reason=options.reason, **given)
    out.say(f"certificate for {', '.join(told['names'])}, until {told['until'][:10]}")
    out.say(f"  SHA-256 {told['fingerprint']}: compare it at the station")
    out.answer({"ok": True} | told)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise WardposeError(
            f"can't be read: {getattr(error, 'strerror', None) or 'no PEM'}", where=str(path), mend="give a PEM file"
        ) from error  # fmt: skip
