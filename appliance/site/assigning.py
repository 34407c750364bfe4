"""Assigning roles and PINs, and taking them away; each with its row in the audit trail."""

from __future__ import annotations

import grp
import pwd
import re
import sqlite3
from typing import cast

from appliance.site import intents
from appliance.site.folder import SiteFolder
from appliance.site.roles import PAUSING, Role, assigned, assigned_in, write_in
from calibration.errors import WardposeError
from runtime.display.pins import Pins

_NAME = re.compile(r"@?[^\W_][\w .\-']{0,39}")


def pins(site: SiteFolder) -> Pins:
    """The PINs of those who resume at the bedside page."""
    return Pins(site.pins_file)


def looking_pins(site: SiteFolder) -> Pins:
    """The PINs of viewers, who look at the ward's station and change nothing."""
    return Pins(site.looking_pins_file)


def looking_names(site: SiteFolder) -> set[str]:
    """Who may look at the ward's station: whoever has a PIN."""
    return pins(site).names | looking_pins(site).names


def assign(site: SiteFolder, name: str, role: Role, reason: str, pin: str = "") -> None:
    """Give `name` a role in place of any that they have. pin: of whoever resumes at the bedside page, or of a viewer,
    for the ward's station, where those who resume may look by theirs too.

    name: a log-in, `@group`, or anybody where a PIN is given. Raises `WardposeError` for a name that isn't, for a PIN
    that won't do, and where nobody would be left to assign the next role.
    """
    if not _NAME.fullmatch(name):
        raise WardposeError(f"{name!r} is no name", mend="give a log-in, @GROUP, or with --pin any name of letters")
    if pin and (role == "privacy-officer" or name.startswith("@")):
        raise WardposeError("a PIN is for one nurse, engineer or viewer", where=name, mend="leave it out")
    if not (pin or _is_account(name)):
        mend = "see `getent passwd`; for somebody without an account give a PIN, with --pin"
        raise WardposeError("this box has no such account or group", where=name, mend=mend)
    _require_an_engineer(assigned(site) | {name: role})
    own, other = _pins_of(site, role)
    if pin and other.whose(pin) not in ("", name):
        raise WardposeError("this PIN can't be taken", mend="choose another")
    told = f"{role}{', with a PIN' if pin else ''}: {reason}"
    with intents.intend(
        site, "role.assign", name, told, made=own.path if pin else None, again=not pin, more={"role": role}
    ) as deed:
        if pin:
            own.keep(name, pin)
        with deed.commit() as db:
            _require_an_engineer(assigned_in(db) | {name: role})
            finish_assigning(site, deed.intent, db)


def finish_assigning(site: SiteFolder, intent: intents.Intent, db: sqlite3.Connection) -> None:
    """The role, whose PIN is in its file already; the PIN that it has no use for goes."""
    role = cast(Role, intent.more["role"])
    write_in(db, assigned_in(db) | {intent.subject: role})
    _pins_of(site, role)[1].forget(intent.subject)


def _pins_of(site: SiteFolder, role: Role) -> tuple[Pins, Pins]:
    """Where a role's PINs are kept, and where those are that it has no use for."""
    both = pins(site), looking_pins(site)
    return both if role in PAUSING else both[::-1]


def remove(site: SiteFolder, name: str, reason: str) -> None:
    """Take a role away, and the PIN with it. Raises `WardposeError` where there is none, and as `assign` does."""
    if name not in assigned(site):
        raise WardposeError("no role is assigned to this name", where=name, mend="see `wardpose roles`")
    _require_an_engineer(_without(assigned(site), name))
    with intents.intend(site, "role.remove", name, reason, again=True) as deed, deed.commit() as db:
        _require_an_engineer(_without(assigned_in(db), name))
        finish_removing(site, deed.intent, db)


def finish_removing(site: SiteFolder, intent: intents.Intent, db: sqlite3.Connection) -> None:
    """The role and its PIN go."""
    write_in(db, _without(assigned_in(db), intent.subject))
    pins(site).forget(intent.subject)
    looking_pins(site).forget(intent.subject)


def _without(roles: dict[str, Role], name: str) -> dict[str, Role]:
    return {other: role for other, role in roles.items() if other != name}


def _require_an_engineer(roles: dict[str, Role]) -> None:
    if roles and not any(role == "engineer" and _is_account(name) for name, role in roles.items()):
        raise WardposeError(
            "nobody would be left who may assign roles",
            mend="first assign engineer to an account of this box; the last assignment of all may be removed",
        )


def _is_account(name: str) -> bool:
    try:
        if name.startswith("@"):
            grp.getgrnam(name[1:])
        else:
            pwd.getpwnam(name)
    except KeyError:
        return False
    return True
