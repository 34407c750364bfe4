"""The site's plates of the empty bed: taken, shown to a person, kept for a while, and gone when their time is up.

A plate is a picture of a room: every capture, look, removal and expiry is an audit row, and an expired one is deleted
by `delete_expired`, which the housekeeping runs.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.bedside.camera_access import camera_frames
from appliance.live import pauses
from appliance.site import audit, calibrations, intents
from appliance.site.database import now
from appliance.site.expiry import expires_at, parse_expiry
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from calibration.atomic import disk_error, sync_folder
from calibration.errors import WardposeError
from calibration.progress import Progress

if TYPE_CHECKING:
    from calibration.plate import Plate
    from runtime.frames import Frame

SECONDS, MOST_FRAMES = 3.0, 30
KEPT, LONGEST_KEPT = "30d", timedelta(days=365)
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_STAGED = re.compile(r"\.[0-9a-f]{32}\.part")
_EXPIRED = "expired"
_CUT_OFF_SECONDS = 600.0
_MORE = "see `wardpose plates list`"


@dataclass(frozen=True, slots=True)
class PlateRow:
    """One kept plate. usable: unexpired and of the calibration in use; why: the reason where it is not."""

    name: str
    captured_at: str
    expires_at: str
    calibration: str
    usable: bool
    why: str


def plate_source(site: SiteFolder, source: str | None = None) -> str:
    """The source that shows the empty bed: `source`, or the site's camera."""
    from runtime.capture.source import emptied

    return emptied(source or load_settings(site).camera.source)


def capture(
    site: SiteFolder, *, source: str | None = None, seconds: float = SECONDS, expires: str = KEPT,
    progress: Progress | None = None,
) -> Plate:  # fmt: skip
    """A plate of the empty bed, kept nowhere yet.

    Whoever takes one has asked for it (`camera.look`). expires: how long it may be kept, such as `30d`. A camera that
    runs live is looked at from there.
    Raises `WardposeError` where no calibration is confirmed, the source has no depth, something moved, somebody is in
    the picture or something lies on the bed.
    """
    from calibration.plate import Plate
    from runtime.capture.plate_capture import fuse, require_empty_bed

    if not 0 < seconds <= 60:
        raise WardposeError(f"{seconds:g} seconds can't be fused", where="plates", mend="give 0–60 seconds")
    span = parse_expiry(expires, most=LONGEST_KEPT)
    pauses.switch(site).require_off()
    row = calibrations.current_row(site)
    estimate = calibrations.current(site)
    assert row is not None
    spec = plate_source(site, source)
    frames = _look(site, spec, seconds, progress)
    if progress is not None:
        progress(0, 0, f"laying {len(frames)} pictures over each other")
    view = fuse(frames)
    camera = estimate.camera.cut(view.camera.width, view.camera.height)
    if max(abs(camera.fx / view.camera.fx - 1), abs(camera.fy / view.camera.fy - 1)) > 0.02:
        raise WardposeError(
            "its lens is not the calibration's", where=spec, mend="calibrate with this camera, then take the plate"
        )
    require_empty_bed(view, estimate.camera_from_bed, estimate.bed, spec)
    _require_nobody(site, view.color, spec, progress)
    return Plate(
        color=view.color, depth=view.depth, measured=view.measured, camera=view.camera,
        camera_from_bed=estimate.camera_from_bed, bed=estimate.bed, calibration=row.file, noise=view.noise,
        captured_at=now(), expires_at=expires_at(span),
    )  # fmt: skip


def keep(site: SiteFolder, plate: Plate, name: str = "") -> PlateRow:
    """Store a plate that a person has seen; `name` defaults to its day and a number."""
    staged = stage(site, plate)
    try:
        return keep_staged(site, staged, name)
    finally:
        unstage(site, staged)


def stage(site: SiteFolder, plate: Plate) -> str:
    """Write a plate beside those that are kept, where nothing uses it yet; returns its folder's name, for
    `keep_staged`. What is left of it goes with `unstage`, or by itself after ten minutes."""
    from calibration.plate import save_plate

    name = f".{uuid.uuid4().hex}.part"
    try:
        save_plate(plate, site.plates / name)
    except BaseException as error:
        unstage(site, name)
        if isinstance(error, OSError):
            raise disk_error(error, site.plates / name) from error
        raise
    return name


def unstage(site: SiteFolder, staged: str) -> None:
    shutil.rmtree(site.plates / staged, ignore_errors=True)


def keep_staged(site: SiteFolder, staged: str, name: str = "", reason: str = "") -> PlateRow:
    """Keep what `stage` wrote, under `name`; raises `WardposeError` where it isn't there, or the name is taken."""
    from calibration.plate import load_plate

    if not _STAGED.fullmatch(staged):
        raise WardposeError(f"{staged!r} is no staged plate", mend="take the plate anew")
    plate = load_plate(site.plates / staged)
    name = name or _free_name(site, plate.captured_at[:10])
    folder = _folder(site, name)
    _require_free(folder)
    why = f"until {plate.expires_at[:10]}{f': {reason}' if reason else ''}"
    try:
        with intents.intend(site, "plate.keep", name, why, made=folder):
            _require_free(folder)  # somebody else's may have come just now
            (site.plates / staged).rename(folder)
            sync_folder(site.plates)
    except OSError as error:
        raise disk_error(error, folder) from error
    return find(site, name)


