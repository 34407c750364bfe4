"""Deeds on files and their audit rows are one, whatever instant the power fails.

A deed that is a row of the database is written with its audit row in one transaction (`appliance.site.audit.deed`). One
on files can't be: so an intent is written first, then the files change, then one transaction takes the intent away and
adds the rows. An intent that is found later, whose process is dead, says what was cut off: it is completed where the
files show that it was done, else withdrawn, and the audit trail says which (`settle`).

An intent also holds the name that it makes: a second one of that name is refused from the first moment.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.site import audit
from appliance.site.database import now
from appliance.site.folder import SiteFolder
from appliance.site.people import current_user
from calibration.atomic import disk_error, sync_folder
from calibration.disk import ROOM, DiskError
from calibration.errors import WardposeError
from calibration.file_digest import sha256_of
from calibration.json_text import parse_json
from calibration.processes import is_running, pid_of, process_identity

CUT_OFF = "completed after it was cut off"
# What else a completed intent of a kind writes, in the transaction of its audit row; may raise `WardposeError`.
Finisher = Callable[[SiteFolder, "Intent", sqlite3.Connection], None]
_ended: set[tuple[str, int]] = set()  # of this process: what was begun and neither finished nor forgotten


class Gone(WardposeError):
    """Somebody else deletes it, or has: there is nothing to do and nothing to be written down."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What somebody is about to do. made: stands when it is done, another than `before` stood there (see `_mark`), with
    the bytes that `content` is the SHA-256 of, where that was known; unmakes, deletes: go where it is withdrawn, or
    completed; again: it is completed by doing it again, as its finisher does; more: what that wants to know. Paths as
    the site folder stores them."""

    id: int
    at: str
    who: str
    what: str
    subject: str
    reason: str
    process: str
    made: str = ""
    unmakes: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    before: str = ""
    content: str = ""
    again: bool = False
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Deed:
    """An intent in hand. `commit` writes the deed's rows, its audit row among them; without it, the end of the block
    does. reason: of the audit row, which may be known only when the deed is done."""

    site: SiteFolder
    intent: Intent
    reason: str
    committed: bool = field(default=False)

    @contextlib.contextmanager
    def commit(self) -> Iterator[sqlite3.Connection]:
        with _taken_away(self.site, self.intent, self.reason) as db:
            yield db
        self.committed = True


@contextlib.contextmanager
def intend(
    site: SiteFolder, what: str, subject: str = "", reason: str = "", *, made: Path | None = None,
    content: bytes | None = None, unmakes: Sequence[Path] = (), deletes: Sequence[Path] = (), again: bool = False,
    more: Mapping[str, str] | None = None, finishers: Mapping[str, Finisher] | None = None,
) -> Iterator[Deed]:  # fmt: skip
    """Write down the intent; the block changes the files. Raises `WardposeError` where another program is at the same.

    made: what will stand when it is done, or stand there anew; content: the bytes of it, where they are known. unmakes:
    what is removed where it was cut off before its rows. deletes: what it deletes. again: whoever settles it does it
    again, by the kind's finisher. finishers: for one of the same name that was cut off earlier and is settled first.
    """
    told = {"made": "" if made is None else site.relative(made), "unmakes": [site.relative(path) for path in unmakes],
            "deletes": [site.relative(path) for path in deletes],
            "content": "" if content is None else hashlib.sha256(content).hexdigest(), "again": again,
            "more": dict(more or {})}  # fmt: skip
    deed = Deed(site, _begin(site, what, subject, reason, told, finishers or {}), reason)
    try:
        yield deed
        if not deed.committed:
            with deed.commit():
                pass
    except BaseException as error:
        if not deed.committed:
            _leave(site, deed.intent, error)
        raise


def delete(
    site: SiteFolder, what: str, subject: str, reason: str, paths: Sequence[Path], *,
    carry_out: Callable[[], None] | None = None, finisher: Finisher | None = None,
) -> None:  # fmt: skip
    """Delete files or folders, with a row. On a disk too full for the row, the deletion comes first where it makes room
    for it; else nothing is deleted, and the `DiskError` is raised. Of two who delete one thing at once one does, and
    the other has `Gone` raised.

    carry_out: deletes them, where their order matters; does nothing where it is done already. finisher: what else goes
    with them; `settle` wants the same for what was cut off.
    """

    def away() -> None:
        if carry_out is not None:
            carry_out()
        _remove(paths)

    try:
        with intend(site, what, subject, reason, deletes=paths) as deed:
            if not any(os.path.lexists(path) for path in paths):
                raise Gone(f"{subject!r} was deleted by another program just now")
            away()
            with deed.commit() as db:
                if finisher is not None:
                    finisher(site, deed.intent, db)
    except DiskError:
        if sum(_bytes(path) for path in paths) < ROOM and any(os.path.lexists(path) for path in paths):
            raise
        away()
        with audit.deed(site, what, subject, reason) as db:
            db.execute(
                "DELETE FROM intents WHERE what = ? AND subject = ? AND process = ?",
                (what, subject, process_identity(os.getpid())),
            )
            told = [site.relative(path) for path in paths]
            if finisher is not None:
                finisher(site, Intent(0, "", "", what, subject, reason, "", deletes=tuple(told)), db)


def is_being_deleted(site: SiteFolder, path: Path) -> bool:
    """Whether a living program is at it."""
    stored = site.relative(path)
    return any(stored in intent.deletes and _lives(site, intent) for intent in _waiting(site))


def waiting_for(site: SiteFolder, made: Path) -> Intent | None:
    """What is about to make `made`, or was cut off at it."""
    stored = site.relative(made)
    return next((intent for intent in _waiting(site) if intent.made == stored), None)


def settle_one(site: SiteFolder, intent: Intent, finisher: Finisher) -> None:
    """Complete or withdraw that one, where nobody is at it any more."""
    if not _lives(site, intent):
        _settle(site, intent, {intent.what: finisher})


def is_about_to_write(db: sqlite3.Connection, content: bytes) -> bool:
    """Whether somebody is about to make, or was cut off at making, a file of that content."""
    digest = hashlib.sha256(content).hexdigest()
    return any(intent.content == digest for intent in _read(db))


def settle(site: SiteFolder, finishers: Mapping[str, Finisher] | None = None) -> list[str]:
    """Complete or withdraw what was cut off; returns what was done and what could not be, a line each."""
    told = []
    for intent in _waiting(site):
        if not _lives(site, intent):
            try:
                told.append(_settle(site, intent, finishers or {}))
            except WardposeError as error:
                told.append(f"{intent.what} {intent.subject} was cut off and can't be settled: {error}")
    return told


def being_made(site: SiteFolder) -> list[str]:
    """The paths that living programs are making."""
    return [str(site.resolve(intent.made)) for intent in _waiting(site) if intent.made and _lives(site, intent)]


def _begin(
    site: SiteFolder, what: str, subject: str, reason: str, told: dict[str, Any], finishers: Mapping[str, Finisher]
) -> Intent:
    process, who, at = process_identity(os.getpid()), current_user(), now()
    for intent in _waiting(site):
        if told["made"] and intent.made == told["made"] and not _lives(site, intent):
            _settle(site, intent, finishers)
    with site.database.transaction(immediate=True) as db:
        for intent in _read(db):
            if told["made"] and intent.made == told["made"]:
                raise WardposeError(
                    f"{subject!r} is being made by another program (process {pid_of(intent.process)}, {intent.who})",
                    mend="choose another name, or wait for it",
                )
            if not set(intent.deletes).isdisjoint(told["deletes"]) and _lives(site, intent):
                raise Gone(
                    f"{subject!r} is being deleted by another program (process {pid_of(intent.process)}, {intent.who})"
                )
        # Here, where nobody else is at it: what another has just made must not pass for what this one makes.
        told["before"] = _mark(site.resolve(told["made"])) if told["made"] else ""
        row = db.execute(
            "INSERT INTO intents (at, who, what, subject, reason, plan, process) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (at, who, what, subject, reason, json.dumps(told), process),
        )
        number = int(row.lastrowid or 0)
    return Intent(number, at, who, what, subject, reason, process, **_plan(told))


def _leave(site: SiteFolder, intent: Intent, error: BaseException) -> None:
    """The block failed: nothing is to be told of what was not done; what was done waits to be settled. So does what can
    be done again where the disk took its row: it may be done already."""
    with contextlib.suppress(WardposeError):
        undone = not isinstance(error, DiskError) if intent.again else not _is_done(site, intent)
        if undone or isinstance(error, Gone):
            _remove([site.resolve(path) for path in intent.unmakes])
            with site.database.transaction(immediate=True) as db:
                db.execute("DELETE FROM intents WHERE id = ?", (intent.id,))
            return
    _ended.add((str(site.root), intent.id))


def _settle(site: SiteFolder, intent: Intent, finishers: Mapping[str, Finisher]) -> str:
    named = f"{intent.what} {intent.subject}"
    done = _is_done(site, intent)
    why = f"{intent.reason}; {CUT_OFF}" if intent.reason else CUT_OFF
    if done:
        _remove([site.resolve(path) for path in intent.deletes])
        with _taken_away(site, intent, why) as db:
            if finisher := finishers.get(intent.what):
                finisher(site, intent, db)
        return f"{named} was cut off: completed, by {intent.who}"
    _remove([site.resolve(path) for path in intent.unmakes])
    withdrawn = f"{intent.reason}; cut off before it was done" if intent.reason else "cut off before it was done"
    with _taken_away(site, intent, withdrawn, what=f"{intent.what}.withdraw"):
        pass
    return f"{named} was cut off: withdrawn"


@contextlib.contextmanager
def _taken_away(site: SiteFolder, intent: Intent, reason: str, *, what: str = "") -> Iterator[sqlite3.Connection]:
    with audit.deed(site, what or intent.what, intent.subject, reason, who=intent.who) as db:
        if db.execute("DELETE FROM intents WHERE id = ?", (intent.id,)).rowcount != 1:
            raise WardposeError(f"{intent.what} {intent.subject} was settled by another program meanwhile")
        yield db
    _ended.discard((str(site.root), intent.id))


def _waiting(site: SiteFolder) -> list[Intent]:
    with site.database.transaction() as db:
        return _read(db)


def _read(db: sqlite3.Connection) -> list[Intent]:
    rows = db.execute("SELECT id, at, who, what, subject, reason, process, plan FROM intents ORDER BY id").fetchall()
    return [Intent(*tuple(row)[:7], **_plan(parse_json(row["plan"]))) for row in rows]


def _plan(told: Mapping[str, Any]) -> dict[str, Any]:
    later = {name: told[name] for name in ("before", "content", "again", "more") if name in told}
    return {"made": told["made"], "unmakes": tuple(told["unmakes"]), "deletes": tuple(told["deletes"])} | later


def _is_done(site: SiteFolder, intent: Intent) -> bool:
    """Whether the files show that it was done, or whoever settles it can do the rest."""
    if intent.again or intent.deletes:
        return True
    if not intent.made:
        return False
    made = site.resolve(intent.made)
    if intent.content:
        with contextlib.suppress(OSError):
            return sha256_of(made) == intent.content
        return False
    return made.exists() and (not intent.before or _mark(made) != intent.before)


def _mark(path: Path) -> str:
    """By which a file is told from another that takes its place; empty where there is none."""
    try:
        about = path.stat()
    except OSError:
        return ""
    return f"{about.st_ino}:{about.st_mtime_ns}"


def _lives(site: SiteFolder, intent: Intent) -> bool:
    return is_running(intent.process) and (str(site.root), intent.id) not in _ended


def _bytes(path: Path) -> int:
    total = 0
    for each in (path, *path.rglob("*")):
        with contextlib.suppress(OSError):
            total += each.lstat().st_blocks * 512
    return total


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                sync_folder(path.parent)
        except OSError as error:
            raise disk_error(error, path) from error
