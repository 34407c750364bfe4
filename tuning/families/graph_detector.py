"""What detectors share that are tuned as the ONNX graph they came as: the recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from calibration.bounds import BATCH
from tuning.families.detection_samples import DetectionAugmentation
from tuning.families.family import TuneSettings
from tuning.families.paper_recipe import FLIP, paper_recipe

STRIDES = (8, 16, 32)  # pixels from cell to cell, map by map: what most detectors have
STRIDE_SETS = (STRIDES, (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))


class DetectorRecipe(BaseModel):
    """How a graph is tuned, where the settings don't say otherwise.

    AdamW, since an exporter folds batch norms into the convolutions and leaves weights of very different sizes: one
    rate for all of them moves some too little and blows up others. Nothing is decayed: a channel of another class that
    no loss asks for keeps its numbers bit for bit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=1, title="Passes over the images", ge=1)
    batch: int = Field(default=16, title="Images per optimiser step", ge=BATCH.least, le=BATCH.most)
    optimizer: Literal["sgd", "adamw"] = Field(default="adamw", title="Optimiser")
    learning_rate: float = Field(default=1e-4, title="Learning rate", gt=0, le=1)
    final_factor: float = Field(default=0.1, title="Last learning rate over the first", ge=0, le=1)
    warmup_steps: int = Field(default=10, title="Batches of linear warm-up", ge=0)
    kept_epochs: int = Field(default=0, title="First epochs whose weights are kept beside the last ones", ge=0)
    frozen_share: float = Field(default=0.5, title="Share of the convolutions kept, from the input", ge=0, le=1)
    frozen_convolutions: int | None = Field(default=None, title="Convolutions kept, where a number was said", ge=0)
    score_weight: float = Field(default=0.5, title="Weight of the scores' cross-entropy", ge=0)
    box_weight: float = Field(default=7.5, title="Weight of the boxes' overlap", ge=0)
    sides_weight: float = Field(default=1.5, title="Weight of the distribution focal loss", ge=0)
    augmentation: DetectionAugmentation = Field(default_factory=DetectionAugmentation, title="Augmentation")

    def told(self, settings: TuneSettings, kind: str) -> DetectorRecipe:
        """The recipe for a model of this kind, or the paper's in its place, with what somebody asked for."""
        if settings.recipe == "paper":
            paper = paper_recipe(kind, settings)
            changes = paper.model_dump(include={"epochs", "batch", "optimizer", "learning_rate", "kept_epochs"})
            plain = DetectionAugmentation.only_flips(FLIP)
            changes |= {"final_factor": 1.0, "warmup_steps": 0, "frozen_share": 0.0, "augmentation": plain}
            return self.model_copy(update=changes | {"frozen_convolutions": settings.frozen_layers})
        asked = {
            "epochs": settings.epochs,
            "batch": settings.batch,
            "learning_rate": settings.learning_rate,
            "frozen_convolutions": settings.frozen_layers,
        }
        return self.model_copy(update={name: value for name, value in asked.items() if value is not None})
