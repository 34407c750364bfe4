"""What the fault suite cuts off: each operation that changes a site's files, on a small site, and what must hold of the
site afterwards whatever instant it was cut off at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from appliance.bedside import plates
from appliance.jobs.store import JobStore
from appliance.live import pauses
from appliance.models.store import ModelStore
from appliance.site import audit, calibrations
from appliance.site.folder import SiteFolder
from appliance.site.settings import set_value
from calibration.errors import WardposeError
from calibration.plate import DESCRIPTION, Plate
from tuning.store.card import CARD_FILE, ModelCard, read_card, verify_weights
from tuning.store.save import save_model

if TYPE_CHECKING:
    from calibration.estimate import CalibrationEstimate

_SIZE = (48, 64)  # height, width of the small pictures


def prepare(root: Path) -> SiteFolder:
    """A site with two calibrations of which one is confirmed, three plates of which one has expired, and two models of
    which one is live."""
    site = SiteFolder.open(root)
    calibrations.confirm(site, calibrations.keep(site, _estimate()).id)
    calibrations.keep(site, _estimate())
    for name, days in (("monday", 20), ("tuesday", 20), ("last-year", -1)):
        plates.keep(site, _plate(days), name)
    for name in ("first", "second"):
        _add_model(site, name)
    ModelStore(site).record_promotion("first", accepted=True, reasons={"asked": "to begin with"})
    return site


def _keep_calibration(site: SiteFolder) -> None:
    calibrations.keep(site, _estimate(), "kept")


def _confirm_calibration(site: SiteFolder) -> None:
    calibrations.confirm(site, reason="seen")


def _discard_calibration(site: SiteFolder) -> None:
    calibrations.discard(site, max(row.id for row in calibrations.rows(site) if not row.confirmed))


def _keep_plate(site: SiteFolder) -> None:
    plates.keep(site, _plate(20), "wednesday")


def _remove_plate(site: SiteFolder) -> None:
    plates.remove(site, "monday", "no longer wanted")


def _expire_plates(site: SiteFolder) -> None:
    plates.delete_expired(site)


def _tune(site: SiteFolder) -> None:
    _add_model(site, "third")


def _remove_model(site: SiteFolder) -> None:
    ModelStore(site).remove("second", "no longer wanted")


def _promote(site: SiteFolder) -> None:
    ModelStore(site).record_promotion("second", accepted=True, reasons={"asked": "better"}, against="first")


def _set_setting(site: SiteFolder) -> None:
    set_value(site, "display", "port", 8123)


def _pause(site: SiteFolder) -> None:
    pauses.pause(site, "washing")


def _submit(site: SiteFolder) -> None:
    JobStore(site).submit("export", {"model": "first"})


OPERATIONS: dict[str, Callable[[SiteFolder], None]] = {
    "calibration kept": _keep_calibration,
    "calibration confirmed": _confirm_calibration,
    "calibration discarded": _discard_calibration,
    "plate kept": _keep_plate,
    "plate removed": _remove_plate,
    "plates expired": _expire_plates,
    "model added": _tune,
    "model promoted": _promote,
    "model removed": _remove_model,
    "setting changed": _set_setting,
    "pause": _pause,
    "job submitted": _submit,
}


def faults_of(site: SiteFolder) -> Iterator[str]:
    """What does not hold of a site that nothing is being done to; nothing where all holds."""
    verdict = audit.verify(site)
    if not verdict.whole:
        yield f"the audit trail is broken: {verdict.breaks}"
    rows = [(row.what, row.subject) for row in audit.rows(site, None)]
    with site.database.transaction() as db:
        if db.execute("SELECT count(*) FROM intents").fetchone()[0]:
            yield "an intent is left"
        models = {row["name"]: row["sha256"] for row in db.execute("SELECT name, sha256 FROM models")}
        promoted = db.execute("SELECT count(*) FROM promotions WHERE accepted = 1").fetchone()[0]
        jobs = db.execute("SELECT count(*) FROM jobs").fetchone()[0]
        if db.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            yield "the database is damaged"
    listed = {site.resolve(row.file) for row in calibrations.rows(site)}
    if listed != set(site.calibrations.glob("*.json")):
        yield "calibrations and their rows differ"
    kept, discarded = (sum(what == f"calibration.{deed}" for what, _ in rows) for deed in ("keep", "discard"))
    if kept - discarded != len(listed):
        yield "a calibration stands without its audit row, or a row without it"
    for row in calibrations.rows(site):
        calibrations.load(site, row)
    yield from _plate_faults(site, rows)
    for folder in site.models.glob("[!.]*"):
        if not (folder / CARD_FILE).is_file():
            continue
        card = read_card(folder)
        verify_weights(folder, card)
        if models.pop(folder.name, None) != card.sha256:
            yield f"the model {folder.name} has no row that tells of a change"
        added, removed = (rows.count((f"model.{deed}", folder.name)) for deed in ("add", "remove"))
        if added - removed != 1:
            yield f"the model {folder.name} stands without its audit row"
    if models:
        yield f"rows of models that are not there: {sorted(models)}"
    if promoted != sum(what == "model.promote" for what, _ in rows):
        yield "promotions and their audit rows differ"
    if jobs != sum(what == "job.submit" for what, _ in rows):
        yield "jobs and their audit rows differ"


def _plate_faults(site: SiteFolder, rows: list[tuple[str, str]]) -> Iterator[str]:
    there = {
        folder.name for folder in site.plates.iterdir() if (folder / DESCRIPTION).is_file() and folder.name[0] != "."
    }
    expected: set[str] = set()
    for what, subject in reversed(rows):
        if what == "plate.keep":
            expected.add(subject)
        elif what in ("plate.remove", "plate.expire"):
            expected.discard(subject)
    if there != expected:
        yield f"plates {sorted(there)} stand, by the audit trail {sorted(expected)} should"


def state_of(site: SiteFolder) -> str:
    """What a person sees of the site, to tell a deed that is done from one that is not."""
    store = ModelStore(site)
    with site.database.transaction() as db:
        jobs = db.execute("SELECT count(*) FROM jobs").fetchone()[0]
    return json.dumps([
        [(row.method, row.confirmed) for row in calibrations.rows(site)],
        sorted(folder.name for folder in site.plates.iterdir() if not folder.name.startswith(".")),
        sorted(folder.name for folder in site.models.glob("[!.]*")), store.live("detect"), jobs,
        site.settings_file.read_text() if site.settings_file.exists() else "", pauses.switch(site).active,
    ])  # fmt: skip


def _estimate() -> CalibrationEstimate:
    from synth.simulated_camera import SimulatedCamera

    truth = SimulatedCamera.from_argument("empty").true_calibration()
    return replace(truth, covariance=np.eye(6) * 1e-6, confirmed=False)


def _plate(days: int) -> Plate:
    estimate, now = _estimate(), datetime.now(UTC)
    height, width = _SIZE
    return Plate(
        color=np.zeros((height, width, 3), np.uint8), depth=np.full(_SIZE, 2000, np.uint16),
        measured=np.ones(_SIZE, np.bool_), camera=estimate.camera.resized(width, height),
        camera_from_bed=estimate.camera_from_bed, bed=estimate.bed, calibration="calibrations/none.json", noise=0.01,
        captured_at=(now - timedelta(days=30)).isoformat(), expires_at=(now + timedelta(days=days)).isoformat(),
    )  # fmt: skip


def _add_model(site: SiteFolder, name: str) -> None:
    """What the end of a tuning does."""
    card = ModelCard(
        name=name, task="detect", architecture="yolo11n", layout="yolo", width=64, height=64, sha256="0" * 64
    )
    with ModelStore(site).adding(name, origin="the fault suite") as folder:
        save_model(folder, {"weight": np.arange(8, dtype=np.float32)}, card)


def holds(site: SiteFolder) -> list[str]:
    """`faults_of`, where whatever can't be read is a fault as well."""
    try:
        return list(faults_of(site))
    except (WardposeError, OSError) as error:
        return [f"{type(error).__name__}: {error}"]
