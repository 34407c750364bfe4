"""The YOLOX family (Ge et al. 2021): detectors that came as ONNX with raw grid offsets, tuned as that graph.

Losses and assignment are those YOLOX was made with: SimOTA, IoU squared, and the cross-entropy of objectness and class;
of the classes the person alone is taught.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture
from tuning.families.detection_losses import Assignment, Grid, iou, within
from tuning.families.family import Progress, TuneSettings
from tuning.families.graph_detector import (
    DetectorRecipe,
    corners,
    grid_answer,
    grid_of,
    logits_of,
    outside_crowds,
    people_of,
    train_detector_graph,
)
from tuning.families.graph_family import GraphFamily, Trained
from tuning.families.onnx_graph import OnnxGraph
from tuning.store.foreign import ForeignModel

STRIDES = (8, 16, 32)
RECIPE = DetectorRecipe(learning_rate=1e-3, frozen_share=0.5)
_CENTRE_RADIUS = 2.5  # strides about a person's centre whose cells are candidates
_MOST = 10  # cells whose IoUs together say how many answer for a person
_FAR = 1e5  # cost of a cell that lies in the box but not near its centre, or the other way about
_BOX_WEIGHT = 5.0


class Yolox(GraphFamily):
    """YOLOX detectors."""

    name: ClassVar[str] = "yolox"
    task: ClassVar[Literal["detect", "pose"]] = "detect"
    layouts: ClassVar[frozenset[str]] = frozenset({"yolox"})

    def fields(self, foreign: ForeignModel) -> Mapping[str, Any] | None:
        inputs, outputs = foreign.shapes()
        if len(inputs) != 1 or len(inputs[0]) != 4 or len(outputs) != 1 or len(outputs[0]) != 3:
            return None
        height, width = inputs[0][2:]
        cells, numbers = outputs[0][1:]
        if not height or not width or numbers <= 5 or cells != sum((height // s) * (width // s) for s in STRIDES):
            return None
        if grid_answer(foreign) in ("pixels", "sure"):
            return None
        # Its convention is 0…255 BGR with the picture at the top left.
        return {
            "layout": "yolox", "width": width, "height": height, "classes": numbers - 5,
            "std": (1.0, 1.0, 1.0), "channels": "bgr", "letterbox": "top-left",
        }  # fmt: skip

    def train(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, progress: Progress | None
    ) -> Trained:
        loss = partial(yolox_loss, info=info)
        return Trained(train_detector_graph(graph, info, pictures, settings, RECIPE, loss, progress), RECIPE)


def yolox_loss(graph: OnnxGraph, batch: dict[str, Any], *, info: ModelInfo) -> dict[str, Any]:
    """The three terms of one batch of `DetectionSamples`, each over the number of cells that answer."""
    raw = logits_of(graph, graph(batch["images"]))
    grid = grid_of(info, raw.shape[1], str(raw.device))
    corner = grid.centre / grid.stride - 0.5
    boxes = corners(torch.cat([raw[..., :2] + corner, raw[..., 2:4].clamp(max=10).exp()], -1) * grid.stride)
    return objectness_loss(boxes, raw[..., 4], raw[..., 5 + info.person_class], batch, grid)


def objectness_loss(boxes: Tensor, there: Tensor, person: Tensor, batch: dict[str, Any], grid: Grid) -> dict[str, Any]:
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
        "box": _BOX_WEIGHT * box_loss / answered,
        "objectness": there_loss / answered,
        "class": person_loss / answered,
    }


@torch.no_grad()
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
    overlap = iou(boxes[None], people[:, None]) * candidate
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
