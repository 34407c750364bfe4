"""Who may do what on this site: a role for each person or group, once roles are assigned at all.

Until then whoever reaches the service, which its socket lets only the site's owner and root do, may do everything.
From the first assignment on, a person's role is that of their log-in (or account), else the roles of their groups
(`@ward3`); whoever has none is a viewer. People who only stand at the bedside page have a PIN (`runtime.display.pins`).
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import sqlite3
from collections.abc import Collection, Mapping
from typing import Literal, get_args

from appliance.site.folder import SiteFolder
from appliance.site.people import current_user, login_of
from calibration.errors import WardposeError
from runtime.display.pausing import AT_THE_PAGE, AT_THE_STATION, NOT_ALLOWED

Role = Literal["viewer", "nurse", "engineer", "privacy-officer"]
ROLES: tuple[Role, ...] = get_args(Role)
OWNER: frozenset[Role] = frozenset({"engineer", "privacy-officer"})
MEANING: Mapping[Role, str] = {
    "viewer": "sees how the box is; with a PIN, the page at the ward's station",
    "nurse": "pauses and resumes",
    "engineer": "everything; what touches pixels or what is live with a reason",
    "privacy-officer": "reads the audit trail, deletes what is kept",
}
EVERYBODY: frozenset[Role] = frozenset(ROLES)
PAUSING: frozenset[Role] = frozenset({"nurse", "engineer"})
DELETING: frozenset[Role] = frozenset({"engineer", "privacy-officer"})
READING_THE_TRAIL: frozenset[Role] = frozenset({"engineer", "privacy-officer"})
ENGINEERING: frozenset[Role] = frozenset({"engineer"})

_NOTED = "roles"


class NotAllowed(WardposeError):
    """This person's role does not let them do this."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what, mend=mend, exit_code=NOT_ALLOWED)


def assigned(site: SiteFolder) -> dict[str, Role]:
    """The role of each name, in the order of the names; a name is a log-in, `@group`, or whoever has only a PIN."""
    with site.database.transaction() as db:
        return assigned_in(db)


def assigned_in(db: sqlite3.Connection) -> dict[str, Role]:
    row = db.execute("SELECT value FROM noted WHERE name = ?", (_NOTED,)).fetchone()
    return dict(sorted(json.loads(row[0]).items())) if row else {}


def write_in(db: sqlite3.Connection, roles: Mapping[str, Role]) -> None:
    """Put `roles` in place of those that are assigned, in a transaction of the caller's own."""
    db.execute(
        "INSERT INTO noted (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_NOTED, json.dumps(dict(roles), ensure_ascii=False)),
    )


def roles_of(who: str, given: Mapping[str, Role]) -> frozenset[Role]:
    """The roles of a person as `appliance.site.people` names them, where `given` are assigned."""
    if not given:
        return OWNER
    login = login_of(who)
    if login.endswith(AT_THE_PAGE):  # whoever is in the room may pause; see `appliance.live.pauses`
        return frozenset({given.get(login.removesuffix(AT_THE_PAGE).strip(), "nurse")})
    if login.endswith(AT_THE_STATION):
        return frozenset({given.get(login.removesuffix(AT_THE_STATION).strip(), "viewer")})
    if login in given:
        return frozenset({given[login]})
    return frozenset(given[group] for group in _groups(login) if group in given) or frozenset({"viewer"})


def titled(db: sqlite3.Connection, who: str) -> str:
    """`anna (as wardpose) [nurse]`: a person with the role in which they act, where roles are assigned.

    What the box does by itself, under its own account with nobody logged in and no role, is its own: `wardpose [box]`.
    """
    given = assigned_in(db)
    if not given:
        return who
    acting = roles_of(who, given)
    by_itself = acting == {"viewer"} and who not in given and _is_own_account(who)
    return f"{who} [{'box' if by_itself else ', '.join(sorted(acting))}]"


def require(site: SiteFolder, may: Collection[Role], what: str) -> None:
    """Raise `NotAllowed` where whoever is at work here (see `current_user`) has none of the roles in `may`."""
    who = current_user()
    given = assigned(site)
    if not roles_of(who, given) & set(may):
        role = " and ".join(sorted(roles_of(who, given)))
        ask = " or ".join(role for role in ROLES if role in may)
        raise NotAllowed(f"{who} is {role} here and may not do this: {what}", f"ask the {ask}; see `wardpose roles`")


def is_the_box(site: SiteFolder, who: str) -> bool:
    """Whether that is the site's own account with nobody logged in behind it, as the bedside page's process is."""
    with contextlib.suppress(KeyError, OSError):
        return who == pwd.getpwuid(os.stat(site.root).st_uid).pw_name or _is_own_account(who)
    return False


def _is_own_account(who: str) -> bool:
    with contextlib.suppress(KeyError):
        return who == pwd.getpwuid(os.geteuid()).pw_name
    return False


def _groups(login: str) -> list[str]:
    try:
        account = pwd.getpwnam(login)
    except KeyError:
        return []
    names = []
    for number in os.getgrouplist(login, account.pw_gid):
        with contextlib.suppress(KeyError):
            names.append(f"@{grp.getgrgid(number).gr_name}")
    return names
