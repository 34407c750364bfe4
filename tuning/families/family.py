"""What a model family is, which families there are, and tuning by the one that knows the model.

A family is one file: it recognises its models among foreign files, describes them to the runtime, builds, tunes and
exports them. A site's own family registers in the entry-point group `wardpose.model_families`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from calibration import bounds
from calibration.errors import WardposeError
from calibration.plugins import is_shipped, load_plugin, plugin_names
from calibration.progress import Progress
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture
from tuning.data_check import require_sound
from tuning.store.card import ModelCard, read_card
from tuning.store.foreign import ForeignModel

# A trained model as a function: (B, 3, height, width) float32 to its outputs, what an export is held against.
Reference = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]


def nobody_asked(batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """In a reference's place where the trained model can't be asked, so that the export is held against nothing."""
    raise NotImplementedError("the trained model can't be asked here")


@runtime_checkable
class SlowReference(Protocol):
    """A reference that takes long for every call, however many pictures it is of: a program is started for it. Its
    model's export is left as that program wrote it."""

    def ask(self, pictures: NDArray[np.float32]) -> None:
        """Have all of (N, 3, height, width) answered at once, so that calls with any of them take no time."""
        ...

    def __call__(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]: ...


InputSide = Annotated[int, Field(ge=bounds.INPUT_SIDE_PX.least, le=bounds.INPUT_SIDE_PX.most)]


