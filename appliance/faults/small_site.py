"""A small site with something of every kind, which the fault suite changes, kills, fills and counts."""

from __future__ import annotations

import os
import pwd
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from appliance.bedside import plates, recordings
from appliance.jobs import datasets
from appliance.models.store import ModelStore
from appliance.site import assigning, calibrations
from appliance.site.database import stamp
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings
from calibration.plate import Plate
from runtime.capture import secrets
from synth.dataset import DatasetSpec, make_dataset
from synth.scenario import NAMED
from tuning.store.card import ModelCard
from tuning.store.save import save_model

if TYPE_CHECKING:
    from calibration.estimate import CalibrationEstimate

_SIZE = (48, 64)  # height, width of the small pictures
A_SET = DatasetSpec(scenario=NAMED["C"].model_copy(update={"width": 96, "height": 64}), count=1)
RECORDING, A_PORT = "ward.mkv", 8123
_LONG_AGO_S = 86_400.0


def prepare(root: Path) -> SiteFolder:
    """A site with two calibrations of which one is confirmed, three plates of which one has expired, two models of
    which one is live, two data sets of which one has no row yet, an engineer and a nurse with a PIN, a camera's
    password, a recording that has expired, and a file whose writing was cut off."""
    site = SiteFolder.open(root)
    load_settings(site)
    calibrations.confirm(site, calibrations.keep(site, estimate()).id)
    calibrations.keep(site, estimate())
    for name, days in (("monday", 20), ("tuesday", 20), ("last-year", -1)):
        plates.keep(site, a_plate(days), name)
    for name in ("first", "second"):
        add_model(site, name)
    ModelStore(site).record_promotion("first", accepted=True, reasons={"asked": "to begin with"})
    for name in ("made", "half"):
        make_dataset(A_SET, site.datasets / name, workers=1)
    with datasets.making(site, site.datasets / "made", A_SET):
        make_dataset(A_SET, site.datasets / "made", resume=True, workers=1)
    (site.datasets / "half" / "annotations.json").unlink()
    assigning.assign(site, pwd.getpwuid(os.geteuid()).pw_name, "engineer", "to begin with")
    assigning.assign(site, "Nora", "nurse", "of this ward", "2580")
    secrets.keep(site.secrets_file, "video:rtsp://nurse:ward-7@127.0.0.1/bed")
    _record(site)
    _leave_behind(site.runs / ".scores.json.k3j2h1g0.part")
    return site


def estimate() -> CalibrationEstimate:
    from synth.simulated_camera import SimulatedCamera

    truth = SimulatedCamera.from_argument("empty").true_calibration()
    return replace(truth, covariance=np.eye(6) * 1e-6, confirmed=False)


def a_plate(days: int) -> Plate:
    seen, now = estimate(), datetime.now(UTC)
    height, width = _SIZE
    return Plate(
        color=np.zeros((height, width, 3), np.uint8), depth=np.full(_SIZE, 2000, np.uint16),
        measured=np.ones(_SIZE, np.bool_), camera=seen.camera.resized(width, height),
        camera_from_bed=seen.camera_from_bed, bed=seen.bed, calibration="calibrations/none.json", noise=0.01,
        captured_at=(now - timedelta(days=30)).isoformat(), expires_at=(now + timedelta(days=days)).isoformat(),
    )  # fmt: skip


def _record(site: SiteFolder) -> None:
    """A recording that has expired meanwhile."""
    from runtime.capture.k4a_file import EXPIRES_TAG

    file = site.root / RECORDING
    number, _ = recordings.begin(
        site, file, source="simulated", seconds=1.0, reason="how she turns over", expires="1m", process=""
    )
    earlier = stamp(datetime.now(UTC) - timedelta(days=1))
    file.write_bytes(f"{EXPIRES_TAG} {earlier}".encode())
    with site.database.transaction(immediate=True) as db:
        db.execute("UPDATE recordings SET expires_at = ?, file = ? WHERE id = ?", (earlier, RECORDING, number))
    recordings.end(site, number, kept=True)


def _leave_behind(path: Path) -> None:
    path.write_bytes(bytes(1000))
    then = time.time() - _LONG_AGO_S
    os.utime(path, (then, then))


def add_model(site: SiteFolder, name: str) -> None:
    """What the end of a tuning does."""
    card = ModelCard(
        name=name, task="detect", architecture="yolo11n", layout="yolo", width=64, height=64, sha256="0" * 64
    )
    with ModelStore(site).adding(name, origin="the fault suite") as folder:
        save_model(folder, {"weight": np.arange(8, dtype=np.float32)}, card)
