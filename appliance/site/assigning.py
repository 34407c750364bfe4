"""Assigning roles and PINs, and taking them away; each with its row in the audit trail."""

from __future__ import annotations

import grp
import pwd
import re

from appliance.site import audit
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
    with audit.deed(site, "role.assign", name, f"{role}{', with a PIN' if pin else ''}: {reason}") as db:
        roles = assigned_in(db) | {name: role}
        _require_an_engineer(roles)
        write_in(db, roles)
        own, other = (pins(site), looking_pins(site)) if role in PAUSING else (looking_pins(site), pins(site))
        if pin:
            if other.whose(pin) not in ("", name):
                raise WardposeError("this PIN can't be taken", mend="choose another")
            own.keep(name, pin)
        other.forget(name)


def remove(site: SiteFolder, name: str, reason: str) -> None:
    """Take a role away, and the PIN with it. Raises `WardposeError` where there is none, and as `assign` does."""
    if name not in assigned(site):
        raise WardposeError("no role is assigned to this name", where=name, mend="see `wardpose roles`")
    with audit.deed(site, "role.remove", name, reason) as db:
        roles = assigned_in(db)
        roles.pop(name, None)
        _require_an_engineer(roles)
        write_in(db, roles)
        pins(site).forget(name)
        looking_pins(site).forget(name)


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
