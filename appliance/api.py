"""What a client may ask of the service and what it is answered: a model for each, all of them here but what the kinds
of jobs want to know, which stands in `appliance.jobs.requests`.

`appliance.wire` carries them; `wardpose status --schema` prints them as a JSON schema. Who asks is not said: the kernel
tells the service. Bounds of a number stand where it is used; here stands which values there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from appliance.bedside.plates import PlateRow
from appliance.jobs.requests import AnySubmit, Task
from appliance.jobs.store import Job
from appliance.live.plan import LivePlan
from appliance.site import roles
from appliance.site.calibrations import CalibrationRow
from appliance.site.requests import Request, Why
from appliance.site.roles import Role

Place = Literal["", "somebody at the bedside page"]
AtTheStation = Literal["somebody at the ward's station"]


class Nothing(Request):
    """No parameters."""


class StartLive(Why):
    """Start the live path, or start it anew with another plan. Names default to the site's settings and models."""

    source: str | None = None
    detector: str | None = None
    pose: str | None = None
    display: bool = True


class Foreground(Why):
    """A program in a terminal keeps the live path running, or has ended it. process: its `process_identity`."""

    process: str


class Pause(Request):
    """Looking ends whether or not somebody says why. place: where they stood, where the kernel can't know them."""

    reason: str = ""
    place: Place = ""


class Resume(Why):
    """pin: of whoever stands at the bedside page, where anybody has one."""

    place: Place = ""
    pin: str = Field(default="", max_length=12, repr=False)


class SwitchStation(Why):
    """Serve the page to the ward's station from now on, or no longer."""

    on: bool


class KeepCertificate(Why):
    """By what the ward's station knows this box: PEM texts of the site's own, or without them made for `names`."""

    names: list[str] = Field(default=[], max_length=20)
    certificate: str = Field(default="", max_length=100_000)
    key: str = Field(default="", max_length=20_000, repr=False)


class EnterStation(Request):
    """Somebody at the ward's station says their PIN; it is noted that they look. address: of their machine."""

    pin: str = Field(max_length=12, repr=False)
    address: str = Field(max_length=60)
    place: AtTheStation


class LeaveStation(Request):
    """They look no longer, after so many seconds."""

    name: str = Field(max_length=60)
    address: str = Field(max_length=60)
    seconds: float = Field(ge=0)
    place: AtTheStation


class AssignRole(Why):
    """A role for a log-in, a group (`@ward3`) or, with a PIN for the bedside page, anybody by name."""

    name: str
    role: Role
    pin: str = Field(default="", max_length=12, repr=False)


class RemoveRole(Why):
    name: str


class Some(Request):
    """The newest so many."""

    limit: int = Field(default=50, ge=1, le=10_000)


class OneJob(Request):
    id: int


class RollBack(Why):
    """Put the model before the live one back."""

    task: Task = "detect"


class OneModel(Why):
    """A model of this site, by its name."""

    name: str


class OneDataSet(Why):
    """A data set of this site, by its folder's name."""

    name: str


class KeepCalibration(Request):
    """List an estimate. estimate: the text of a calibration's file, as `calibration.files` writes it."""

    estimate: str


class ConfirmCalibration(Why):
    """Somebody saw where head and foot are. id: of the calibration, the newest by default."""

    id: int | None = None
    turned: bool = False


class OneCalibration(Request):
    id: int


class KeepPlate(Why):
    """Keep a plate that somebody has seen. staged: its folder's name, see `plates.stage`; name: its day by default."""

    staged: str
    name: str = ""


class OnePlate(Why):
    name: str


class Look(Why):
    """Somebody is about to look through a camera (the site's by default). what: a picture to see, or to calibrate by;
    or a plate. It is refused while the site is paused."""

    source: str | None = None
    what: Literal["picture", "calibration", "plate"]


class Record(Why):
    """A recording begins. file: an absolute path; process: the recorder's `process_identity`."""

    file: str
    source: str | None = None
    seconds: float
    expires: str
    process: str


class RecordingEnded(Request):
    """A recording's file is complete and kept, or it is not and nothing is."""

    id: int
    kept: bool


class Installed(Request):
    """`wardpose setup` has installed these on the box."""

    names: list[str] = Field(min_length=1)


