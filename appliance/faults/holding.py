"""What must hold of a site whatever instant an operation on it was cut off at, and what a person sees of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.faults.small_site import A_PORT, RECORDING
from appliance.jobs import datasets
from appliance.live import pauses
from appliance.models.store import ModelStore
from appliance.site import assigning, audit, calibrations
from appliance.site.folder import SiteFolder
from appliance.site.roles import assigned
from appliance.site.settings import load_settings, read_settings
from calibration.errors import WardposeError
from calibration.plate import DESCRIPTION
from runtime.capture import secrets
from tuning.store.card import CARD_FILE, read_card, verify_weights

if TYPE_CHECKING:
    pass


def faults_of(site: SiteFolder, *, small: bool = True) -> Iterator[str]:
    """What does not hold of a site that nothing is being done to; nothing where all holds. small: it is the suite's own
    small site, of which is known what was on it."""
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
    if promoted != sum(what in ("model.promote", "model.rollback") for what, _ in rows):
        yield "promotions and their audit rows differ"
    if jobs != sum(what == "job.submit" for what, _ in rows):
        yield "jobs and their audit rows differ"
    yield from _data_set_faults(site, rows)
    if small:
        yield from _faults_of_files(site, rows)


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


def _data_set_faults(site: SiteFolder, rows: list[tuple[str, str]]) -> Iterator[str]:
    there = {folder.name for folder in site.datasets.iterdir() if (folder / "annotations.json").is_file()}
    listed = {Path(row["folder"]).name for row in datasets.listed(site)}
    expected = {Path(subject).name for what, subject in rows if what == "dataset.make"}
    expected -= {subject for what, subject in rows if what == "dataset.remove"}
    if not there == listed == expected:
        yield f"data sets {sorted(there)} stand, {sorted(listed)} are listed, by the trail {sorted(expected)} should"


def _faults_of_files(site: SiteFolder, rows: list[tuple[str, str]]) -> Iterator[str]:
    """Deeds on one file each, which stand with their audit row or not at all."""
    deeds = [what for what, _ in rows]
    load_settings(site)  # an edit by hand is written down when it is seen
    trail = audit.rows(site, None)
    changed = any(row.what == "settings.change" and row.reason.startswith("display.port ") for row in trail)
    if (read_settings(site.settings_file).display.port == A_PORT) != changed:
        yield "a setting was changed without its audit row, or a row without the change"
    newest = {row.subject: row for row in reversed(trail) if row.what in ("role.assign", "role.remove")}
    if any(row.what == "settings.edit" for row in trail):
        yield "a setting that wardpose changed is told as edited by hand"
    with_pin, given = assigning.pins(site), assigned(site)
    if not with_pin.names <= set(given):
        yield f"a PIN without a role: {sorted(with_pin.names - set(given))}"
    if (with_pin.whose("8642") == "Nora") != newest["Nora"].reason.startswith("nurse, with a PIN: she forgot it"):
        yield "a PIN was changed without its audit row, or a row without the change"
    for name in ("Nora", "Olga"):
        if (name in given) != (name in newest and newest[name].what == "role.assign"):
            yield f"the role of {name} and its audit row differ"
    for done, what in (
        (not secrets.kept(site.secrets_file), "camera.forget"),
        (not (site.root / RECORDING).exists(), "recording.delete"),
        (not list(site.runs.glob(".*.part")), "site.tidy"),
    ):
        if done != (what in deeds):
            yield f"{what} was done without its audit row, or a row without the deed"
    if "recording.gone" in deeds:
        yield "a recording that was deleted is told as one that had gone"


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
        sorted(folder.name for folder in site.datasets.iterdir() if (folder / "annotations.json").is_file()),
        assigned(site), assigning.pins(site).whose("8642"), secrets.kept(site.secrets_file),
        (site.root / RECORDING).exists(),
        len(list(site.runs.glob(".*.part"))),
    ])  # fmt: skip


def holds(site: SiteFolder, *, small: bool = True) -> list[str]:
    """`faults_of`, where whatever can't be read is a fault as well."""
    try:
        return list(faults_of(site, small=small))
    except (WardposeError, OSError) as error:
        return [f"{type(error).__name__}: {error}"]
