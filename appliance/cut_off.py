"""What a crash or a power cut interrupted is completed or withdrawn: by whatever program of the site starts next."""

from __future__ import annotations

import sqlite3

from appliance.bedside.recordings import finish_deleting as finish_deleting_recording
from appliance.jobs import datasets
from appliance.models.store import finish_adding, finish_removing
from appliance.site import assigning, intents, privacy
from appliance.site.calibrations import finish_discarding
from appliance.site.folder import SiteFolder
from appliance.site.settings import finish_changing
from runtime.capture.secrets import forget


def _forget_camera(site: SiteFolder, intent: intents.Intent, db: sqlite3.Connection) -> None:
    forget(site.secrets_file, intent.subject)


def _close(site: SiteFolder, intent: intents.Intent, db: sqlite3.Connection) -> None:
    privacy.close_to_others(site.root)


_FINISHERS: dict[str, intents.Finisher] = {
    "model.add": finish_adding, "model.remove": finish_removing, "calibration.discard": finish_discarding,
    "dataset.make": datasets.finish_making, "dataset.remove": datasets.finish_deleting,
    "dataset.delete": datasets.finish_deleting, "settings.change": finish_changing,
    "role.assign": assigning.finish_assigning, "role.remove": assigning.finish_removing,
    "recording.delete": finish_deleting_recording, "skeletons.delete": finish_deleting_recording,
    "camera.forget": _forget_camera, "site.close": _close,
}  # fmt: skip


def settle(site: SiteFolder) -> list[str]:
    """Complete or withdraw it; returns what was done, a line each. The audit trail says it too."""
    return intents.settle(site, _FINISHERS)
