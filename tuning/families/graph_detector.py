"""What detectors share that are trained as the ONNX graph they came as: recipe, loop, and the loss of a decoded head.

A decoded head answers for every cell of a few grids with a box in input pixels and a score. Cells are assigned to
people by how well they score and fit (TOOD, Feng et al. 2021); the score learns the fit of its own box.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from calibration.errors import WardposeError
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture
from tuning.families.detection_losses import (
    Assignment,
    Grid,
    assign,
    cell_grid,
    distribution_focal_loss,
    generalised_iou,
    sides_to,
    within,
)
from tuning.families.detection_samples import DetectionAugmentation, DetectionSamples
from tuning.families.family import Progress, TuneSettings
from tuning.families.onnx_graph import OnnxGraph, graph_of
from tuning.store.foreign import ForeignModel
from tuning.train.torch_loop import LoopSettings, Outcome, fit

_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
Loss = Callable[[OnnxGraph, dict[str, Any]], dict[str, Any]]


class DetectorRecipe(BaseModel):
    """How a family's graphs are tuned, where the settings don't say otherwise.

    Nothing is decayed: a channel of another class that no loss asks for keeps its numbers bit for bit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=1, title="Passes over the images", ge=1)
    batch: int = Field(default=16, title="Images per optimiser step", ge=1, le=1024)
    learning_rate: float = Field(default=1e-3, title="Learning rate", gt=0, le=1)
    final_factor: float = Field(default=0.1, title="Last learning rate over the first", ge=0, le=1)
    warmup_steps: int = Field(default=10, title="Batches of linear warm-up", ge=0)
    frozen_share: float = Field(default=0.5, title="Share of the convolutions kept, from the input", ge=0, le=1)
    augmentation: DetectionAugmentation = Field(default_factory=DetectionAugmentation, title="Augmentation")


def train_detector_graph(
    graph: OnnxGraph,
    info: ModelInfo,
    pictures: list[Picture],
    settings: TuneSettings,
    recipe: DetectorRecipe,
    loss: Loss,
    progress: Progress | None = None,
    **checkpoint: Any,
) -> Outcome:
    """Train in place. What `settings` say outright goes before `recipe`; `checkpoint` and `resume` as in `fit`."""
    share = round(recipe.frozen_share * len(graph.convolutions))
    graph.freeze(share if settings.frozen_layers is None else settings.frozen_layers)
    loop = LoopSettings(
        epochs=settings.epochs or recipe.epochs, minutes=settings.minutes, batch=settings.batch or recipe.batch,
        nominal_batch=settings.batch or recipe.batch, learning_rate=settings.learning_rate or recipe.learning_rate,
        final_factor=recipe.final_factor, warmup_steps=recipe.warmup_steps, weight_decay=0.0, seed=settings.seed,
        threads=settings.threads, device=settings.device,
    )  # fmt: skip
    samples = DetectionSamples(pictures, info, seed=loop.seed, augmentation=recipe.augmentation)
    outcome = fit(graph, samples, loss, loop, progress=progress, **checkpoint)
    graph.to("cpu")
    return outcome


