"""`site.db`: what a box has made and done, in SQLite with a write-ahead log.

A connection lives for one transaction: cheap (about a millisecond), safe from any thread or process, and nothing is
held open when a process is killed.

Reading wants no room: where the disk is full or read-only, what the database says is read into memory (see `_copied`).
A deed's few rows are written on the site's ballast then.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from appliance.site import ballast
from appliance.site.audit_chain import chain_up
from calibration.disk import DiskError, is_about_the_disk, sqlite_trouble
from calibration.errors import WardposeError

IN_MEMORY = Path("/dev/shm")
# One script (or function of the connection) a version; never edit one that has been released, append the next.
MIGRATIONS: tuple[str | Callable[[sqlite3.Connection], None], ...] = (
    """
    CREATE TABLE calibrations (
        id INTEGER PRIMARY KEY, made_at TEXT NOT NULL, method TEXT NOT NULL, file TEXT NOT NULL,
        confirmed INTEGER NOT NULL DEFAULT 0, reprojection_px REAL NOT NULL);
    CREATE TABLE datasets (
        id INTEGER PRIMARY KEY, made_at TEXT NOT NULL, folder TEXT NOT NULL, scenario TEXT NOT NULL,
        images INTEGER NOT NULL, seed INTEGER NOT NULL);
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY, made_at TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL,
        data TEXT NOT NULL, figures TEXT NOT NULL);
    CREATE TABLE models (
        name TEXT PRIMARY KEY, added_at TEXT NOT NULL, task TEXT NOT NULL, folder TEXT NOT NULL,
        sha256 TEXT NOT NULL, origin TEXT NOT NULL);
    CREATE TABLE promotions (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, task TEXT NOT NULL, model TEXT NOT NULL, previous TEXT NOT NULL,
        accepted INTEGER NOT NULL, reasons TEXT NOT NULL, who TEXT NOT NULL);
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, title TEXT NOT NULL, parameters TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'queued', heavy INTEGER NOT NULL, resumable INTEGER NOT NULL,
        created_at TEXT NOT NULL, started_at TEXT NOT NULL DEFAULT '', finished_at TEXT NOT NULL DEFAULT '',
        process TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0,
        cancel_requested INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0,
        total INTEGER NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '', result TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT '');
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL,
        reason TEXT NOT NULL);
    CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
    CREATE TRIGGER audit_keeps_words BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
    """,
    """
    CREATE TABLE recordings (
        id INTEGER PRIMARY KEY, made_at TEXT NOT NULL, file TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
        expires_at TEXT NOT NULL, state TEXT NOT NULL, process TEXT NOT NULL);
    """,
    # The audit trail becomes a chain; what settings were seen last is kept, so that an edit by hand shows.
    """
    ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
    CREATE TABLE audit_head (only INTEGER PRIMARY KEY CHECK (only = 1), row INTEGER NOT NULL, hash TEXT NOT NULL);
    DROP TRIGGER audit_keeps_words;
    """,
    chain_up,
    """
    CREATE TRIGGER audit_keeps_words BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
    CREATE TABLE noted (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    ALTER TABLE jobs ADD COLUMN asked_by TEXT NOT NULL DEFAULT '';
    ALTER TABLE jobs ADD COLUMN outcome TEXT NOT NULL DEFAULT '';
    """,
    # What somebody is about to do to files: see `appliance.site.intents`.
    """
    CREATE TABLE intents (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL,
        reason TEXT NOT NULL, plan TEXT NOT NULL, process TEXT NOT NULL);
    """,
    # Which weights were shown which held-out pictures, in their order: what the gate allows shrinks with each.
    """
    CREATE TABLE tries (
        held_out TEXT NOT NULL, candidate TEXT NOT NULL, task TEXT NOT NULL, at TEXT NOT NULL,
        PRIMARY KEY (held_out, candidate));
    """,
    # Somebody wants a job to pause; held: its process does, at a place where it holds nothing of others.
    """
    ALTER TABLE jobs ADD COLUMN pause_requested INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
    """,
)


def now() -> str:
    """This instant, UTC, to the millisecond, as stored in every table."""
    return stamp(datetime.now(UTC))


def stamp(instant: datetime) -> str:
    """An instant as every table has it: UTC, to the millisecond. Such texts sort as their instants do."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Database:
    """Opens `path`, bringing its schema up to date once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.suppress(OSError):  # told when it is opened; its companions -wal and -shm take its rights over
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with self.transaction() as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > len(MIGRATIONS):
            raise WardposeError(
                f"written by a newer wardpose (schema {version}; this one knows {len(MIGRATIONS)})",
                where=str(path),
                mend="update wardpose on this box, or restore the site folder's backup",
            )
        if version < len(MIGRATIONS):
            with contextlib.suppress(DiskError), self.transaction(immediate=True) as db:
                _migrate(db)  # on a full disk later; what is read meanwhile is brought up to date in memory

    @contextlib.contextmanager
    def transaction(self, *, immediate: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are committed when the block ends, and undone when it raises.

        immediate: take the write lock first, for a decision that depends on what is read, and for whatever must be
        written: without it, a disk that can't be written gives a connection that can only read.
        Raises `DiskError` where the disk is to blame for what can't be written.
        """
        connection = self._begun_writing() if immediate else self._begun_reading()
        try:
            connection.row_factory = sqlite3.Row
            yield connection
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error
        finally:
            connection.close()  # an open transaction is rolled back

    def _begun_writing(self) -> sqlite3.Connection:
        ballast.make_room(self.path.parent)
        try:
            return self._opened("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self._told(error) from error

    def _begun_reading(self) -> sqlite3.Connection:
        try:
            return self._opened("BEGIN")
        except sqlite3.Error as error:
            if not is_about_the_disk(error):
                raise self._told(error) from error
            try:
                return _copied(self.path)
            except (sqlite3.Error, OSError):
                raise self._told(error) from error

    def _opened(self, begin: str) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=15, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(begin)
            connection.execute("SELECT count(*) FROM sqlite_master")  # now, so that what hinders reading shows here
        except BaseException:
            connection.close()
            raise
        return connection

    def _told(self, error: sqlite3.Error) -> WardposeError:
        if (trouble := sqlite_trouble(error, self.path)) is not None:
            return trouble.error()
        text = str(error)
        if "not a database" in text or "malformed" in text:
            mend = "restore site.db from a backup of the site folder, or move it away to start an empty one"
        else:
            mend = "give the command again; if it stays, report it"
        return WardposeError(f"the site's database can't be used ({text})", where=str(self.path), mend=mend)


def _copied(path: Path) -> sqlite3.Connection:
    """All that the database at `path` says, in memory, brought up to date and closed to writing; an empty one where
    there is none.

    SQLite wants an index of its log beside a database that it reads. Alone with it, it does with one in memory; where
    not even a log can be made, or the lock be taken, database and log are read elsewhere, as they lie.
    """
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        state = _state(path)
        if state is not None and state[1]:
            _read_into(memory, path)
        memory.execute("BEGIN")
        _migrate(memory)
        memory.execute("COMMIT")
        memory.execute("PRAGMA query_only = ON")
        memory.execute("BEGIN")
    except BaseException:
        memory.close()
        raise
    return memory


def _read_into(memory: sqlite3.Connection, path: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=2, isolation_level=None)) as alone:
            alone.execute("PRAGMA locking_mode = EXCLUSIVE")
            alone.backup(memory)
            return
    except sqlite3.Error:
        pass
    with tempfile.TemporaryDirectory(prefix="wardpose-", dir=IN_MEMORY) as folder:
        copy, log = Path(folder) / path.name, path.with_name(f"{path.name}-wal")
        for _ in range(3):  # whoever could still write meanwhile would have torn it
            before = _state(path), _state(log)
            copy.write_bytes(path.read_bytes())
            with contextlib.suppress(FileNotFoundError):
                copy.with_name(log.name).write_bytes(log.read_bytes())
            if (_state(path), _state(log)) == before:
                break
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as read:
            read.backup(memory)


def _state(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return about.st_mtime_ns, about.st_size


def _migrate(db: sqlite3.Connection) -> None:
    """Bring the schema up to date, in the caller's transaction."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        if isinstance(script, str):
            for statement in _statements(script):
                db.execute(statement)
        else:
            script(db)
        db.execute(f"PRAGMA user_version = {number}")


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one (`executescript` would commit behind our back)."""
    pending = ""
    for piece in script.split(";"):
        pending += piece + ";"
        if sqlite3.complete_statement(pending):
            if pending.strip(" \n;"):
                yield pending
            pending = ""
