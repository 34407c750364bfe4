"""Recordings of the camera and of skeletons: made only for a reason, known to the audit trail, and deleted when they
expire.

The row that names a recording is written *before* its first frame: whatever happens then, the box knows what to delete.
The service writes it (`begin`) and how it ended (`end`); whoever records (`record`) asks it to, and looks by itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from appliance.bedside.camera_access import camera_frames
from appliance.live import pauses
from appliance.site import audit, intents
from appliance.site.database import now
from appliance.site.expiry import expires_at, parse_expiry
from appliance.site.folder import SiteFolder
from appliance.site.requests import Ask
from appliance.site.settings import load_settings
from calibration.atomic import atomic_file, disk_error
from calibration.errors import WardposeError
from calibration.processes import is_running, process_identity
from calibration.progress import Progress
from calibration.redaction import redacted

if TYPE_CHECKING:
    from runtime.frames import Frame

LONGEST_SECONDS = 3600.0
LONGEST_KEPT = timedelta(days=90)
SHORTEST_REASON = 8  # letters; "test" tells an auditor nothing
LEAST_FREE_BYTES = 1_000_000_000  # a recording never takes the room that the box itself needs
# What the audit trail calls them, and how a file is called that holds them.
CAMERA, SKELETONS = "camera.record", "skeletons.record"
SUFFIXES = {CAMERA: ".mkv", SKELETONS: ".parquet"}
_EDGE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Recorded:
    """One finished recording. expires_at: UTC."""

    file: Path
    source: str
    frames: int
    seconds: float
    bytes: int
    expires_at: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def record(
    site: SiteFolder, file: Path, ask: Ask, *, seconds: float, reason: str, expires: str, source: str | None = None,
    progress: Progress | None = None,
) -> Recorded:  # fmt: skip
    """Record the camera into an Azure Kinect .mkv at `file`, readable by this user alone.

    ask: of the service, before the camera is opened and when the file is complete. reason: why, for the audit trail.
    expires: `7d`, see `parse_expiry`; the box deletes the file then. A camera that runs live is recorded from there.
    Raises `WardposeError`, and leaves no file, for a missing reason or expiry, while the picture is paused, and for
    whatever goes wrong on the way.
    """
    file = file.absolute()
    full = source or load_settings(site).camera.source
    begun = ask(
        "camera.record", file=str(file), source=redacted(full), seconds=seconds, reason=reason, expires=expires,
        process=process_identity(os.getpid()),
    )  # fmt: skip
    try:
        with atomic_file(file) as stream, camera_frames(site, full) as frames:
            recorded = _write(
                stream, frames, file, begun["source"], seconds, reason.strip(), begun["expires_at"], progress
            )
    except BaseException:
        _tell_end(ask, begun["id"], kept=False)
        raise
    _tell_end(ask, begun["id"], kept=True)
    return recorded


def _tell_end(ask: Ask, number: int, *, kept: bool) -> None:
    with contextlib.suppress(WardposeError):  # the housekeeping finds a recorder that has gone, and what it left
        ask("camera.recorded", id=number, kept=kept)


def begin(
    site: SiteFolder, file: Path, *, source: str, seconds: float, reason: str, expires: str, process: str,
    deed: str = CAMERA,
) -> tuple[int, str]:  # fmt: skip
    """Write down that a recording begins; returns its number and when it expires (UTC). process: the recorder's
    identity; deed: `CAMERA` or `SKELETONS`. Raises `WardposeError`, and writes nothing, where it may not begin."""
    span = parse_expiry(expires, most=LONGEST_KEPT)
    _check(file, seconds, reason, deed)
    pauses.switch(site).require_off()
    expiry = expires_at(span)
    return _begin(site, file, redacted(source), reason.strip(), expiry, process, deed), expiry


def end(site: SiteFolder, number: int, *, kept: bool) -> None:
    """Write down how a recording ended. Does nothing for one whose end is known."""
    with site.database.transaction() as db:
        row = db.execute("SELECT file FROM recordings WHERE id = ? AND state = 'recording'", (number,)).fetchone()
    if row is None:
        return
    if kept:
        _set_state(site, number, "kept")
    else:
        _end(site, number, "abandoned", "recording.abandon", site.resolve(row["file"]), "nothing was kept")


def _check(file: Path, seconds: float, reason: str, deed: str) -> None:
    if sum(letter.isalpha() for letter in reason) < SHORTEST_REASON:
        raise WardposeError(
            "a recording shows the patient, so it needs a reason that others can judge",
            where="--reason",
            mend="write why, in a few words: the audit trail keeps it",
        )
    if not 0 < seconds <= LONGEST_SECONDS:
        raise WardposeError(
            f"{seconds:g} seconds can't be recorded", where="--seconds", mend=f"give 1 to {LONGEST_SECONDS:.0f}"
        )
    if deed == CAMERA and file.suffix.lower() != SUFFIXES[CAMERA]:
        raise WardposeError("a recording is a Matroska file", where=str(file), mend="name it FILE.mkv")
    if file.exists():
        raise WardposeError("there is a file of that name", where=str(file), mend="choose another name")


def _write(
    stream: IO[bytes], frames: Iterator[Frame], file: Path, spec: str, seconds: float, reason: str,
    expiry: str, progress: Progress | None,
) -> Recorded:  # fmt: skip
    from runtime.capture.k4a_file import EXPIRES_TAG
    from runtime.capture.k4a_writer import K4aWriter

    first = next(frames, None)
    if first is None:
        raise WardposeError("it holds no frame", where=spec, mend="choose another source")
    writer = K4aWriter(stream, first, {"WARDPOSE_REASON": reason, EXPIRES_TAG: expiry, "WARDPOSE_SOURCE": spec})
    writer.write(first)
    for frame in frames:
        if frame.timestamp_s - first.timestamp_s >= seconds:
            break
        if shutil.disk_usage(file.parent).free < LEAST_FREE_BYTES:
            raise WardposeError(
                "the disk is nearly full, so nothing was kept", where=str(file), mend="free some space, or record less"
            )
        writer.write(frame)
        if progress is not None:
            progress(min(int(writer.duration_s), int(seconds)), int(seconds), f"{writer.frames} frames")
    writer.finish()
    return Recorded(file, spec, writer.frames, round(writer.duration_s, 3), stream.tell(), expiry)


def _begin(site: SiteFolder, file: Path, source: str, reason: str, expiry: str, process: str, deed: str) -> int:
    with audit.deed(site, deed, f"{source} into {file} until {expiry}", reason) as db:
        others = db.execute(
            "SELECT process FROM recordings WHERE file = ? AND state = 'recording'", (site.relative(file),)
        ).fetchall()
        if any(is_running(other["process"]) for other in others):
            raise WardposeError(
                "another recording is being written to it", where=str(file), mend="choose another name, or wait for it"
            )
        row = db.execute(
            "INSERT INTO recordings (made_at, file, source, reason, expires_at, state, process) "
            "VALUES (?, ?, ?, ?, ?, 'recording', ?)",
            (now(), site.relative(file), source, reason, expiry, process),
        ).lastrowid
    return int(row or 0)


def _set_state(site: SiteFolder, row: int, state: str) -> None:
    with site.database.transaction(immediate=True) as db:
        db.execute("UPDATE recordings SET state = ? WHERE id = ?", (state, row))


def _end(site: SiteFolder, row: int, state: str, what: str, file: Path, why: str) -> None:
    """A recording's last state and the audit row that tells of it, in one; nothing where its end is known by now."""
    with contextlib.suppress(intents.Gone), audit.deed(site, what, str(file), why) as db:
        ended = db.execute(
            "UPDATE recordings SET state = ? WHERE id = ? AND state IN ('recording', 'kept')", (state, row)
        ).rowcount
        if not ended:
            raise intents.Gone(f"{file} was looked after by another program just now")


