"""The short deeds of the service: each changes one thing of the site, one after the other, whoever asks.

They run in the service's own process; what takes long or loads what may crash is a job. Behind each stands the function
that leaves its row in the audit trail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from appliance import api
from appliance.bedside import plates
from appliance.jobs.store import ACTIVE, KINDS, Job, JobStore
from appliance.models.store import Model, ModelStore
from appliance.site import audit, calibrations
from appliance.site.folder import SiteFolder
from appliance.site.settings import set_value
from calibration.errors import WardposeError
from calibration.redaction import redacted
from runtime.capture import secrets


class Deeds:
    """`calls` has what the service answers by them; those that change something never run at the same time."""

    def __init__(self, site: SiteFolder, kinds: str = KINDS) -> None:
        self.site, self.jobs, self.models = site, JobStore(site, kinds), ModelStore(site)
        self._changing = threading.Lock()

    @property
    def calls(self) -> Mapping[str, Callable[[Any], Any]]:
        reading: dict[str, Callable[[Any], Any]] = {
            "jobs.list": lambda asked: self.list_jobs(asked.limit),
            "jobs.get": lambda asked: self.jobs.get(asked.id),
            "models.list": self.list_models,
        }
        changing: dict[str, Callable[[Any], Any]] = {
            "jobs.submit": self.submit,
            "jobs.cancel": lambda asked: self.jobs.cancel(asked.id),
            "jobs.resume": self.resume_job,
            "models.rollback": lambda asked: api.NowLive(live=self.models.rollback(asked.task, asked.reason)),
            "calibrations.keep": self.keep_calibration,
            "calibrations.confirm": lambda asked: calibrations.confirm(self.site, asked.id, turned=asked.turned),
            "calibrations.discard": self.discard_calibration,
            "plates.keep": lambda asked: plates.keep_staged(self.site, asked.staged, asked.name),
            "plates.remove": self.remove_plate,
            "settings.set": self.set_setting,
            "camera.forget": self.forget_camera,
        }
        return reading | {name: self._one_at_a_time(deed) for name, deed in changing.items()}

    def list_jobs(self, limit: int) -> list[Job]:
        return self.jobs.all(limit)

    def list_models(self, _: api.Nothing) -> list[Model]:
        return self.models.all()

    def submit(self, asked: api.Submit) -> Job:
        given = asked.parameters.model_dump(exclude_none=True)
        self._require_unpromised(given.get("name"))
        return self.jobs.submit(asked.kind, given)

    def resume_job(self, asked: api.OneJob) -> Job:
        self._require_unpromised(self.jobs.get(asked.id).parameters.get("name"), but=asked.id)
        return self.jobs.resume(asked.id)

    def keep_calibration(self, asked: api.KeepCalibration) -> calibrations.CalibrationRow:
        from calibration.files import parse_estimate

        return calibrations.keep(self.site, parse_estimate(asked.estimate.encode(), "calibrations.keep"))

    def discard_calibration(self, asked: api.OneCalibration) -> api.Done:
        calibrations.discard(self.site, asked.id)
        return api.Done()

    def remove_plate(self, asked: api.RemovePlate) -> api.Done:
        plates.remove(self.site, asked.name, asked.reason)
        return api.Done()

    def set_setting(self, asked: api.SetSetting) -> api.SettingNow:
        settings = set_value(self.site, asked.section, asked.name, asked.value)
        value = getattr(getattr(settings, asked.section), asked.name)
        return api.SettingNow(value=redacted(value) if isinstance(value, str) else value)

    def forget_camera(self, asked: api.ForgetCamera) -> api.Done:
        named = redacted(asked.source)
        if not secrets.forget(self.site.secrets_file, named):
            raise WardposeError("no password of this camera is kept", where=named, mend="see `wardpose camera list`")
        audit.record(self.site, "camera.forget", named, "its password was deleted")
        return api.Done()

    def _require_unpromised(self, name: str | None, *, but: int = 0) -> None:
        """Two jobs at once must not write the same model."""
        for job in self.jobs.all(1000, states=ACTIVE) if name else ():
            if job.parameters.get("name") == name and job.id != but:
                raise WardposeError(
                    f"job {job.id} ({job.title}, {job.state}) makes a model called {name!r}",
                    mend="choose another name, or wait for it",
                )

    def _one_at_a_time(self, deed: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def alone(asked: Any) -> Any:
            with self._changing:
                return deed(asked)

        return alone
