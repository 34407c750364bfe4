"""NanoDet, tuned as the ONNX graph it came as: its person channel and its boxes, on synthetic pictures of the site.

The losses are the ones it was made with (Lyu, NanoDet, 2020): quality focal loss, generalised IoU and distribution
focal loss. Cells are assigned by how well they score and fit (TOOD) instead of by their place, so that a person lying
across the picture is answered for wherever the network sees them.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from calibration.errors import WardposeError
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture, read_people
from tuning.families.detection_losses import (
    Grid,
    assign,
    boxes_of,
    cell_grid,
    distribution_focal_loss,
    generalised_iou,
    quality_focal_loss,
    sides_to,
    within,
)
from tuning.families.detection_samples import DetectionAugmentation, DetectionSamples
from tuning.families.family import Progress, TuneSettings
from tuning.families.onnx_graph import OnnxGraph, load_graph
from tuning.store.card import ModelCard, read_card, verify_weights
from tuning.store.save import save_onnx_model
from tuning.train.torch_loop import LoopSettings, Outcome, fit
from tuning.train.torch_state import interpolate

LAYOUT = "nanodet"
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
    augmentation: DetectionAugmentation = Field(default_factory=DetectionAugmentation, title="Augmentation")


RECIPE = NanodetRecipe()


def tune_nanodet(
    card_dir: Path,
    data_dir: Path,
    out_dir: Path,
    settings: TuneSettings | None = None,
    progress: Progress | None = None,
    *,
    recipe: NanodetRecipe = RECIPE,
) -> ModelCard:
    """Tune the NanoDet in `card_dir` on the COCO folder `data_dir` into the new model folder `out_dir`, at its card's
    input size. What `settings` say outright goes before `recipe`.

    Raises WardposeError where the model is none or the data show nobody, and where the loss is not finite; an exception
    from `progress` cancels it. Either way nothing is left at `out_dir`.
    """
    settings = settings or TuneSettings()
    recipe = _told(recipe, settings)
    card = read_card(card_dir)
    info = card.info
    if card.layout != LAYOUT or info is None:
        raise WardposeError(f"{card.name} is no NanoDet", where=str(card_dir), mend="choose a NanoDet to tune")
    pictures = read_people(data_dir / "annotations.json")
    if not any((~picture.ignored).any() for picture in pictures):
        raise WardposeError("the pictures show nobody", where=str(data_dir), mend="make a data set with people in it")
    graph = OnnxGraph(load_graph(verify_weights(card_dir, card), width=card.width, height=card.height))
    before = graph.state()
    loop = LoopSettings(
        epochs=settings.epochs, minutes=settings.minutes, batch=recipe.batch, nominal_batch=recipe.batch,
        learning_rate=recipe.learning_rate, final_factor=recipe.final_factor, warmup_steps=recipe.warmup_steps,
        weight_decay=0.0, seed=settings.seed, threads=settings.threads, device=settings.device,
    )  # fmt: skip
    outcome = train_nanodet(graph, info, pictures, loop, recipe, progress)
    graph.load_state(interpolate(before, graph.state(), settings.alpha))
    made = {
        "command": "wardpose tune",
        "trainer": LAYOUT,
        "seed": settings.seed,
        "data": data_dir.name,
        "images": outcome.images,
        "steps": outcome.steps,
        "seconds": round(outcome.seconds, 1),
        "loss": outcome.loss,
        "settings": json.loads(settings.model_dump_json()),
        "recipe": json.loads(recipe.model_dump_json()),
    }
    return save_onnx_model(
        out_dir, graph.written(), card.model_copy(update={"parent": card.name, "made": made, "scores": {}})
    )


def train_nanodet(
    graph: OnnxGraph,
    info: ModelInfo,
    pictures: list[Picture],
    loop: LoopSettings,
    recipe: NanodetRecipe = RECIPE,
    progress: Progress | None = None,
) -> Outcome:
    """Train the graph of a NanoDet in place."""
    graph.freeze(recipe.frozen_convolutions)
    samples = DetectionSamples(pictures, info, seed=loop.seed, augmentation=recipe.augmentation)
    outcome = fit(graph, samples, partial(nanodet_loss, info=info, recipe=recipe), loop, progress=progress)
    graph.to("cpu")
    return outcome


def nanodet_loss(graph: OnnxGraph, batch: dict[str, Any], *, info: ModelInfo, recipe: NanodetRecipe) -> dict[str, Any]:
    """The three terms of one batch of `DetectionSamples`, each over the summed quality of the cells that answer."""
    logits, sides = person_head(graph, graph(batch["images"]), info.person_class)
    grid = cell_grid(info.width, info.height, STRIDES, str(logits.device))
    boxes = boxes_of(sides, grid)
    quality, counted = torch.zeros_like(logits), torch.ones_like(logits)
    box_loss = sides_loss = logits.new_zeros(())
    for place in range(len(logits)):
        mine = batch["picture"] == place
        people, crowds = batch["boxes"][mine & ~batch["ignored"]], batch["boxes"][mine & batch["ignored"]]
        given = assign(logits[place].sigmoid(), boxes[place], people, grid)
        answering = given.person >= 0
        quality[place] = given.quality
        if len(crowds):  # whoever is found in a crowd is neither right nor wrong
            counted[place] = (answering | ~within(grid, crowds).any(0)).float()
        if bool(answering.any()):
            weight, truth = given.quality[answering], people[given.person[answering]]
            box_loss = box_loss + ((1 - generalised_iou(boxes[place, answering], truth)) * weight).sum()
            distance = sides_to(truth, grid.centre[answering]) / grid.stride[answering]
            sides_loss = sides_loss + (distribution_focal_loss(sides[place, answering], distance) * weight).sum()
    answered = quality.sum().clamp_min(1.0)
    score_loss = (quality_focal_loss(logits, quality) * counted).sum()
    return {
        "quality": recipe.quality_weight * score_loss / answered,
        "box": recipe.box_weight * box_loss / answered,
        "sides": recipe.sides_weight * sides_loss / answered,
    }


def person_head(graph: OnnxGraph, outputs: dict[str, Any], person_class: int) -> tuple[Any, Any]:
    """Person logits (B, N) and the logits of each side's distance (B, N, 4, bins), the cells of all grids in a row."""
    scores, distances = graph.outputs[: len(STRIDES)], graph.outputs[len(STRIDES) :]
    logits = torch.cat([outputs[f"{name}:logits"][:, person_class] for name in scores], 1)
    sides = [outputs[name].unflatten(1, (4, -1)).permute(0, 3, 1, 2) for name in distances]
    return logits, torch.cat(sides, 1)


def _told(recipe: NanodetRecipe, settings: TuneSettings) -> NanodetRecipe:
    """The recipe with what somebody asked for."""
    asked = settings.model_fields_set
    changes: dict[str, Any] = {name: getattr(settings, name) for name in ("learning_rate", "batch") if name in asked}
    if "frozen_layers" in asked:
        changes["frozen_convolutions"] = settings.frozen_layers
    return recipe.model_copy(update=changes)