def require_name(site: SiteFolder, name: str) -> None:
    """Say before anybody looks that a plate can't be called so; raises `WardposeError`."""
    _require_free(_folder(site, name))


def _require_free(folder: Path) -> None:
    if folder.exists():
        raise WardposeError(f"a plate {folder.name} is there already", mend="give another name, or remove that one")


def rows(site: SiteFolder) -> list[PlateRow]:
    """The plates kept, by name; a damaged one too, with what is wrong with it."""
    from calibration.plate import DESCRIPTION, describe_plate, instant

    used = calibrations.current_row(site)
    found = []
    for folder in sorted(site.plates.iterdir()):
        if folder.name.startswith(".") or not (folder / DESCRIPTION).is_file():
            continue
        try:
            values = describe_plate(folder)
            expires = instant(str(values["expires_at"]))
        except (WardposeError, ValueError, KeyError) as error:
            found.append(PlateRow(folder.name, "", "", "", False, f"damaged: {error}"))
            continue
        why = ""
        if datetime.now(UTC) >= expires:
            why = _EXPIRED
        elif used is None or values["calibration"] != used.file:
            why = "of another calibration than the one in use"
        found.append(
            PlateRow(folder.name, values["captured_at"], values["expires_at"], values["calibration"], not why, why)
        )
    return found


def find(site: SiteFolder, name: str) -> PlateRow:
    for row in rows(site):
        if row.name == name:
            return row
    raise WardposeError(f"there is no plate {name}", mend=_MORE)


def usable(site: SiteFolder) -> tuple[str, ...]:
    """The folders of the plates that synthesis may use now."""
    return tuple(str(site.plates / row.name) for row in rows(site) if row.usable)


def look(site: SiteFolder, name: str) -> Plate:
    """The plate, for somebody to see who has said so (`note_look`). An expired one is shown to nobody."""
    from calibration.plate import load_plate

    find(site, name)
    plate = load_plate(site.plates / name)
    if plate.expired():
        raise WardposeError(f"plate {name} expired on {plate.expires_at[:10]}", mend="take a new one")
    return plate


def note_look(site: SiteFolder, name: str, reason: str) -> None:
    """Write down that somebody looks at a plate; raises `WardposeError` where it may be shown to nobody."""
    look(site, name)
    audit.record(site, "plate.look", name, reason)


def remove(site: SiteFolder, name: str, reason: str = "") -> None:
    """Delete a plate; the description goes first, so that no half plate is ever left to be used."""
    find(site, name)
    intents.delete(site, "plate.remove", name, reason, [site.plates / name], carry_out=lambda: _delete(site, name))


def delete_expired(site: SiteFolder) -> list[str]:
    """Delete the plates whose time is up, and what a capture that was killed left; returns what couldn't be deleted."""
    problems = []
    for left in site.plates.glob(".*.part"):
        if time.time() - left.stat().st_mtime > _CUT_OFF_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    for row in rows(site):
        if row.why != _EXPIRED:
            continue
        folder, why = site.plates / row.name, f"expired at {row.expires_at}"
        try:
            with contextlib.suppress(intents.Gone):
                intents.delete(
                    site, "plate.expire", row.name, why, [folder], carry_out=partial(_delete, site, row.name)
                )
        except WardposeError as error:
            problems.append(str(error))
    return problems


def _look(site: SiteFolder, spec: str, seconds: float, progress: Progress | None) -> list[Frame]:
    """The frames of `seconds` (at most `MOST_FRAMES`; fewer where the source ends)."""
    found: list[Frame] = []
    begun = 0.0
    with camera_frames(site, spec) as frames:
        for frame in frames:
            found.append(frame)
            begun = begun or time.monotonic()
            elapsed = time.monotonic() - begun
            if progress is not None:
                progress(min(int(elapsed), int(seconds)), int(seconds), f"{len(found)} pictures")
            if elapsed >= seconds or len(found) == MOST_FRAMES:
                break
    if not found:
        raise WardposeError("it gave no picture", where=spec, mend="see `wardpose camera probe`")
    return found


def _require_nobody(site: SiteFolder, color: object, spec: str, progress: Progress | None) -> None:
    """Ask the detector in use whether somebody is in the picture."""
    import numpy as np

    from appliance.models.store import ModelStore
    from appliance.models.use import open_detector

    if progress is not None:
        progress(0, 0, "looking for people")
    detector = open_detector(site, ModelStore(site).live("detect"), confidence=0.4)
    people = len(detector.detect(np.asarray(color, dtype=np.uint8)).score)
    if people:
        raise WardposeError(
            "somebody is in the picture", where=spec, mend="take the plate when the bed is empty and nobody stands by"
        )


def _folder(site: SiteFolder, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise WardposeError(f"{name!r} can't name a plate", mend="use up to 60 small letters, digits and hyphens")
    return site.plates / name


def _free_name(site: SiteFolder, day: str) -> str:
    number, name = 1, day
    while (site.plates / name).exists():
        number += 1
        name = f"{day}-{number}"
    return name


def _delete(site: SiteFolder, name: str) -> None:
    from calibration.plate import DESCRIPTION

    folder = site.plates / name
    try:
        with contextlib.suppress(FileNotFoundError):
            (folder / DESCRIPTION).unlink()
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise disk_error(error, folder) from error
