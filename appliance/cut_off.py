"""What a crash or a power cut interrupted is completed or withdrawn: by whatever program of the site starts next."""

from __future__ import annotations

from appliance.jobs.datasets import finish_deleting
from appliance.models.store import finish_adding, finish_removing
from appliance.site import intents
from appliance.site.calibrations import finish_discarding
from appliance.site.folder import SiteFolder

_FINISHERS = {
    "model.add": finish_adding, "model.remove": finish_removing, "calibration.discard": finish_discarding,
    "dataset.remove": finish_deleting, "dataset.delete": finish_deleting,
}  # fmt: skip


def settle(site: SiteFolder) -> list[str]:
    """Complete or withdraw it; returns what was done, a line each. The audit trail says it too."""
    return intents.settle(site, _FINISHERS)
