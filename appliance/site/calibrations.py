"""The site's calibrations: kept as files, listed in the database, used only once a person has confirmed them."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.site import intents
from appliance.site.database import now
from appliance.site.folder import SiteFolder
from calibration.errors import WardposeError

if TYPE_CHECKING:
    from calibration.estimate import CalibrationEstimate

CALIBRATE_FIRST = "calibrate first: wardpose calibrate tags"
REFERENCE = ".watch"  # what the watch keeps to know the room again, beside its calibration
FORMER_REFERENCE = ".watch.npz"  # held pieces of the picture


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """One kept calibration; `file` is relative to the site folder."""

    id: int
    made_at: str
    method: str
    file: str
    confirmed: bool
    reprojection_px: float


def keep(site: SiteFolder, estimate: CalibrationEstimate, reason: str = "") -> CalibrationRow:
    """Write the estimate to a file of its own and then list it."""
    from calibration.files import save_estimate

    made_at = now()
    # Two at once may be kept within one millisecond.
    name = f"{made_at.replace(':', '').replace('.', '-')}-{estimate.method}-{secrets.token_hex(3)}.json"
    path = site.calibrations / name
    told = "confirmed" if estimate.confirmed else "not yet confirmed"
    told += f": {reason}" if reason else ""
    with intents.intend(site, "calibration.keep", estimate.method, told, unmakes=[path]) as deed:
        save_estimate(replace(estimate, made_at=made_at), path)
        with deed.commit() as db:
            row = db.execute(
                "INSERT INTO calibrations (made_at, method, file, confirmed, reprojection_px) VALUES (?, ?, ?, ?, ?)",
                (made_at, estimate.method, site.relative(path), estimate.confirmed, estimate.reprojection_px),
            )
            number = int(row.lastrowid or 0)
    forget_references(site)
    return find(site, number)


def find(site: SiteFolder, number: int) -> CalibrationRow:
    for row in rows(site):
        if row.id == number:
            return row
    raise WardposeError(f"there is no calibration {number}", mend=CALIBRATE_FIRST)


def rows(site: SiteFolder, limit: int = 100) -> list[CalibrationRow]:
    """The newest first."""
    with site.database.transaction() as db:
        found = db.execute(
            "SELECT id, made_at, method, file, confirmed, reprojection_px FROM calibrations ORDER BY id DESC LIMIT ?",
            (limit,),
        )
        return [CalibrationRow(r[0], r[1], r[2], r[3], bool(r[4]), r[5]) for r in found]


def load(site: SiteFolder, row: CalibrationRow) -> CalibrationEstimate:
    """The estimate of a listed calibration."""
    from calibration.files import load_estimate

    return load_estimate(site.resolve(row.file))


def current_row(site: SiteFolder) -> CalibrationRow | None:
    """The one in use: the newest that a person has confirmed."""
    return next((row for row in rows(site) if row.confirmed), None)


def current(site: SiteFolder) -> CalibrationEstimate:
    """The estimate in use; raises `WardposeError` when none is confirmed yet."""
    row = current_row(site)
    if row is None:
        unconfirmed = rows(site, 1)
        raise WardposeError(
            "the newest calibration is not confirmed" if unconfirmed else "this site is not calibrated",
            mend="say whether head and foot are right: wardpose calibrate confirm" if unconfirmed else CALIBRATE_FIRST,
        )
    return load(site, row)


def confirm(site: SiteFolder, number: int | None = None, *, turned: bool = False, reason: str = "") -> CalibrationRow:
    """Keep a confirmed copy of calibration `number` (default: the newest).

    turned: the person saw that head and foot were exchanged; the copy has them the right way round.
    """
    from calibration.estimate import turned_round

    known = rows(site)
    if not known:
        raise WardposeError("there is no calibration to confirm", mend=CALIBRATE_FIRST)
    row = find(site, number) if number is not None else known[0]
    estimate = load(site, row)
    return keep(site, replace(turned_round(estimate) if turned else estimate, confirmed=True), reason)


def leaves_earlier_view(site: SiteFolder, row: CalibrationRow) -> bool | None:
    """Whether a confirmed calibration lies outside the posterior of the one confirmed before it, from which the site's
    images were sampled, so that making images and tuning again pays; None for the first one."""
    from calibration.drift import leaves_posterior

    earlier = next((other for other in rows(site) if other.confirmed and other.id < row.id), None)
    if earlier is None:
        return None
    return leaves_posterior(load(site, earlier), load(site, row).camera_from_bed)


def refine_newest(site: SiteFolder, estimate: CalibrationEstimate) -> CalibrationEstimate:
    """`estimate` combined with the newest calibration kept; raises `WardposeError` where they contradict each other."""
    from calibration.refine import refined

    known = rows(site, 1)
    if not known:
        raise WardposeError("there is no calibration to refine", mend="calibrate without --refine first")
    return refined(load(site, known[0]), estimate)


def discard(site: SiteFolder, number: int) -> None:
    """Forget a calibration that nobody has confirmed; raises `WardposeError` for one that is in use or was."""
    row = find(site, number)
    if row.confirmed:
        raise WardposeError(
            f"calibration {number} was confirmed", mend="calibrate anew: the newest confirmed one is used"
        )
    file = site.resolve(row.file)
    why = f"number {number}"
    intents.delete(site, "calibration.discard", row.method, why, [file], finisher=finish_discarding)
    forget_references(site)


def finish_discarding(site: SiteFolder, intent: intents.Intent, db: sqlite3.Connection) -> None:
    """The row of a calibration whose file was deleted goes too."""
    db.executemany("DELETE FROM calibrations WHERE file = ? AND confirmed = 0", [(file,) for file in intent.deletes])


def reference_file(calibration: Path) -> Path:
    """What is kept to know the room and the bed of that calibration's file again."""
    return calibration.with_suffix(REFERENCE)


def forget_references(site: SiteFolder) -> list[str]:
    """Delete what is kept to watch by calibrations that are no longer in use, and what a former version kept, which
    held pieces of the picture; returns what couldn't be deleted."""
    used = current_row(site)
    wanted = None if used is None else reference_file(site.resolve(used.file))
    problems = []
    for path in sorted((*site.calibrations.glob(f"*{REFERENCE}"), *site.calibrations.glob(f"*{FORMER_REFERENCE}"))):
        if path == wanted:
            continue
        why = "held pieces of the picture" if path.name.endswith(FORMER_REFERENCE) else "its calibration has ended"
        try:
            with contextlib.suppress(intents.Gone):
                intents.delete(site, "watch.forget", path.name, why, [path])
        except WardposeError as error:
            problems.append(str(error))
    return problems
