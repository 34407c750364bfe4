"""What each kind of job may be asked to do. Bounds of a number stand where it is used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from appliance.site.requests import Request, Why

Task = Literal["detect", "pose"]


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
    """Tune `model` on `data` (a folder) or on what the job `data_of` makes. recipe: whose numbers hold where none is
    said; final_rate, final_batch: how its pre-training ended, for the paper's; rate: of learning; processes: that train
    together; width, height: of its input (px)."""

    model: str | None = None
    task: Task | None = None
    data: str | None = None
    data_of: int | None = None
    name: str | None = None
    recipe: Literal["wardpose", "paper"] | None = None
    final_rate: float | None = None
    final_batch: int | None = None
    epochs: int | None = None
    minutes: float | None = None
    batch: int | None = None
    rate: float | None = None
    seed: int | None = None
    processes: int | None = None
    width: int | None = None
    height: int | None = None


class EvaluateParameters(Request):
    """Score a model on labelled pictures (`data`: COCO JSON); width, height: of the detector's input (px). groups: by
    group of people too, beside the model `against`; report: the file of the page; features: an ONNX file. Paths are
    absolute."""

    data: str
    model: str | None = None
    images: str | None = None
    keypoints: bool | None = None
    pose: str | None = None
    boxes: Literal["truth", "detected"] | None = None
    turn: Literal[0, 90, 180, 270] | None = None
    width: int | None = None
    height: int | None = None
    groups: bool | None = None
    against: str | None = None
    report: str | None = None
    pictures: bool | None = None
    features: str | None = None


class ExportParameters(Request):
    """Write a model in the form that the live path loads; width, height: of its input (px)."""

    model: str
    engine: Literal["onnx", "tensorrt"] | None = None
    width: int | None = None
    height: int | None = None


class PromoteParameters(Why):
    """Put a model live if it proves better on held-out pictures; by default simulated ones of this site. fresh: draw
    such as no candidate was tried on."""

    model: str
    data: str | None = None
    images: str | None = None
    fresh: bool | None = None
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


class BuildParameters(Request):
    """Make a model of random weights, by its architecture's name; width, height: of its input (px)."""

    architecture: str
    name: str
    width: int | None = None
    height: int | None = None
    seed: int = 0


class FetchParameters(Request):
    """Get the models trained on photographs; source: the package as a file instead of the registry."""

    source: str | None = None


class PreviewParameters(Request):
    """Draw the data set `place` and write its data card. Paths are absolute; out: the site's pictures by default."""

    place: str
    target: str | None = None
    out: str | None = None
    count: int | None = None
    detector: str | None = None


class BaseParameters(Request):
    """Make a base model from synthetic images, as `tuning.base_options` has it. Paths are absolute; start: a model."""

    task: Literal["detector", "pose"]
    data: str | None = None
    images: int | None = None
    epochs: int | None = None
    minutes: float | None = None
    size: int | None = None
    batch: int | None = None
    rate: float | None = None
    seed: int | None = None
    threads: int | None = None
    bfloat16: bool = False
    resume: bool = False
    score: list[str] | None = None
    out: str | None = None
    start: str | None = None


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


class SubmitBuild(Request):
    kind: Literal["build"]
    parameters: BuildParameters


class SubmitFetch(Request):
    kind: Literal["fetch"]
    parameters: FetchParameters = FetchParameters()


class SubmitPreview(Request):
    kind: Literal["preview"]
    parameters: PreviewParameters


class SubmitBase(Request):
    kind: Literal["base"]
    parameters: BaseParameters


Submit = (
    SubmitSynth | SubmitTune | SubmitEvaluate | SubmitExport | SubmitPromote | SubmitImport | SubmitBuild | SubmitFetch
    | SubmitPreview | SubmitBase
)  # fmt: skip
AnySubmit = Annotated[Submit, Field(discriminator="kind")]
