"""Training MoveNet's single-person head by its graph: samples, losses, recipe.

The targets are CenterNet's, which MoveNet's head comes from (Zhou et al. 2019; Votel, Li 2021): heat maps by the
penalty-reduced focal loss, offsets and the guesses from the person's centre by L1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from calibration.bounds import BATCH
from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture
from tuning.families.family import TuneSettings
from tuning.families.paper_recipe import PaperRecipe
from tuning.families.person_crops import PADDING, PersonCrops, PoseAugmentation
from tuning.store.outcome import Outcome
from tuning.train.loop_settings import LoopSettings
from tuning.train.torch_loop import TrainingData, fit

OUTPUTS = ("heatmap", "regression", "centre", "offset")


class MovenetRecipe(BaseModel):
    """What is learnt, and how much each part of it weighs. Lengths are cells of the heat map."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=1, title="Passes over the people", ge=1)
    batch: int = Field(default=16, title="Crops per optimiser step", ge=BATCH.least, le=BATCH.most)
    learning_rate: float = Field(default=2e-4, title="Learning rate (AdamW)", gt=0, le=1)
    final_factor: float = Field(default=0.05, title="Last learning rate over the first", ge=0, le=1)
    # However short the training: with four of 28 instead AdamW breaks what the model knew (.71 for .84 on the ward that
    # it was tuned for).
    warmup_steps: int = Field(default=20, title="Batches of linear warm-up", ge=0)
    alpha: float = Field(
        default=0.5, title="Weights this far from the untuned to the trained: as good, and forgets less", ge=0, le=1
    )
    # Measured on people who lie in drawn wards, with the weights half of the way: .64 with 40 of 74 convolutions kept,
    # .75 with none; photographs lose nothing either way.
    frozen_share: float = Field(default=0.0, title="Share of the convolutions kept, from the input", ge=0, le=1)
    sigma: float = Field(default=1.0, title="Breadth of a keypoint in the heat map (cells)", gt=0)
    offset: float = Field(default=1.0, title="Weight of the offsets", ge=0)
    regression: float = Field(default=0.1, title="Weight of the guesses from the person's centre", ge=0)
    wrong: float = Field(default=1.0, title="Weight of a crop that is turned wrong", ge=0)
    hidden: float = Field(default=0.0, title="Weight of hidden keypoints", ge=0)
    augmentation: PoseAugmentation = Field(
        default=PoseAugmentation(body=1.0, wrong=0.25, scale=0.2, shift=0.08, colour=0.25, coarse=0.3),
        title="How crops are varied",
    )


class MovenetSamples(PersonCrops, TrainingData):
    """One sample a person. A batch: `images` (B, 3, height, width) float32 of 0…255; `points` (B, 17, 2) x, y in
    cells; `weight` (B, 17) float32, 0 where a keypoint is not learnt; `right` (B,) bool."""

    def __init__(
        self,
        pictures: list[Picture],
        *,
        width: int,
        height: int,
        seed: int,
        cells: int,
        recipe: MovenetRecipe,
        padding: float = PADDING,
    ) -> None:
        super().__init__(
            pictures, width=width, height=height, seed=seed, augmentation=recipe.augmentation, padding=padding
        )
        self._cell = width / cells
        self._hidden = recipe.hidden

    def batch(self, epoch: int, indices: list[int]) -> dict[str, Any]:
        crops = [self.crop(epoch, index) for index in indices]
        keypoints = np.stack([crop.keypoints for crop in crops])
        points = keypoints[..., :2] / self._cell
        inside = ((points >= 0) & (keypoints[..., :2] < self._size)).all(-1)
        weight = np.select([keypoints[..., 2] == 2, keypoints[..., 2] == 1], [1.0, self._hidden], 0.0)
        return {
            "images": np.stack([crop.color for crop in crops]).transpose(0, 3, 1, 2).astype(np.float32),
            "points": points.astype(np.float32),
            "weight": (weight * inside).astype(np.float32),
            "right": np.array([crop.right for crop in crops]),
        }