class SetSetting(Request):
    """One value of `site.toml`, such as `bed`, `height`, 0.7; a camera's password in it is kept apart."""

    section: str
    name: str
    value: bool | int | float | str


class ForgetCamera(Request):
    """Delete the password kept of a camera. source: as `camera list` names it."""

    source: str


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class PauseTold(Answer):
    by: str
    since: str
    reason: str
    words: str


class Paused(PauseTold):
    ok: Literal[True] = True
    paused: Literal[True] = True


class Resumed(Answer):
    ok: Literal[True] = True
    paused: Literal[False] = False
    was: PauseTold | None


class StoppedLive(Answer):
    """whose: who ran it, in words; empty where nothing ran."""

    stopped: bool
    whose: str


class Stopping(Answer):
    stopping: Literal[True] = True


class NowLive(Answer):
    live: str


class Done(Answer):
    ok: Literal[True] = True


class SettingNow(Answer):
    """The value as it stands in the file, without a password."""

    value: bool | int | float | str


class CertificateKept(Answer):
    names: list[str]
    until: str
    fingerprint: str


class Entered(Answer):
    """name: whose PIN it was."""

    name: str


class Looking(Answer):
    """source: the camera that may be looked through, without its password."""

    source: str


class Recording(Answer):
    """A recording that may be made now. source: without its password."""

    id: int
    source: str
    expires_at: str


class Closed(Answer):
    """What others could do with files of the site and can't any more, a line each."""

    mended: list[str]


class Status(BaseModel):
    """How the box is. More keys may be there: of the live path, its pause and outages, see `appliance.live.status`."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    site: str
    pid: int
    own: bool
    camera: dict[str, Any]
    live: dict[str, Any]
    pause: PauseTold | None
    outages: dict[str, Any]
    processes: list[dict[str, Any]]
    jobs: list[Job]
    runner: bool
    models: dict[Task, str]
    calibration: CalibrationRow | None
    drift: dict[str, Any]
    health: dict[str, Any]
    station: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the type of its request, and of its answer, and the roles of which one may ask it."""

    request: Any
    answer: Any
    may: frozenset[Role] = roles.ENGINEERING


CALLS: Mapping[str, Call] = {
    "status": Call(Nothing, Status, roles.EVERYBODY),
    "live.start": Call(StartLive, LivePlan),
    "live.stop": Call(Why, StoppedLive),
    "live.began": Call(Foreground, Done),
    "live.ended": Call(Foreground, Done),
    "live.pause": Call(Pause, Paused, roles.PAUSING),
    "live.resume": Call(Resume, Resumed, roles.PAUSING),
    "jobs.list": Call(Some, list[Job], roles.EVERYBODY),
    "jobs.get": Call(OneJob, Job, roles.EVERYBODY),
    "jobs.submit": Call(AnySubmit, Job),
    "jobs.cancel": Call(OneJob, Job),
    "jobs.pause": Call(OneJob, Job),
    "jobs.resume": Call(OneJob, Job),
    "models.rollback": Call(RollBack, NowLive),
    "models.remove": Call(OneModel, Done, roles.DELETING),
    "datasets.remove": Call(OneDataSet, Done, roles.DELETING),
    "calibrations.keep": Call(KeepCalibration, CalibrationRow),
    "calibrations.confirm": Call(ConfirmCalibration, CalibrationRow),
    "calibrations.discard": Call(OneCalibration, Done),
    "plates.keep": Call(KeepPlate, PlateRow),
    "plates.look": Call(OnePlate, Done),
    "plates.remove": Call(OnePlate, Done, roles.DELETING),
    "camera.look": Call(Look, Looking),
    "camera.record": Call(Record, Recording),
    "camera.recorded": Call(RecordingEnded, Done),
    "settings.set": Call(SetSetting, SettingNow),
    "camera.forget": Call(ForgetCamera, Done, roles.DELETING),
    "station.switch": Call(SwitchStation, Done),
    "station.certificate": Call(KeepCertificate, CertificateKept),
    "station.enter": Call(EnterStation, Entered),
    "station.leave": Call(LeaveStation, Done),
    "roles.assign": Call(AssignRole, Done),
    "roles.remove": Call(RemoveRole, Done),
    "site.close": Call(Nothing, Closed),
    "box.installed": Call(Installed, Done),
    "stop": Call(Nothing, Stopping),
}
