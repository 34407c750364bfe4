"""The audit trail: who did what, when and why. Rows are only ever added; the database itself refuses the rest, and a
chain of hashes shows what was done to it all the same (see `appliance.site.audit_chain`).

A deed that is a row of the database and its audit row belong together: write both in `deed`'s one transaction. One on
files begins with an intent (see `appliance.site.intents`).
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from appliance.site import audit_chain, roles
from appliance.site.database import now, stamp
from appliance.site.folder import SiteFolder
from appliance.site.people import current_user
from calibration.disk import DiskError
from calibration.errors import WardposeError
from calibration.redaction import redacted

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One deed; `at` is UTC, `what` a dotted verb such as `model.promote`, `subject` what it was done to."""

    at: str
    who: str
    what: str
    subject: str
    reason: str

    def to_dict(self) -> dict[str, str]:
        """For JSON: `at`, `who`, `role`, `what`, `why`, `subject`."""
        told = {"at": self.at, "who": self.who, "role": self.role, "what": self.what}
        return told | {"why": self.reason, "subject": self.subject}

    @property
    def role(self) -> str:
        """In which role it was done: `owner` where none were assigned then, `box` where it did so by itself."""
        return self.who.partition(" [")[2].removesuffix("]") or "owner"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the chain of rows holds. head: its newest link, worth keeping elsewhere."""

    rows: int
    head: audit_chain.Head
    breaks: tuple[audit_chain.Break, ...]

    @property
    def whole(self) -> bool:
        return not self.breaks


def head_file(site: SiteFolder) -> Path:
    """Where the head of the chain is kept a second time, outside the database."""
    return site.root / "audit.head"


def record(site: SiteFolder, what: str, subject: str = "", reason: str = "", *, who: str = "") -> None:
    """Add one row. who: on whose behalf, where that is not the person behind this process or the call in hand."""
    with deed(site, what, subject, reason, who=who):
        pass


def record_or_tell(site: SiteFolder, what: str, subject: str = "", reason: str = "") -> None:
    """`record` for a deed that is done and can't be undone for want of its row: where the disk takes none, that is told
    on standard error, which a service's log keeps."""
    try:
        record(site, what, subject, reason)
    except DiskError as error:
        sys.stderr.write(f"the audit trail has no row of {what} {subject} ({reason}, by {current_user()}): {error}\n")


@contextlib.contextmanager
def deed(
    site: SiteFolder, what: str, subject: str = "", reason: str = "", *, who: str = ""
) -> Iterator[sqlite3.Connection]:
    """One transaction for a deed and its row: both are there when the block has ended, or neither."""
    with site.database.transaction(immediate=True) as db:
        yield db
        add(site, db, what, subject, reason, who=who)
    seal(site)


def add(
    site: SiteFolder, db: sqlite3.Connection, what: str, subject: str = "", reason: str = "", *, who: str = ""
) -> None:
    """Add one row in a transaction of the caller's own, an immediate one; call `seal` when that has been committed."""
    person = _plain(roles.titled(db, who or current_user()))
    words = (now(), person, what, _plain(redacted(subject)), _plain(redacted(reason)))
    audit_chain.append(db, words, audit_chain.read_head(head_file(site)))


def seal(site: SiteFolder) -> None:
    """Keep the head of the chain outside the database too. On a full disk it lags behind until the next row."""
    with site.database.transaction() as db:
        head = audit_chain.head_in(db)
    with contextlib.suppress(WardposeError):
        audit_chain.write_head(head_file(site), head)


def rows(site: SiteFolder, limit: int | None = 200, *, since: datetime | None = None, who: str = "") -> list[AuditRow]:
    """The newest rows first, at most `limit` of them. who: only what that person did, by log-in or account."""
    with site.database.transaction() as db:
        found = db.execute(
            "SELECT at, who, what, subject, reason FROM audit WHERE at >= ? ORDER BY id DESC",
            (stamp(since) if since is not None else "",),
        )
        told: list[AuditRow] = []
        for row in found:
            if limit is not None and len(told) == limit:
                break
            if not who or who in _names(row["who"]):
                told.append(AuditRow(*row))
        return told


def verify(site: SiteFolder) -> Verdict:
    """Whether every row ever written is still there, as it was written, where it was written."""
    noted = audit_chain.read_head(head_file(site))
    with site.database.transaction() as db:
        count = int(db.execute("SELECT count(*) FROM audit").fetchone()[0])
        return Verdict(count, audit_chain.head_in(db), tuple(audit_chain.breaks_in(db, noted)))


def parse_since(text: str) -> datetime:
    """`7d`, `12h`, `2w` before now; or a day or instant such as 2026-11-01 or 2026-11-01T14:30, in local time."""
    if found := re.fullmatch(r"\s*(\d{1,5})\s*([mhdw])\s*", text.lower()):
        return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        mend = "write 7d, 12h, 2026-11-01 or 2026-11-01T14:30"
        raise WardposeError(f"{text!r} is no time", where="--since", mend=mend) from None


def _plain(text: str) -> str:
    """`text` on one line, without what a terminal would take for an order."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _names(who: str) -> set[str]:
    """`anna (as root)` → everything by which the row may be asked for."""
    person = who.partition(" [")[0]
    return {who, person, *re.split(r" \(as |\)$", person)}