def movenet_loss(outputs: dict[str, Any], batch: dict[str, Any], recipe: MovenetRecipe) -> dict[str, Any]:
    """The named terms for the outputs of a batch of crops, each a mean over its learnt keypoints."""
    heat, regression, offset = outputs["heatmap"], outputs["regression"], outputs["offset"]
    people, keypoints, height, width = heat.shape
    points, weight, right = batch["points"], batch["weight"], batch["right"]
    weight = weight * right[:, None]
    total = weight.sum().clamp(min=1.0)
    rows = torch.arange(height, dtype=heat.dtype, device=heat.device)
    columns = torch.arange(width, dtype=heat.dtype, device=heat.device)
    # A keypoint belongs to the cell it lies in: MoveNet's offsets run from 0 to 1, its heat is even about that cell.
    cell = points.floor().long()
    cell = torch.stack([cell[..., 0].clamp(0, width - 1), cell[..., 1].clamp(0, height - 1)], -1)
    flat = cell[..., 1] * width + cell[..., 0]
    squared = (rows - cell[..., 1:]).square()[..., :, None] + (columns - cell[..., :1]).square()[..., None, :]
    target = torch.exp(-squared / (2 * recipe.sigma**2))
    likely, unlikely = torch.nn.functional.logsigmoid(heat), torch.nn.functional.logsigmoid(-heat)
    probability = likely.exp()
    elsewhere = -((1 - target) ** 4 * probability.square() * unlikely).flatten(2)
    elsewhere = (elsewhere.sum(-1) - elsewhere.gather(2, flat[..., None])[..., 0]) * weight
    there = -((1 - probability).square() * likely).flatten(2).gather(2, flat[..., None])[..., 0] * weight
    terms = {"heatmap": (there.sum() + elsewhere.sum()) / total}
    if recipe.offset:
        terms["offset"] = recipe.offset * (_offset_error(offset, points, cell) * weight).sum() / total
    if recipe.regression:
        best = _best_centre(outputs["centre"])
        start = torch.stack([best % width, best // width], -1)
        guess = regression.reshape(people, keypoints, 2, -1).gather(
            3, best[:, None, None, None].expand(-1, keypoints, 2, 1)
        )[..., 0]
        wanted = (points - start[:, None]).flip(-1)
        terms["regression"] = recipe.regression * ((guess - wanted).abs().sum(-1) * weight).sum() / total
    if recipe.wrong:
        wrong = (~right).float()
        nothing = -(probability.square() * unlikely).flatten(1).sum(1) / keypoints
        terms["wrong turn"] = recipe.wrong * (nothing * wrong).sum() / wrong.sum().clamp(min=1.0)
    return terms


def _offset_error(offset: Any, points: Any, cell: Any) -> Any:
    """(B, K) mean L1 error of the offsets (B, 2·K, h, w) at a keypoint's cell and its eight neighbours, any of which
    may win the decoding."""
    people, keypoints, _ = points.shape
    _, _, height, width = offset.shape
    steps = torch.tensor([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)], device=points.device)
    near = cell[:, :, None] + steps  # (B, K, 9, 2)
    inside = ((near >= 0) & (near < torch.tensor([width, height], device=points.device))).all(-1)
    near = near.clamp(min=0).minimum(torch.tensor([width - 1, height - 1], device=points.device))
    flat = near[..., 1] * width + near[..., 0]
    found = offset.reshape(people, keypoints, 2, -1).gather(3, flat[:, :, None].expand(-1, -1, 2, -1))
    wanted = (points[:, :, None] - near).flip(-1).transpose(2, 3)
    error = (found - wanted).abs().sum(2)
    return (error * inside).sum(-1) / inside.sum(-1)


def _best_centre(centre: Any) -> Any:
    """(B,) flat cell that decoding starts from."""
    _, _, height, width = centre.shape
    rows, columns = torch.arange(height, device=centre.device), torch.arange(width, device=centre.device)
    far = torch.hypot((rows[:, None] - height // 2).float(), (columns[None] - width // 2).float())
    return (torch.sigmoid(centre[:, 0].detach()) / (far + 1.8)).flatten(1).argmax(1)


def train_movenet(
    graph: Any,
    pictures: list[Picture],
    loop: LoopSettings,
    recipe: MovenetRecipe,
    *,
    padding: float = PADDING,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Train the `OnnxGraph` of a MoveNet in place on every person with keypoints, on from `checkpoint` where it is
    there."""
    _, _, height, width = graph.picture_shape
    names = dict(zip(OUTPUTS, graph.outputs, strict=True))
    cells = graph.shapes[names["heatmap"]][-1]
    samples = MovenetSamples(
        pictures, width=width, height=height, seed=loop.seed, cells=cells, recipe=recipe, padding=padding
    )
    if not len(samples):
        raise WardposeError("no person has keypoints to learn from", mend="make a data set with keypoints")
    # Channels last are a third faster with oneDNN, which yet hangs in the gradient of a convolution that is narrower
    # than its stride.
    layout = torch.channels_last if graph.strides_overlap() else torch.contiguous_format
    graph.to(memory_format=layout)

    def loss(module: Any, batch: dict[str, Any]) -> dict[str, Any]:
        answer = module(batch["images"].contiguous(memory_format=layout))
        return movenet_loss({name: answer[key] for name, key in names.items()}, batch, recipe)

    outcome = fit(graph, samples, loss, loop, checkpoint=checkpoint, resume=True, progress=progress)
    graph.to("cpu")
    return outcome


def tune_movenet(
    graph: Any,
    info: ModelInfo,
    pictures: list[Picture],
    settings: TuneSettings,
    recipe: MovenetRecipe,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    *,
    paper: PaperRecipe | None = None,
) -> Outcome:
    """Train the graph in place, on from `checkpoint` where it is there. What `settings` say goes before `recipe`.

    paper: the paper's numbers, which the loop takes instead of the recipe's.
    """
    loop = paper.loop(settings, weight_decay=0.0) if paper else LoopSettings(
        epochs=settings.epochs or recipe.epochs, minutes=settings.minutes, batch=settings.batch or recipe.batch,
        nominal_batch=settings.batch or recipe.batch, optimizer="adamw", weight_decay=0.0,
        learning_rate=settings.learning_rate or recipe.learning_rate, final_factor=recipe.final_factor,
        warmup_steps=recipe.warmup_steps, seed=settings.seed, threads=settings.threads, device=settings.device,
    )  # fmt: skip
    kept = round(recipe.frozen_share * len(graph.convolutions))
    graph.freeze(kept if settings.frozen_layers is None else settings.frozen_layers)
    return train_movenet(
        graph, pictures, loop, recipe, padding=info.box_padding, checkpoint=checkpoint, progress=progress
    )
