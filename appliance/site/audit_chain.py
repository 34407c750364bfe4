"""How the rows of the audit trail hang together: each row's hash covers its words and the hash of the row before it.

A row that is missing, changed or moved breaks the chain at its place. Its newest link is kept twice more: in the
table `audit_head`, written in the row's own transaction, and in the file `audit.head` beside the database, so that rows
cut off at the end, or a database put back from yesterday, show as well.

What this can promise: nobody alters the trail by accident or by editing the database, not even after removing the
triggers that forbid it, without being told by `wardpose audit`. Whoever may write every file of the site *and* computes
all hashes anew, its owner or root, can forge it; against them only a copy of the head kept elsewhere helps, which is
why `wardpose audit` prints it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from calibration.atomic import write_text

COLUMNS = "id, at, who, what, subject, reason"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest link: the row's number and its hash; (0, "") before the first row."""

    row: int = 0
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Break:
    """A place where the chain does not hold: at or before which row, and what is wrong there."""

    row: int
    what: str


def link(previous: str, row: tuple[int, str, str, str, str, str]) -> str:
    """The hash (SHA-256, hex) of a row (id, at, who, what, subject, reason) behind the one with hash `previous`."""
    content = json.dumps(list(row), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(f"{previous}\n{content}".encode("utf-8", "surrogatepass")).hexdigest()


def append(db: sqlite3.Connection, words: tuple[str, str, str, str, str], noted: Head | None) -> None:
    """Add a row (at, who, what, subject, reason) and move the head, in the caller's transaction, an immediate one.

    noted: the head kept outside the database. Where it is further on, the database is an older one that was put back:
    the new row follows the lost ones, so that their gap shows for ever.
    """
    head = head_in(db)
    if noted is not None and noted.row > head.row:
        head = noted
    highest = int(db.execute("SELECT coalesce(max(id), 0) FROM audit").fetchone()[0])
    number = max(highest, head.row) + 1
    hashed = link(head.hash, (number, *words))
    db.execute(f"INSERT INTO audit ({COLUMNS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?)", (number, *words, hashed))
    db.execute("INSERT OR REPLACE INTO audit_head (only, row, hash) VALUES (1, ?, ?)", (number, hashed))


def head_in(db: sqlite3.Connection) -> Head:
    """The head as the database has it."""
    found = db.execute("SELECT row, hash FROM audit_head").fetchone()
    return Head(int(found[0]), str(found[1])) if found else Head()


def chain_up(db: sqlite3.Connection) -> None:
    """Give the rows of a trail that had no chain their links; only for the migration that brings it."""
    head, count = Head(), 0
    for row in db.execute(f"SELECT {COLUMNS} FROM audit ORDER BY id").fetchall():
        head = Head(int(row[0]), link(head.hash, tuple(row)))
        db.execute("UPDATE audit SET hash = ? WHERE id = ?", (head.hash, head.row))
        count += 1
    if count:
        db.execute("INSERT INTO audit_head (only, row, hash) VALUES (1, ?, ?)", (head.row, head.hash))


def breaks_in(db: sqlite3.Connection, noted: Head | None) -> list[Break]:
    """Every place where the chain is broken, the oldest first; none of a whole one.

    noted: the head that was kept outside the database, if any. It may lag behind by the rows of a moment.
    """
    found, last, hashes = [], Head(), {0: ""}
    for row in db.execute(f"SELECT {COLUMNS}, hash FROM audit ORDER BY id"):
        number, stored = int(row[0]), str(row[6])
        if stored != link(last.hash, tuple(row[:6])):
            if number > last.row + 1:
                found.append(Break(number, f"{_missing(last.row + 1, number - 1)} before it"))
            else:
                found.append(Break(number, "it was changed or put here, or the row before it was"))
        last, hashes[number] = Head(number, stored), stored
    for head, where in ((head_in(db), "the database's head"), (noted, "audit.head")):
        if head is None or hashes.get(head.row) == head.hash:
            continue
        if head.row > last.row:
            what = f"{_missing(last.row + 1, head.row)} at the end: {where} speaks of row {head.row}"
        else:
            what = f"it is not the row that {where} speaks of"
        found.append(Break(min(head.row, last.row), what))
    if last.row and head_in(db) == Head():
        found.append(Break(last.row, "the database's head is missing"))
    return found


def _missing(first: int, last: int) -> str:
    return f"row {first} is missing" if first == last else f"rows {first}–{last} are missing"


def read_head(path: Path) -> Head | None:
    """The head in a file; None where there is none, or what is there can't be understood."""
    try:
        number, hashed = path.read_text(encoding="utf-8").split()
        return Head(int(number), hashed)
    except (OSError, ValueError):
        return None


def write_head(path: Path, head: Head) -> None:
    """Keep the head in a file, in one step. Raises `WardposeError` where it can't be written."""
    write_text(path, f"{head.row} {head.hash}\n")
