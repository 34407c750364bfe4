"""wardpose roles: who may do what on this site."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from appliance.cli.asking import add_reason, ask
from appliance.cli.output import Output
from appliance.cli.streams import is_terminal

NOBODY_YET = "no role is assigned: whoever works as this site's owner is engineer and privacy officer"


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("roles", parents=[common], help="who may do what: viewer, nurse, engineer, officer")
    parser.set_defaults(run=show_roles)
    deeds = parser.add_subparsers(title="deeds", metavar="DEED", dest="deed")
    listed = deeds.add_parser("list", parents=[common], help="the roles and whose they are")
    listed.set_defaults(run=show_roles)
    assign = deeds.add_parser("assign", parents=[common], help="give somebody a role in place of any they have")
    assign.add_argument("name", help="a log-in of this box, @GROUP, or with --pin anybody by name")
    assign.add_argument("role", choices=("viewer", "nurse", "engineer", "privacy-officer"), help="what they may do")
    assign.add_argument(
        "--pin", action="store_true", help="ask for a PIN, by which this person resumes at the bedside page"
    )
    add_reason(assign)
    assign.set_defaults(run=assign_role)
    remove = deeds.add_parser("remove", parents=[common], help="take a role away, and the PIN with it")
    remove.add_argument("name", metavar="NAME", help="as `roles` names them")
    add_reason(remove)
    remove.set_defaults(run=remove_role)


def show_roles(options: argparse.Namespace, out: Output) -> int:
    from appliance.site import roles
    from appliance.site.assigning import pins
    from appliance.site.folder import SiteFolder
    from appliance.site.people import current_user

    site = SiteFolder.open(options.home)
    given, with_pin, who = roles.assigned(site), pins(site).names, current_user()
    mine = sorted(roles.roles_of(who, given))
    for name, role in given.items():
        out.say(f"{name:<24} {role}{', with a PIN' if name in with_pin else ''}")
    if not given:
        out.say(NOBODY_YET)
    out.say(f"you are {who}: {' and '.join(mine)}")
    for role, meaning in roles.MEANING.items():
        out.say(f"  {role:<16} {meaning}")
    told = [{"name": name, "role": role, "pin": name in with_pin} for name, role in given.items()]
    out.answer({"ok": True, "roles": told, "you": {"name": who, "roles": mine}})
    return 0


def assign_role(options: argparse.Namespace, out: Output) -> int:
    pin = _pin() if options.pin else ""
    ask(options, "roles.assign", name=options.name, role=options.role, pin=pin, reason=options.reason)
    out.say(f"{options.name} is {options.role} now")
    out.answer({"ok": True, "name": options.name, "role": options.role, "pin": bool(pin)})
    return 0


def remove_role(options: argparse.Namespace, out: Output) -> int:
    ask(options, "roles.remove", name=options.name, reason=options.reason)
    out.say(f"{options.name} has no role any more")
    out.answer({"ok": True, "name": options.name})
    return 0


def _pin() -> str:
    """Typed unseen, or the first line of standard input; never an argument, which every user of the box could read."""
    return (getpass.getpass("PIN: ") if is_terminal() else sys.stdin.readline()).strip()
