"""The short deeds of the service: each changes one thing of the site, one after the other, whoever asks.

They run in the service's own process; what takes long or loads what may crash is a job. Behind each stands the function
that leaves its row in the audit trail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance import api, wire
from appliance.bedside import camera_access, plates, recordings, skeleton_streams
from appliance.jobs import datasets, requests
from appliance.jobs.store import ACTIVE, KINDS, Job, JobStore
from appliance.live import reserve, station, takeover
from appliance.live.addresses import write_calibration_in_use
from appliance.live.foreground import Foreground
from appliance.models.store import ModelStore
from appliance.site import assigning, audit, calibrations, closing, intents
from appliance.site.folder import SiteFolder
from appliance.site.settings import load_settings, set_value
from calibration.errors import WardposeError
from calibration.redaction import redacted
from runtime.capture import secrets


class Deeds:
    """`calls` has what the service answers by them; those that change something never run at the same time."""

    def __init__(self, site: SiteFolder, kinds: str = KINDS) -> None:
        self.site, self.jobs, self.models = site, JobStore(site, kinds), ModelStore(site)
        self.foreground = Foreground(site)
        self._changing = threading.Lock()

    @property
    def calls(self) -> Mapping[str, Callable[[Any], Any]]:
        reading: dict[str, Callable[[Any], Any]] = {
            "jobs.list": lambda asked: self.list_jobs(asked.limit),
            "jobs.get": lambda asked: self.jobs.get(asked.id),
        }
        changing: dict[str, Callable[[Any], Any]] = {
            "live.began": self.begin_foreground,
            "live.ended": self.end_foreground,
            "jobs.submit": self.submit,
            "jobs.cancel": lambda asked: self.jobs.cancel(asked.id),
            "jobs.pause": lambda asked: self.jobs.pause(asked.id),
            "jobs.resume": self.resume_job,
            "models.rollback": self.roll_back,
            "models.remove": self.remove_model,
            "datasets.remove": self.remove_dataset,
            "calibrations.keep": self.keep_calibration,
            "calibrations.confirm": self.confirm_calibration,
            "calibrations.discard": self.discard_calibration,
            "plates.keep": lambda asked: plates.keep_staged(self.site, asked.staged, asked.name, asked.reason),
            "plates.look": self.look_at_plate,
            "plates.remove": self.remove_plate,
            "camera.look": self.look,
            "camera.record": self.begin_recording,
            "camera.recorded": self.end_recording,
            "skeletons.record": self.begin_skeletons,
            "skeletons.recorded": self.end_recording,
            "skeletons.export": self.export_skeletons,
            "skeletons.delete": self.delete_skeletons,
            "camera.forget": self.forget_camera,
            "settings.set": self.set_setting,
            "station.switch": self.switch_station,
            "station.certificate": self.keep_certificate,
            "roles.assign": self.assign_role,
            "roles.remove": self.remove_role,
            "site.close": self.mend,
            "box.installed": self.note_installed,
        }
        return reading | {name: self._one_at_a_time(deed) for name, deed in changing.items()}

    def ask(self, name: str, /, **parameters: Any) -> Any:
        """One of `calls` in this process, as the service would answer it; for where no service can be had."""
        return wire.told(name, self.calls[name](wire.understood(name, parameters)))

    def list_jobs(self, limit: int) -> list[Job]:
        return self.jobs.all(limit)

    def submit(self, asked: requests.Submit) -> Job:
        given = asked.parameters.model_dump(exclude_none=True)
        self._require_unpromised(given.get("name"))
        return self.jobs.submit(asked.kind, given)

    def resume_job(self, asked: api.OneJob) -> Job:
        self._require_unpromised(self.jobs.get(asked.id).parameters.get("name"), but=asked.id)
        return self.jobs.resume(asked.id)

    def remove_model(self, asked: api.OneModel) -> api.Done:
        self._require_unused(asked.name)
        self.models.remove(asked.name, asked.reason)
        return api.Done()

    def remove_dataset(self, asked: api.OneDataSet) -> api.Done:
        self._require_unused(asked.name)
        datasets.remove(self.site, asked.name, asked.reason)
        return api.Done()

    def keep_calibration(self, asked: api.KeepCalibration) -> calibrations.CalibrationRow:
        from calibration.files import parse_estimate

        row = calibrations.keep(self.site, parse_estimate(asked.estimate.encode(), "calibrations.keep"))
        write_calibration_in_use(self.site)
        return row

    def confirm_calibration(self, asked: api.ConfirmCalibration) -> calibrations.CalibrationRow:
        row = calibrations.confirm(self.site, asked.id, turned=asked.turned, reason=asked.reason)
        write_calibration_in_use(self.site)
        return row

    def discard_calibration(self, asked: api.OneCalibration) -> api.Done:
        calibrations.discard(self.site, asked.id)
        return api.Done()

    def look_at_plate(self, asked: api.OnePlate) -> api.Done:
        plates.note_look(self.site, asked.name, asked.reason)
        return api.Done()

    def remove_plate(self, asked: api.OnePlate) -> api.Done:
        plates.remove(self.site, asked.name, asked.reason)
        return api.Done()

    def look(self, asked: api.Look) -> api.Looking:
        return api.Looking(source=camera_access.note_look(self.site, asked.source, asked.what, asked.reason))

    def begin_recording(self, asked: api.Record) -> api.Recording:
        source = redacted(asked.source or load_settings(self.site).camera.source)
        number, expires_at = recordings.begin(
            self.site, Path(asked.file), source=source, seconds=asked.seconds, reason=asked.reason,
            expires=asked.expires, process=asked.process,
        )  # fmt: skip
        return api.Recording(id=number, source=source, expires_at=expires_at)

    def end_recording(self, asked: api.RecordingEnded) -> api.Done:
        recordings.end(self.site, asked.id, kept=asked.kept)
        return api.Done()

    def begin_skeletons(self, asked: api.RecordSkeletons) -> api.Recording:
        number, expires_at = recordings.begin(
            self.site, skeleton_streams.file_of(self.site, asked.name), source="skeletons", seconds=asked.seconds,
            reason=asked.reason, expires=asked.expires, process=asked.process, deed=recordings.SKELETONS,
        )  # fmt: skip
        return api.Recording(id=number, source="skeletons", expires_at=expires_at)

    def export_skeletons(self, asked: api.ExportSkeletons) -> api.Done:
        skeleton_streams.note_export(self.site, asked.name, asked.to, asked.out, asked.reason)
        return api.Done()

    def delete_skeletons(self, asked: api.OneStream) -> api.Done:
        skeleton_streams.delete(self.site, asked.name, asked.reason)
        return api.Done()

    def roll_back(self, asked: api.RollBack) -> api.NowLive:
        was = self.models.live(asked.task)
        now = self.models.rollback(asked.task, asked.reason)
        takeover.follow(self.site, asked.task, was)
        return api.NowLive(live=now)

    def begin_foreground(self, asked: api.Foreground) -> api.Done:
        self.foreground.begin(asked.process, asked.reason)
        return api.Done()

    def end_foreground(self, asked: api.Foreground) -> api.Done:
        self.foreground.end(asked.process, asked.reason)
        return api.Done()

    def mend(self, _: api.Nothing) -> api.Closed:
        return api.Closed(mended=closing.close_to_others(self.site) + reserve.mend(self.site))

    def note_installed(self, asked: api.Installed) -> api.Done:
        audit.record(self.site, "box.setup", ", ".join(asked.names))
        return api.Done()

    def set_setting(self, asked: api.SetSetting) -> api.SettingNow:
        settings = set_value(self.site, asked.section, asked.name, asked.value)
        value = getattr(getattr(settings, asked.section), asked.name)
        return api.SettingNow(value=redacted(value) if isinstance(value, str) else value)

    def assign_role(self, asked: api.AssignRole) -> api.Done:
        assigning.assign(self.site, asked.name, asked.role, asked.reason, asked.pin)
        return api.Done()

    def remove_role(self, asked: api.RemoveRole) -> api.Done:
        assigning.remove(self.site, asked.name, asked.reason)
        return api.Done()

    def switch_station(self, asked: api.SwitchStation) -> api.Done:
        station.switch(self.site, asked.on, asked.reason)
        return api.Done()

    def keep_certificate(self, asked: api.KeepCertificate) -> api.CertificateKept:
        found = station.keep_certificate(self.site, asked.names, asked.certificate, asked.key, asked.reason)
        return api.CertificateKept(
            names=list(found.names), until=found.until.isoformat(timespec="seconds"), fingerprint=found.fingerprint
        )

    def forget_camera(self, asked: api.ForgetCamera) -> api.Done:
        named = redacted(asked.source)
        if named not in secrets.kept(self.site.secrets_file):
            raise WardposeError("no password of this camera is kept", where=named, mend="see `wardpose camera list`")
        with intents.intend(self.site, "camera.forget", named, "its password was deleted", again=True):
            secrets.forget(self.site.secrets_file, named)
        return api.Done()

    def _require_unpromised(self, name: str | None, *, but: int = 0) -> None:
        """Two jobs at once must not write the same model."""
        for job in self.jobs.all(1000, states=ACTIVE) if name else ():
            if job.parameters.get("name") == name and job.id != but:
                raise WardposeError(
                    f"job {job.id} ({job.title}, {job.state}) makes a model called {name!r}",
                    mend="choose another name, or wait for it",
                )

    def _require_unused(self, name: str) -> None:
        """What a job works with is not taken from it."""
        for job in self.jobs.all(1000, states=ACTIVE):
            if any(Path(value).name == name for value in job.parameters.values() if isinstance(value, str)):
                raise WardposeError(
                    f"job {job.id} ({job.title}, {job.state}) uses {name}", mend="wait for it, or stop it"
                )

    def _one_at_a_time(self, deed: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def alone(asked: Any) -> Any:
            with self._changing:
                return deed(asked)

        return alone
