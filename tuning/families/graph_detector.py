"""What detectors share that are tuned as the ONNX graph they came as: the recipe, and telling their outputs apart."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from calibration.bounds import BATCH
from calibration.errors import WardposeError
from tuning.families.detection_samples import DetectionAugmentation
from tuning.families.family import TuneSettings
from tuning.store.foreign import ForeignModel

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
    frozen_share: float = Field(default=0.5, title="Share of the convolutions kept, from the input", ge=0, le=1)
    frozen_convolutions: int | None = Field(default=None, title="Convolutions kept, where a number was said", ge=0)
    score_weight: float = Field(default=0.5, title="Weight of the scores' cross-entropy", ge=0)
    box_weight: float = Field(default=7.5, title="Weight of the boxes' overlap", ge=0)
    sides_weight: float = Field(default=1.5, title="Weight of the distribution focal loss", ge=0)
    augmentation: DetectionAugmentation = Field(default_factory=DetectionAugmentation, title="Augmentation")

    def told(self, settings: TuneSettings) -> DetectorRecipe:
        """The recipe with what somebody asked for."""
        asked = {
            "epochs": settings.epochs,
            "batch": settings.batch,
            "learning_rate": settings.learning_rate,
            "frozen_convolutions": settings.frozen_layers,
        }
        return self.model_copy(update={name: value for name, value in asked.items() if value is not None})


def grid_answer(foreign: ForeignModel) -> Literal["offsets", "pixels", "sure"] | None:
    """What a foreign detector's one output [1, N, 5 + classes] is, told by its answer to a grey picture.

    `offsets`: raw offsets from grid cells (YOLOX); `pixels`: boxes in input pixels with an objectness; `sure`: the
    same with an objectness of exactly 1 (YOLOv6). None: another output, or a graph that cannot be computed here.
    """
    inputs, outputs = foreign.shapes()
    if len(inputs) != 1 or len(inputs[0]) != 4 or len(outputs) != 1 or len(outputs[0]) != 3:
        return None
    (height, width), (cells, numbers) = inputs[0][2:], outputs[0][1:]
    strides = next((s for s in STRIDE_SETS if height and cells == sum((height // n) * (width // n) for n in s)), None)
    if not width or numbers <= 5 or strides is None:
        return None
    import torch

    from tuning.families.detection_losses import cell_grid
    from tuning.families.onnx_graph import graph_of

    try:
        graph = graph_of(foreign.path)
    except WardposeError:
        return None
    with torch.no_grad():
        answer = graph(torch.full(graph.picture_shape, 0.5))[graph.outputs[0]][0].numpy()
    grid = cell_grid(width, height, strides)
    off = np.abs(answer[:, :2] - grid.centre.numpy()).max(1) / grid.stride.numpy()[:, 0]
    if not np.isfinite(off).all() or np.median(off) > np.median(np.abs(answer[:, :2]).max(1)):
        return "offsets"
    return "sure" if (answer[:, 4] == 1).all() else "pixels"
