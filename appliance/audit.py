"""The audit trail: who did what, when and why. Rows are only ever added; the database itself refuses the rest."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass

from appliance.database import now
from appliance.site_folder import SiteFolder


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One deed; `at` is UTC, `what` a dotted verb such as `model.promote`, `subject` what it was done to."""

    at: str
    who: str
    what: str
    subject: str
    reason: str


def current_user() -> str:
    """The person at the keyboard, also behind sudo."""
    if os.geteuid() == 0 and (name := os.environ.get("SUDO_USER")):
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def record(site: SiteFolder, what: str, subject: str = "", reason: str = "") -> None:
    """Add one row."""
    with site.database.transaction() as db:
        db.execute(
            "INSERT INTO audit (at, who, what, subject, reason) VALUES (?, ?, ?, ?, ?)",
            (now(), current_user(), what, subject, reason),
        )


def rows(site: SiteFolder, limit: int = 200) -> list[AuditRow]:
    """The newest rows first."""
    with site.database.transaction() as db:
        found = db.execute("SELECT at, who, what, subject, reason FROM audit ORDER BY id DESC LIMIT ?", (limit,))
        return [AuditRow(*row) for row in found]
