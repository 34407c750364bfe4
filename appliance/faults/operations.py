"""What the fault suite cuts off: each operation that changes a site's files, on a small site."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from appliance.bedside import plates, recordings
from appliance.deeds import Deeds
from appliance.faults.small_site import A_PORT, A_SET, a_plate, add_model, estimate
from appliance.jobs import datasets, leftovers
from appliance.jobs.store import JobStore
from appliance.live import pauses
from appliance.models.store import ModelStore
from appliance.site import assigning, calibrations
from appliance.site.folder import SiteFolder
from appliance.site.settings import set_value
from runtime.capture import secrets
from synth.dataset import make_dataset

if TYPE_CHECKING:
    pass


def _keep_calibration(site: SiteFolder) -> None:
    calibrations.keep(site, estimate(), "kept")


def _confirm_calibration(site: SiteFolder) -> None:
    calibrations.confirm(site, reason="seen")


def _discard_calibration(site: SiteFolder) -> None:
    calibrations.discard(site, max(row.id for row in calibrations.rows(site) if not row.confirmed))


def _keep_plate(site: SiteFolder) -> None:
    plates.keep(site, a_plate(20), "wednesday")


def _remove_plate(site: SiteFolder) -> None:
    plates.remove(site, "monday", "no longer wanted")


def _expire_plates(site: SiteFolder) -> None:
    plates.delete_expired(site)


def _tune(site: SiteFolder) -> None:
    add_model(site, "third")


def _remove_model(site: SiteFolder) -> None:
    ModelStore(site).remove("second", "no longer wanted")


def _promote(site: SiteFolder) -> None:
    ModelStore(site).record_promotion("second", accepted=True, reasons={"asked": "better"}, against="first")


def _set_setting(site: SiteFolder) -> None:
    set_value(site, "display", "port", A_PORT)


def _pause(site: SiteFolder) -> None:
    pauses.pause(site, "washing")


def _submit(site: SiteFolder) -> None:
    JobStore(site).submit("export", {"model": "first"})


def _make_data_set(site: SiteFolder) -> None:
    """What the end of making one does: its pictures are there."""
    with datasets.making(site, site.datasets / "half", A_SET):
        make_dataset(A_SET, site.datasets / "half", resume=True, workers=1)


def _remove_data_set(site: SiteFolder) -> None:
    datasets.remove(site, "made", "no longer wanted")


def _assign_role(site: SiteFolder) -> None:
    assigning.assign(site, "Olga", "nurse", "night shift", "1937")


def _change_pin(site: SiteFolder) -> None:
    assigning.assign(site, "Nora", "nurse", "she forgot it", "8642")


def _remove_role(site: SiteFolder) -> None:
    assigning.remove(site, "Nora", "left the ward")


def _forget_camera(site: SiteFolder) -> None:
    Deeds(site).ask("camera.forget", source=secrets.kept(site.secrets_file)[0])


def _delete_recording(site: SiteFolder) -> None:
    recordings.delete_expired(site)


def _tidy(site: SiteFolder) -> None:
    leftovers.clear(site)


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
    "data set made": _make_data_set,
    "data set removed": _remove_data_set,
    "setting changed": _set_setting,
    "role assigned": _assign_role,
    "PIN changed": _change_pin,
    "role removed": _remove_role,
    "camera forgotten": _forget_camera,
    "recording expired": _delete_recording,
    "leftovers cleared": _tidy,
    "pause": _pause,
    "job submitted": _submit,
}
