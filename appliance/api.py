"""What a client may ask of the service and what it is answered: a model for each, all of them here.

`appliance.wire` carries them; `wardpose status --schema` prints them as a JSON schema. Who asks is not said: the kernel
tells the service. Bounds of a number stand where it is used; here stands which values there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from appliance.bedside.plates import PlateRow
from appliance.jobs.store import Job
from appliance.live.plan import LivePlan
from appliance.models.store import Model
from appliance.site.calibrations import CalibrationRow

API_VERSION = 1  # raised when an old request means something else, or is none any more
ANY_VERSION = ("live.pause", "stop")  # a client of any version must be able to end the looking

Task = Literal["detect", "pose"]


class Request(BaseModel):
    """What is asked; a field that isn't known is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Nothing(Request):
    """No parameters."""


class StartLive(Request):
    """Start the live path, or start it anew with another plan. Names default to the site's settings and models."""

    source: str | None = None
    detector: str | None = None
    pose: str | None = None
    display: bool = True


class Because(Request):
    """A deed for a reason, which the audit trail keeps."""

    reason: str = ""


class Some(Request):
    """The newest so many."""

    limit: int = Field(default=50, ge=1, le=10_000)


class OneJob(Request):
    id: int


class SynthParameters(Request):
    """Make a data set. scenario: a name, or a file by its absolute path; out: a folder, the site's own by default."""

    scenario: str | None = None
    count: int | None = None
    seed: int | None = None
    out: str | None = None
    renderer: str | None = None
    resume: bool | None = None
    depth: bool | None = None
    infrared: bool | None = None


class TuneParameters(Request):
    """Tune `model` on `data` (a folder) or on what the job `data_of` makes; width, height: of its input (px)."""

    model: str | None = None
    task: Task | None = None
    data: str | None = None
    data_of: int | None = None
    name: str | None = None
    epochs: int | None = None
    width: int | None = None
    height: int | None = None


class EvaluateParameters(Request):
    """Score a model on labelled pictures (`data`: COCO JSON); width, height: of the detector's input (px)."""

    data: str
    model: str | None = None
    images: str | None = None
    keypoints: bool | None = None
    pose: str | None = None
    boxes: Literal["truth", "detected"] | None = None
    turn: Literal[0, 90, 180, 270] | None = None
    width: int | None = None
    height: int | None = None


class ExportParameters(Request):
    """Write a model in the form that the live path loads; width, height: of its input (px)."""

    model: str
    engine: Literal["onnx", "tensorrt"] | None = None
    width: int | None = None
    height: int | None = None


class PromoteParameters(Request):
    """Put a model live if it proves better on held-out pictures; by default simulated ones of this site."""

    model: str
    data: str | None = None
    images: str | None = None
    upright: str | None = None
    floor: str | None = None


class ImportParameters(Request):
    """Take in weights, executing nothing. file: an absolute path; width, height: of its input (px); layout,
    person_class: of a detector's output, where the file leaves them open."""

    file: str
    name: str
    architecture: str | None = None
    licence: str = "unknown"
    width: int | None = None
    height: int | None = None
    layout: str | None = None
    person_class: str | None = None


class FetchParameters(Request):
    """Get the models trained on photographs; source: the package as a file instead of the registry."""

    source: str | None = None


class SubmitSynth(Request):
    kind: Literal["synth"]
    parameters: SynthParameters = SynthParameters()


class SubmitTune(Request):
    kind: Literal["tune"]
    parameters: TuneParameters = TuneParameters()


class SubmitEvaluate(Request):
    kind: Literal["evaluate"]
    parameters: EvaluateParameters


class SubmitExport(Request):
    kind: Literal["export"]
    parameters: ExportParameters


class SubmitPromote(Request):
    kind: Literal["promote"]
    parameters: PromoteParameters


class SubmitImport(Request):
    kind: Literal["import"]
    parameters: ImportParameters


class SubmitFetch(Request):
    kind: Literal["fetch"]
    parameters: FetchParameters = FetchParameters()


Submit = SubmitSynth | SubmitTune | SubmitEvaluate | SubmitExport | SubmitPromote | SubmitImport | SubmitFetch
AnySubmit = Annotated[Submit, Field(discriminator="kind")]


class RollBack(Because):
    """Put the model before the live one back."""

    task: Task = "detect"


class KeepCalibration(Request):
    """List an estimate. estimate: the text of a calibration's file, as `calibration.files` writes it."""

    estimate: str


class ConfirmCalibration(Request):
    """Somebody saw where head and foot are. id: of the calibration, the newest by default."""

    id: int | None = None
    turned: bool = False


class OneCalibration(Request):
    id: int


class KeepPlate(Request):
    """Keep a plate that somebody has seen. staged: its folder's name, see `plates.stage`; name: its day by default."""

    staged: str
    name: str = ""


class RemovePlate(Because):
    name: str


class SetSetting(Request):
    """One value of `site.toml`, such as `bed`, `height`, 0.7; a camera's password in it is kept apart."""

    section: str
    name: str
    value: bool | int | float | str


class ForgetCamera(Request):
    """Delete the password kept of a camera. source: as `camera list` names it."""

    source: str


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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


class Status(BaseModel):
    """How the box is. More keys may be there: of the live path, its pause and outages, see `appliance.live.status`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    site: str
    pid: int
    own: bool
    camera: dict[str, Any]
    live: dict[str, Any]
    pause: PauseTold | None
    outages: dict[str, Any]
    processes: list[dict[str, Any]]
    jobs: list[Job]
    models: dict[Task, str]
    calibration: CalibrationRow | None
    drift: dict[str, Any]
    health: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the type of its request, and of its answer."""

    request: Any
    answer: Any


CALLS: Mapping[str, Call] = {
    "status": Call(Nothing, Status),
    "live.start": Call(StartLive, LivePlan),
    "live.stop": Call(Nothing, StoppedLive),
    "live.pause": Call(Because, Paused),
    "live.resume": Call(Because, Resumed),
    "jobs.list": Call(Some, list[Job]),
    "jobs.get": Call(OneJob, Job),
    "jobs.submit": Call(AnySubmit, Job),
    "jobs.cancel": Call(OneJob, Job),
    "jobs.resume": Call(OneJob, Job),
    "models.list": Call(Nothing, list[Model]),
    "models.rollback": Call(RollBack, NowLive),
    "calibrations.keep": Call(KeepCalibration, CalibrationRow),
    "calibrations.confirm": Call(ConfirmCalibration, CalibrationRow),
    "calibrations.discard": Call(OneCalibration, Done),
    "plates.keep": Call(KeepPlate, PlateRow),
    "plates.remove": Call(RemovePlate, Done),
    "settings.set": Call(SetSetting, SettingNow),
    "camera.forget": Call(ForgetCamera, Done),
    "stop": Call(Nothing, Stopping),
}