def delete_expired(site: SiteFolder) -> list[str]:
    """Delete what has expired, and what a recorder that was killed left behind; returns what couldn't be deleted.

    A file that is no longer the recording of that name is left alone.
    """
    with site.database.transaction() as db:
        rows = db.execute("SELECT * FROM recordings WHERE state IN ('recording', 'kept') ORDER BY id").fetchall()
    problems = []
    for row in rows:
        try:
            _look_after(site, row)
        except OSError as error:
            problems.append(str(disk_error(error, site.resolve(row["file"]))))
    return problems


def overdue(site: SiteFolder) -> list[str]:
    """The recordings that should have been deleted by now and are still there."""
    with site.database.transaction() as db:
        rows = db.execute("SELECT * FROM recordings WHERE state = 'kept' AND expires_at <= ?", (now(),)).fetchall()
    return [row["file"] for row in rows if _is_the_recording(site.resolve(row["file"]), row["expires_at"])]


def _look_after(site: SiteFolder, row: sqlite3.Row) -> None:
    file = site.resolve(row["file"])
    if row["state"] == "recording":
        if is_running(row["process"]):
            return
        for left in file.parent.glob(f".{file.name}.*.part"):
            left.unlink(missing_ok=True)
        if not file.exists():
            _end(site, row["id"], "abandoned", "recording.abandon", file, "its recorder was killed; nothing was kept")
            return
        _set_state(site, row["id"], "kept")  # killed between the file's last step and its row's
    if row["expires_at"] > now():
        return
    if _is_the_recording(file, row["expires_at"]):
        why = f"expired at {row['expires_at']}"
        with contextlib.suppress(intents.Gone):
            intents.delete(site, "recording.delete", str(file), why, [file], finisher=finish_deleting)
    elif not intents.is_being_deleted(site, file):
        why = f"expired at {row['expires_at']}, but was no longer there"
        _end(site, row["id"], "deleted", "recording.gone", file, why)


def finish_deleting(site: SiteFolder, intent: intents.Intent, db: sqlite3.Connection) -> None:
    """The row of a recording whose file was deleted says so."""
    for file in intent.deletes:
        db.execute("UPDATE recordings SET state = 'deleted' WHERE file = ? AND state = 'kept'", (file,))


def _is_the_recording(file: Path, expiry: str) -> bool:
    """Whether the file says of itself that it expires at that instant: Matroska at its head, Parquet at its end."""
    try:
        with file.open("rb") as stream:
            if expiry.encode() in stream.read(_EDGE_BYTES):
                return True
            stream.seek(max(0, file.stat().st_size - _EDGE_BYTES))
            return expiry.encode() in stream.read(_EDGE_BYTES)
    except FileNotFoundError:
        return False
