"""What YOLOX (Ge et al. 2021) is taught: SimOTA, IoU squared, and the cross-entropy of objectness and person."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.model_info import ModelInfo
from tuning.families.detection_losses import Assignment, Grid, iou, within
from tuning.families.graph_detector import DetectorRecipe
from tuning.families.graph_detector_training import (
    DecodedHead,
    Distributions,
    corners,
    decoded_loss,
    grid_of,
    logits_of,
    outside_crowds,
    people_of,
    sides_of,
)
from tuning.families.onnx_graph import OnnxGraph

_CENTRE_RADIUS = 2.5  # strides about a person's centre whose cells are candidates
_MOST = 10  # cells whose IoUs together say how many answer for a person
_FAR = 1e5  # cost of a cell that lies in the box but not near its centre, or the other way about


def yolox_loss(graph: OnnxGraph, batch: dict[str, Any], *, info: ModelInfo, recipe: DetectorRecipe) -> dict[str, Any]:
    """The three terms of one batch of `DetectionSamples`, each over the number of cells that answer."""
    raw = logits_of(graph, graph(batch["images"]))
    grid = grid_of(info, raw.shape[1], str(raw.device))
    return objectness_loss(
        offset_boxes(raw[..., :4], grid), raw[..., 4], raw[..., 5 + info.person_class], batch, grid, recipe
    )


def offset_boxes(raw: Tensor, grid: Grid) -> Tensor:
    """(..., N, 4) boxes xyxy in input pixels from YOLOX's raw offsets: from the cell's corner, and log of the size, in
    strides."""
    corner = grid.centre / grid.stride - 0.5
    return corners(torch.cat([raw[..., :2] + corner, raw[..., 2:4].clamp(max=10).exp()], -1) * grid.stride)


def objectness_loss(
    boxes: Tensor, there: Tensor, person: Tensor, batch: dict[str, Any], grid: Grid, recipe: DetectorRecipe
) -> dict[str, Any]:
    """YOLOX's loss for boxes (B, N, 4) xyxy in input pixels and the logits (B, N) of objectness and person."""
    taught, counted = torch.zeros_like(there), torch.ones_like(there)
    box_loss = person_loss = there.new_zeros(())
    for place in range(len(boxes)):
        people, crowds = people_of(batch, place)
        score = (there[place].detach().sigmoid() * person[place].detach().sigmoid()).sqrt()
        given = assign_simota(score, boxes[place].detach(), people, grid)
        answering = given.person >= 0
        taught[place] = answering.float()
        counted[place] = outside_crowds(answering, crowds, grid)
        if bool(answering.any()):
            overlap = iou(boxes[place, answering], people[given.person[answering]])
            box_loss = box_loss + (1 - overlap**2).sum()
            quality = given.quality[answering]
            person_loss = person_loss + F.binary_cross_entropy_with_logits(
                person[place, answering], quality, reduction="sum"
            )
    there_loss = (F.binary_cross_entropy_with_logits(there, taught, reduction="none") * counted).sum()
    answered = taught.sum().clamp_min(1.0)
    return {
        "box": recipe.box_weight * box_loss / answered,
        "objectness": recipe.score_weight * there_loss / answered,
        "class": recipe.score_weight * person_loss / answered,
    }


@torch.no_grad()  # type: ignore[untyped-decorator]
def assign_simota(score: Tensor, boxes: Tensor, people: Tensor, grid: Grid) -> Assignment:
    """SimOTA (Ge et al. 2021): each person takes the cells of least cost, as many as the best cells' IoUs sum up to.

    score (N,) is √(objectness · class), boxes (N, 4) and people (P, 4) are xyxy in input pixels. The cost of a cell is
    the cross-entropy of its score plus three times −log IoU; candidates lie in a person's box or near its centre. A
    cell that several people want goes to the one it costs least.
    """
    person = score.new_full((len(score),), -1, dtype=torch.long)
    if not len(people):
        return Assignment(person, torch.zeros_like(score))
    inside = within(grid, people)
    middle = (people[:, None, :2] + people[:, None, 2:]) / 2
    near = ((grid.centre - middle).abs() < _CENTRE_RADIUS * grid.stride).all(-1)
    candidate = (inside | near).any(0)
    overlap = iou(boxes[None], people[:, None]).nan_to_num() * candidate  # whoever is no number fails as a loss
    cost = -score.clamp_min(1e-7).log() - 3 * (overlap + 1e-8).log() + _FAR * ~(inside & near)
    cost = cost.masked_fill(~candidate, torch.inf)
    wanted = torch.zeros_like(inside)
    for row in range(len(people)):
        available = int(candidate.sum())
        count = int(overlap[row].topk(min(_MOST, available)).values.sum()) if available else 0
        if available:
            wanted[row, cost[row].topk(max(count, 1), largest=False).indices] = True
    taken = wanted.any(0)
    least = cost.masked_fill(~wanted, torch.inf).argmin(0)
    several = wanted.sum(0) > 1
    chosen = torch.where(several, cost.argmin(0), least)
    quality = overlap.gather(0, chosen[None])[0]
    return Assignment(torch.where(taken, chosen, -1), torch.where(taken, quality, 0.0))


def yolov6_loss(
    graph: OnnxGraph,
    batch: dict[str, Any],
    *,
    info: ModelInfo,
    recipe: DetectorRecipe,
    distributions: Distributions,
) -> dict[str, Any]:
    """The terms of one batch of `DetectionSamples`."""
    outputs = graph(batch["images"])
    answer, raw = outputs[graph.outputs[0]], logits_of(graph, outputs)
    boxes, logits = corners(answer[..., :4]), raw[..., 5 + info.person_class]
    grid = grid_of(info, answer.shape[1], str(answer.device))
    if not torch.equal(answer[..., 4], torch.ones_like(answer[..., 4])):
        return objectness_loss(boxes, raw[..., 4], logits, batch, grid, recipe)
    return decoded_loss(DecodedHead(boxes, logits, sides_of(outputs, distributions)), batch, grid, recipe)
