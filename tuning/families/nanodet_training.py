"""What NanoDet's graph is trained by: its person channel and its boxes, on synthetic pictures of the site.

The losses are the ones it was made with (Lyu, NanoDet, 2020): quality focal loss, generalised IoU and distribution
focal loss. Cells are assigned by how well they score and fit (TOOD) instead of by their place, so that a person lying
across the picture is answered for wherever the network sees them.
"""

from __future__ import annotations

from typing import Any

import torch

from runtime.model_info import ModelInfo
from tuning.families.detection_losses import (
    assign,
    boxes_of,
    cell_grid,
    distribution_focal_loss,
    generalised_iou,
    quality_focal_loss,
    sides_to,
    within,
)
from tuning.families.graph_detector import STRIDES, DetectorRecipe
from tuning.families.onnx_graph import OnnxGraph


def nanodet_loss(graph: OnnxGraph, batch: dict[str, Any], *, info: ModelInfo, recipe: DetectorRecipe) -> dict[str, Any]:
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
        "quality": recipe.score_weight * score_loss / answered,
        "box": recipe.box_weight * box_loss / answered,
        "sides": recipe.sides_weight * sides_loss / answered,
    }


def person_head(graph: OnnxGraph, outputs: dict[str, Any], person_class: int) -> tuple[Any, Any]:
    """Person logits (B, N) and the logits of each side's distance (B, N, 4, bins), the cells of all grids in a row."""
    scores, distances = graph.outputs[: len(STRIDES)], graph.outputs[len(STRIDES) :]
    logits = torch.cat([outputs[f"{name}:logits"][:, person_class] for name in scores], 1)
    sides = [outputs[name].unflatten(1, (4, -1)).permute(0, 3, 1, 2) for name in distances]
    return logits, torch.cat(sides, 1)
