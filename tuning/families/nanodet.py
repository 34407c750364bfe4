"""The NanoDet family (Lyu 2020): small detectors of three grids, tuned as the ONNX graphs they came as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture
from tuning.families.detection_samples import DetectionAugmentation
from tuning.families.family import Progress, TuneSettings
from tuning.families.graph_family import GraphFamily, Trained
from tuning.store.foreign import ForeignModel

STRIDES = (8, 16, 32)


class NanodetRecipe(BaseModel):
    """How NanoDet is tuned, where the settings don't say otherwise; each number was chosen on real photographs.

    With its first convolutions left alone nothing of what it learnt from photographs is lost, at a rate that would
    otherwise make it forget.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(default=3e-3, title="Learning rate", gt=0, le=1)
    final_factor: float = Field(default=0.1, title="Last learning rate over the first", ge=0, le=1)
    warmup_steps: int = Field(default=10, title="Batches of linear warm-up", ge=0)
    batch: int = Field(default=16, title="Images per optimiser step", ge=1, le=1024)
    frozen_convolutions: int = Field(default=20, title="Convolutions kept as they are, from the input", ge=0)
    quality_weight: float = Field(default=1.0, title="Weight of the quality focal loss", ge=0)
    box_weight: float = Field(default=2.0, title="Weight of the generalised IoU", ge=0)
    sides_weight: float = Field(default=0.25, title="Weight of the distribution focal loss", ge=0)
    # From here on 96 of 100 people who fell are found on photographs, with a false one in every fourth room; from .5 on
    # rooms stay empty, but more people are lost, covered patients first.
    threshold: float = Field(default=0.4, title="Score from which a found person counts, live", gt=0, lt=1)
    augmentation: DetectionAugmentation = Field(default_factory=DetectionAugmentation, title="Augmentation")


RECIPE = NanodetRecipe()


class Nanodet(GraphFamily):
    """NanoDet detectors with three grids and a distribution for each side."""

    name: ClassVar[str] = "nanodet"
    task: ClassVar[Literal["detect", "pose"]] = "detect"
    layouts: ClassVar[frozenset[str]] = frozenset({"nanodet"})

    def fields(self, foreign: ForeignModel) -> Mapping[str, Any] | None:
        inputs, outputs = foreign.shapes()
        if len(inputs) != 1 or len(inputs[0]) != 4 or len(outputs) != 2 * len(STRIDES):
            return None
        height, width = inputs[0][2:]
        cells = [(width // stride) * (height // stride) for stride in STRIDES]
        shapes = [shape[1:] for shape in outputs]
        classes, sides = shapes[0][0], shapes[-1][0]
        expected = [[rows, count] for rows in (classes, sides) for count in cells]
        if shapes != expected or not all(cells) or sides % 4 or sides < 8:
            return None
        # Trained on COCO by OpenCV's reading: blue first, mean and deviation of ImageNet.
        return {
            "layout": "nanodet", "width": width, "height": height, "classes": classes, "channels": "bgr",
            "mean": (103.53, 116.28, 123.675), "std": (57.375, 57.12, 58.395),
        }  # fmt: skip

    def train(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, progress: Progress | None
    ) -> Trained:
        from tuning.families.nanodet_training import train_nanodet
        from tuning.train.torch_loop import LoopSettings

        recipe = _told(RECIPE, settings)
        loop = LoopSettings(
            epochs=settings.epochs or 1, minutes=settings.minutes, batch=recipe.batch, nominal_batch=recipe.batch,
            learning_rate=recipe.learning_rate, final_factor=recipe.final_factor, warmup_steps=recipe.warmup_steps,
            weight_decay=0.0, seed=settings.seed, threads=settings.threads, device=settings.device,
        )  # fmt: skip
        outcome = train_nanodet(graph, info, pictures, loop, recipe, progress)
        return Trained(outcome, recipe, {"threshold": recipe.threshold})


def _told(recipe: NanodetRecipe, settings: TuneSettings) -> NanodetRecipe:
    """The recipe with what somebody asked for."""
    asked = {
        "learning_rate": settings.learning_rate, "batch": settings.batch,
        "frozen_convolutions": settings.frozen_layers,
    }  # fmt: skip
    return recipe.model_copy(update={name: value for name, value in asked.items() if value is not None})
