"""Skeletons that are kept: only when somebody asks, for a reason, for a while, and never a pixel.

A stream is what the live path says of people while it is recorded, in a Parquet file of the site; it has its row and
its end as a recording of the camera has (`recordings`). Nothing of it is written while the site is paused.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from appliance.bedside import recordings
from appliance.live.addresses import result_socket
from appliance.live.pauses import switch
from appliance.site import audit, intents
from appliance.site.database import now
from appliance.site.folder import SiteFolder
from appliance.site.requests import Ask
from calibration.atomic import atomic_file, disk_error
from calibration.errors import WardposeError
from calibration.processes import process_identity
from calibration.progress import Progress

FOLDER, SUFFIX = "skeletons", recordings.SUFFIXES[recordings.SKELETONS]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_HEAR_S = 5.0


@dataclass(frozen=True, slots=True)
class Stream:
    """One that is kept. made_at, expires_at: UTC."""

    name: str
    made_at: str
    expires_at: str
    reason: str
    bytes: int


def file_of(site: SiteFolder, name: str) -> Path:
    """Where the stream of a name lies; raises WardposeError for what is no name."""
    if not _NAME.fullmatch(name):
        raise WardposeError(f"{name!r} is no name", where="skeletons", mend="use letters, digits, dots and dashes")
    return site.root / FOLDER / f"{name}{SUFFIX}"


def require(site: SiteFolder, name: str) -> Path:
    """The file of a stream that is kept; raises WardposeError where there is none."""
    file = file_of(site, name)
    if all(row.name != name for row in rows(site)) or not file.is_file():
        raise WardposeError(f"no skeletons are kept as {name!r}", mend="see `wardpose skeletons list`")
    return file


def rows(site: SiteFolder) -> list[Stream]:
    """Those that are kept, oldest first."""
    with site.database.transaction() as db:
        found = db.execute(
            "SELECT * FROM recordings WHERE state = 'kept' AND file LIKE ? ORDER BY id", (f"{FOLDER}/%{SUFFIX}",)
        ).fetchall()
    files = [(row, site.resolve(row["file"])) for row in found]
    return [
        Stream(file.stem, row["made_at"], row["expires_at"], row["reason"], file.stat().st_size)
        for row, file in files
        if file.is_file()
    ]


def record(
    site: SiteFolder, name: str, ask: Ask, *, seconds: float, reason: str, expires: str,
    progress: Progress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Keep what the live path says of people for so long; returns name, file, rows, frames, seconds, expires_at.

    ask: of the service, before and after. Raises `WardposeError`, and leaves no file, for a missing reason or expiry,
    while the picture is paused or nothing runs, and for whatever goes wrong on the way.
    """
    file = file_of(site, name)
    begun = ask(
        "skeletons.record", name=name, seconds=seconds, reason=reason, expires=expires,
        process=process_identity(os.getpid()),
    )  # fmt: skip
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        with atomic_file(file) as stream:
            found = _write(site, stream, seconds, reason.strip(), begun["expires_at"], progress)
    except BaseException:
        _tell_end(ask, begun["id"], kept=False)
        raise
    _tell_end(ask, begun["id"], kept=True)
    return {"name": name, "file": str(file), **found, "expires_at": begun["expires_at"]}


def _tell_end(ask: Ask, number: int, *, kept: bool) -> None:
    with contextlib.suppress(WardposeError):  # the housekeeping finds a recorder that has gone, and what it left
        ask("skeletons.recorded", id=number, kept=kept)


def _write(
    site: SiteFolder, stream: IO[bytes], seconds: float, reason: str, expiry: str, progress: Progress | None
) -> dict[str, Any]:
    from runtime.motion.parquet_file import SkeletonWriter

    told = {"expires_at": expiry, "reason": reason}
    writer: SkeletonWriter | None = None
    try:
        for message, left in _messages(site, seconds):
            if writer is None and message["state"] == "live":
                told["models"] = ", ".join(message["models"].values())
                writer = SkeletonWriter(stream, message["width"], message["height"], now(), told)
            if writer is not None:
                writer.write(message)
                if progress is not None:
                    progress(min(int(seconds - left), int(seconds)), int(seconds) or 1, f"{writer.frames} frames")
    except BaseException:
        if writer is not None:
            writer.close()  # while there is a stream to close it on
        raise
    if writer is None:
        raise WardposeError("there was no live picture", where="skeletons", mend="start it: `wardpose run`")
    writer.finish()
    return {"rows": writer.rows, "frames": writer.frames, "seconds": round(writer.duration_s, 3)}


def _messages(site: SiteFolder, seconds: float) -> Iterator[tuple[dict[str, Any], float]]:
    """What the live path says for so long, and how much of it is left (s); a pause or a silence raises."""
    from runtime.bus import ResultClient

    heard = began = time.monotonic()
    with ResultClient(result_socket(site)) as client:
        while (left := began + seconds - time.monotonic()) > 0:
            switch(site).require_off()
            try:
                message = client.latest(min(left, 0.5))
            except WardposeError:
                if time.monotonic() - heard > _HEAR_S:
                    raise
                time.sleep(0.05)
                continue
            heard = time.monotonic()
            yield message, left


def delete(site: SiteFolder, name: str, reason: str) -> None:
    """Delete a stream before its time; raises WardposeError where there is none."""
    intents.delete(site, "skeletons.delete", name, reason, [require(site, name)], finisher=recordings.finish_deleting)


def note_export(site: SiteFolder, name: str, to: str, out: str, reason: str) -> Path:
    """Write down that a stream leaves the box's own keeping, which ends no more by itself; returns its file."""
    file = require(site, name)
    audit.record(site, "skeletons.export", f"{name} as {to} into {out}", reason)
    return file


def export(file: Path, to: str, out: Path, person: int | None = None) -> list[Path]:
    """Write a stream as `c3d`, `csv` (a file) or `bids` (a folder); returns what was written."""
    from runtime.motion.c3d_file import write_c3d
    from runtime.motion.parquet_file import read_motion
    from runtime.motion.tables import write_bids, write_csv

    motion = read_motion(file)
    if person is not None:
        motion = motion.of(person)
    if to == "bids":
        return write_bids(motion, out)
    _take_name(out)
    try:
        (write_c3d if to == "c3d" else write_csv)(motion, out)
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    return [out]


def _take_name(out: Path) -> None:
    """An empty file of that name, from now on: of two exports at once the second would take the first one's place."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise WardposeError("there is a file of that name", where=str(out), mend="choose another name") from None
    except OSError as error:
        raise disk_error(error, out) from error


def told(stream: Stream) -> dict[str, Any]:
    return asdict(stream)