class TuneSettings(BaseModel):
    """Tuning on synthetic images: few, gentle steps, so that what the model learnt from photographs stays.

    What is left None is the family's own: each has the recipe that brought the most on photographs.
    """

    model_config = ConfigDict(extra="forbid")

    recipe: Literal["wardpose", "paper"] = Field(default="wardpose", title="Whose numbers hold where none is said")
    final_rate: float | None = Field(
        default=None, title="Learning rate at the end of its pre-training, for the paper's recipe", gt=0, le=1
    )
    final_batch: int | None = Field(default=None, title="Images of a step of that pre-training", ge=1)
    epochs: int | None = Field(
        default=None, title="Passes over the images", ge=bounds.EPOCHS.least, le=bounds.EPOCHS.most
    )
    minutes: float | None = Field(default=None, title="Time budget (min)", gt=0)
    learning_rate: float | None = Field(default=None, title="Learning rate", gt=0, le=bounds.LEARNING_RATE_MOST)
    batch: int | None = Field(default=None, title="Batch size", ge=bounds.BATCH.least, le=bounds.BATCH.most)
    longer_side: InputSide | None = Field(default=None, title="Longer side of the input (px); default: the card's")
    width: InputSide | None = Field(default=None, title="Input width (px); default: fits the pictures")
    height: InputSide | None = Field(default=None, title="Input height (px); default: fits the pictures")
    frozen_layers: int | None = Field(
        default=None, title="Layers kept as they are, from the input", ge=bounds.FROZEN_LAYERS.least,
        le=bounds.FROZEN_LAYERS.most,
    )  # fmt: skip
    alpha: float | None = Field(default=None, title="Weights this far from the base to the tuned model", ge=0, le=1)
    seed: int = Field(default=0, title="Seed", ge=bounds.SEED.least, le=bounds.SEED.most)
    threads: int | None = Field(default=None, title="CPU threads (default: all)", ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", title="Device")
    processes: int | None = Field(
        default=None, title="Processes that train together (default: one for each GPU, else one)", ge=1, le=64
    )

    def asked(self) -> dict[str, Any]:
        """What the weights depend on: whether it is the same tuning that was interrupted."""
        return self.model_dump(mode="json", exclude={"threads", "alpha", "processes"})


@dataclass(frozen=True, slots=True)
class ImportWish:
    """What a person says of a foreign model: `architecture` where they know it, `width` and `height` of its input in
    pixels where they choose, its output's `layout` and its `person_class` (a number from 0, or a name) where the file
    leaves them open."""

    name: str
    architecture: str | None = None
    width: int | None = None
    height: int | None = None
    layout: str | None = None
    person_class: str | None = None


class ModelFamily(Protocol):
    """One kind of model. Every method raises WardposeError for what a person can mend; none keeps state."""

    name: str

    def recognise(self, foreign: ForeignModel, wish: ImportWish, folder: Path) -> ModelCard | None:
        """The card of a foreign model of this family, its weights written into `folder` in a form that executes
        nothing; None where it belongs to another family. The caller fills in name, source and licence."""
        ...

    def knows(self, card: ModelCard) -> bool:
        """Whether a model of this card is of this family."""
        ...

    def describe(self, card: ModelCard, width: int, height: int) -> ModelInfo:
        """How the runtime feeds the model at this input size and reads its answer (`layout`)."""
        ...

    def export(self, folder: Path, card: ModelCard, draft: Path, width: int, height: int) -> Reference | None:
        """Write the model as the ONNX file `draft` for this input size. The answer is the trained model to hold it
        against, None where the file is the very graph that was trained, `nobody_asked` where it can't be asked."""
        ...

    def tune(
        self, folder: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard:
        """Train the model in `folder` on the COCO folder `data_dir` (annotations.json, images/; boxes are visible
        extents), write the model folder `out_dir` and return its card. Blocks until done; an exception from `progress`
        cancels it, and nothing is left at `out_dir`."""
        ...


@runtime_checkable
class StartsProcesses(Protocol):
    """A family that starts the processes of a training (`TuneSettings.processes`) itself."""

    starts_processes: bool


@runtime_checkable
class BuildableFamily(Protocol):
    """A family that can begin with random weights, by an architecture's name."""

    name: str

    def architectures(self) -> Iterable[str]:
        """The names of what it builds."""
        ...

    def build(self, architecture: str, wish: ImportWish, folder: Path) -> ModelCard:
        """The card of a model of random weights, which are written into `folder`; the rest is as in `recognise`."""
        ...


def buildable() -> dict[str, BuildableFamily]:
    """Every architecture that can be built by its name, and the family that does."""
    able = (family for family in families() if isinstance(family, BuildableFamily))
    return {architecture: family for family in able for architecture in family.architectures()}


@cache
def families() -> tuple[ModelFamily, ...]:
    """Every registered family: a site's own before those that come with the product."""
    names = sorted(plugin_names("model_families"), key=lambda name: (is_shipped("model_families", name), name))
    return tuple(load_plugin("model_families", name)() for name in names)


def family_of(card: ModelCard) -> ModelFamily:
    """The family of a model: the one its card names, else the first that knows it."""
    if card.family is not None:
        family: ModelFamily = load_plugin("model_families", card.family)()
        return family
    for known in families():
        if known.knows(card):
            return known
    raise WardposeError(
        f"no model family knows {card.name} ({card.architecture}, {card.format})",
        mend="import it again, or install the package of its family",
    )


def tune(
    folder: Path,
    data_dir: Path,
    out_dir: Path,
    settings: TuneSettings | None = None,
    progress: Progress | None = None,
    *,
    task: str | None = None,
) -> ModelCard:
    """Tune the model in `folder` on the COCO folder `data_dir` into the new model folder `out_dir`.

    task: `detect` or `pose`, refused where the model is for the other. A data set with a fault is refused before the
    first step.
    """
    card = require_tunable(folder, data_dir, out_dir, task=task, progress=progress)
    return family_of(card).tune(folder, data_dir, out_dir, settings or TuneSettings(), progress)


def require_tunable(
    folder: Path, data_dir: Path, out_dir: Path, *, task: str | None = None, progress: Progress | None = None
) -> ModelCard:
    """The card of a model that can be tuned so; WardposeError where the task, the place or the data set speaks against
    it."""
    card = read_card(folder)
    if task is not None and card.task != task:
        wanted = {"detect": "detector", "pose": "pose model"}
        raise WardposeError(
            f"{card.name} is no {wanted[task]}", where=str(folder), mend="see the task in `wardpose models list`"
        )
    if out_dir.exists():
        raise WardposeError("a model is already here", where=str(out_dir), mend="choose another name")
    require_sound(data_dir, task=card.task, progress=progress)
    return card


def input_size(card: ModelCard, settings: TuneSettings, pictures: list[Picture]) -> tuple[int, int]:
    """Width and height of a detector's input: as asked for, else the card's, its shape fitted to the pictures.

    A camera of 16:9 gets an input of 16:9: its longer side is the card's, the shorter one the next multiple of 32
    that holds the picture.
    """
    if settings.width is not None or settings.height is not None:
        return settings.width or card.width, settings.height or card.height
    if not pictures:
        return card.width, card.height
    longer = settings.longer_side or max(card.width, card.height)
    ratios = np.array([picture.height / picture.width for picture in pictures])
    if np.ptp(ratios) > 0.02:  # pictures of many shapes: no one shape fits them
        return (settings.longer_side or card.width, settings.longer_side or card.height)
    return fitted(longer, float(ratios[0]))


def fitted(longer: int, height_over_width: float) -> tuple[int, int]:
    """Width and height, multiples of 32, whose longer side is `longer` and which hold a picture of this shape."""
    shorter = longer * min(height_over_width, 1 / height_over_width)
    rounded = min(longer, -(-round(shorter) // 32) * 32)
    return (longer, rounded) if height_over_width <= 1 else (rounded, longer)