def grid_of(info: ModelInfo, cells: int, device: str) -> Grid:
    """The grids of a head of so many cells; WardposeError where none has that many."""
    for strides in _STRIDES:
        if sum((info.width // s) * (info.height // s) for s in strides) == cells:
            return cell_grid(info.width, info.height, strides, device)
    raise WardposeError(
        f"its {cells} boxes are no grids of {info.width}×{info.height}", where=info.name,
        mend="the model can be run but not tuned: choose another to tune",
    )  # fmt: skip


def corners(centred: Tensor) -> Tensor:
    """(..., 4) boxes x, y, width, height about their centres as xyxy."""
    half = centred[..., 2:] / 2
    return torch.cat([centred[..., :2] - half, centred[..., :2] + half], -1)


def logits_of(graph: OnnxGraph, outputs: dict[str, Any]) -> Tensor:
    """The first output before its sigmoids; WardposeError where it has none."""
    name = f"{graph.outputs[0]}:logits"
    if name not in outputs:
        raise WardposeError(
            "its scores are no sigmoids, so that no loss is known for them",
            mend="the model can be run but not tuned: choose another to tune",
        )
    answer: Tensor = outputs[name]
    return answer


@dataclass(frozen=True, slots=True)
class DecodedHead:
    """boxes (B, N, 4) xyxy in input pixels, logits (B, N) of the person's scores, and where the boxes come from
    distributions over whole strides: their logits (B, N, 4, bins)."""

    boxes: Tensor
    logits: Tensor
    sides: Tensor | None = None


class HeadWeights(BaseModel):
    """Weights of the terms of a decoded head's loss, those of YOLOv8's training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: float = Field(default=0.5, title="Weight of the scores' cross-entropy", ge=0)
    box: float = Field(default=7.5, title="Weight of the generalised IoU", ge=0)
    sides: float = Field(default=1.5, title="Weight of the distribution focal loss", ge=0)


def decoded_loss(head: DecodedHead, batch: dict[str, Any], grid: Grid, weights: HeadWeights) -> dict[str, Any]:
    """The terms of one batch of `DetectionSamples`, each over the summed quality of the cells that answer."""
    quality, counted = torch.zeros_like(head.logits), torch.ones_like(head.logits)
    box_loss = sides_loss = head.logits.new_zeros(())
    for place in range(len(head.logits)):
        people, crowds = people_of(batch, place)
        score = head.logits[place].detach().sigmoid()
        given = assign(score, head.boxes[place].detach(), people, grid)
        answering = given.person >= 0
        quality[place] = _aligned(given, score)
        counted[place] = outside_crowds(answering, crowds, grid)
        if bool(answering.any()):
            weight, truth = quality[place, answering], people[given.person[answering]]
            box_loss = box_loss + ((1 - generalised_iou(head.boxes[place, answering], truth)) * weight).sum()
            if head.sides is not None:
                distance = sides_to(truth, grid.centre[answering]) / grid.stride[answering]
                sides_loss = (
                    sides_loss + (distribution_focal_loss(head.sides[place, answering], distance) * weight).sum()
                )
    answered = quality.sum().clamp_min(1.0)
    score_loss = (F.binary_cross_entropy_with_logits(head.logits, quality, reduction="none") * counted).sum()
    terms = {"score": weights.score * score_loss / answered, "box": weights.box * box_loss / answered}
    return terms if head.sides is None else terms | {"sides": weights.sides * sides_loss / answered}


def people_of(batch: dict[str, Any], place: int) -> tuple[Tensor, Tensor]:
    """Boxes (P, 4) of the people and (C, 4) of the crowds in one picture of a batch."""
    mine = batch["picture"] == place
    return batch["boxes"][mine & ~batch["ignored"]], batch["boxes"][mine & batch["ignored"]]


def outside_crowds(answering: Tensor, crowds: Tensor, grid: Grid) -> Tensor:
    """(N,) 1, and 0 for cells in a crowd that answer for nobody: whoever is found there is neither right nor wrong."""
    return (answering | ~within(grid, crowds).any(0)).float() if len(crowds) else torch.ones_like(answering).float()


@torch.no_grad()
def _aligned(given: Assignment, score: Tensor) -> Tensor:
    """Scores to learn (N,), as TOOD and YOLOv8 have them: the best cell of a person its IoU, others less as they align
    less."""
    alignment = score.sqrt() * given.quality**6
    target = torch.zeros_like(score)
    for person in given.person[given.person >= 0].unique():
        mine = given.person == person
        target[mine] = alignment[mine] / alignment[mine].max().clamp_min(1e-12) * given.quality[mine].max()
    return target


def grid_answer(foreign: ForeignModel) -> Literal["offsets", "pixels", "sure"] | None:
    """What a foreign detector's one output [1, N, 5 + classes] is, told by its answer to a grey picture.

    `offsets`: raw offsets from grid cells (YOLOX); `pixels`: boxes in input pixels with an objectness; `sure`: the
    same with an objectness of exactly 1 (YOLOv6). None: another output, or a graph that cannot be computed here.
    """
    inputs, outputs = foreign.shapes()
    if len(inputs) != 1 or len(inputs[0]) != 4 or len(outputs) != 1 or len(outputs[0]) != 3:
        return None
    (height, width), (cells, numbers) = inputs[0][2:], outputs[0][1:]
    strides = next((s for s in _STRIDES if height and cells == sum((height // n) * (width // n) for n in s)), None)
    if not width or numbers <= 5 or strides is None:
        return None
    try:
        graph = graph_of(foreign.path)
    except WardposeError:
        return None
    with torch.no_grad():
        answer = graph(torch.full(graph.picture_shape, 0.5))[graph.outputs[0]][0].numpy()
    grid = cell_grid(width, height, strides)
    off = np.abs(answer[:, :2] - grid.centre.numpy()).max(1) / grid.stride.numpy()[:, 0]
    if not math.isfinite(float(off.sum())) or np.median(off) > np.median(np.abs(answer[:, :2]).max(1)):
        return "offsets"
    return "sure" if (answer[:, 4] == 1).all() else "pixels"
