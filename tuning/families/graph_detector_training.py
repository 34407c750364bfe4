"""Training detectors as the ONNX graph they came as: the loop, and the loss of a decoded head.

A decoded head answers for every cell of a few grids with a box in input pixels and a score. Cells are assigned to
people by how well they score and fit (TOOD, Feng et al. 2021); the score learns the fit of its own box.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from calibration.errors import WardposeError
from calibration.progress import Progress
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
from tuning.families.detection_samples import DetectionSamples
from tuning.families.family import TuneSettings
from tuning.families.graph_detector import STRIDE_SETS, DetectorRecipe
from tuning.families.graph_family import Trained
from tuning.families.onnx_graph import OnnxGraph
from tuning.train.loop_settings import LoopSettings
from tuning.train.torch_loop import fit

Loss = Callable[[OnnxGraph, dict[str, Any]], dict[str, Any]]
Distributions = tuple[tuple[str, int], ...]  # names of tensors, and the axis of their bins


def train_detector_graph(
    graph: OnnxGraph,
    info: ModelInfo,
    pictures: list[Picture],
    settings: TuneSettings,
    recipe: DetectorRecipe,
    loss: Loss,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train in place, on from `checkpoint` where it is there. recipe: with what `settings` say in it (`told`)."""
    frozen = recipe.frozen_convolutions
    graph.freeze(round(recipe.frozen_share * len(graph.convolutions)) if frozen is None else frozen)
    loop = LoopSettings(
        epochs=recipe.epochs, minutes=settings.minutes, batch=recipe.batch, nominal_batch=recipe.batch,
        optimizer=recipe.optimizer, learning_rate=recipe.learning_rate, final_factor=recipe.final_factor,
        warmup_steps=recipe.warmup_steps, keep_epochs=recipe.kept_epochs, weight_decay=0.0, seed=settings.seed,
        threads=settings.threads, device=settings.device,
    )  # fmt: skip
    samples = DetectionSamples(pictures, info, seed=loop.seed, augmentation=recipe.augmentation)
    outcome = fit(graph, samples, loss, loop, checkpoint=checkpoint, resume=True, progress=progress)
    graph.to("cpu")
    return Trained(outcome, recipe)


def grid_of(info: ModelInfo, cells: int, device: str) -> Grid:
    """The grids of a head of so many cells; WardposeError where none has that many."""
    for strides in STRIDE_SETS:
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


def decoded_loss(head: DecodedHead, batch: dict[str, Any], grid: Grid, recipe: DetectorRecipe) -> dict[str, Any]:
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
    terms = {"score": recipe.score_weight * score_loss / answered, "box": recipe.box_weight * box_loss / answered}
    return terms if head.sides is None else terms | {"sides": recipe.sides_weight * sides_loss / answered}


def people_of(batch: dict[str, Any], place: int) -> tuple[Tensor, Tensor]:
    """Boxes (P, 4) of the people and (C, 4) of the crowds in one picture of a batch."""
    mine = batch["picture"] == place
    return batch["boxes"][mine & ~batch["ignored"]], batch["boxes"][mine & batch["ignored"]]


def outside_crowds(answering: Tensor, crowds: Tensor, grid: Grid) -> Tensor:
    """(N,) 1, and 0 for cells in a crowd that answer for nobody: whoever is found there is neither right nor wrong."""
    return (answering | ~within(grid, crowds).any(0)).float() if len(crowds) else torch.ones_like(answering).float()


@torch.no_grad()  # type: ignore[untyped-decorator]
def _aligned(given: Assignment, score: Tensor) -> Tensor:
    """Scores to learn (N,), as TOOD and YOLOv8 have them: the best cell of a person its IoU, others less as they align
    less."""
    alignment = score.sqrt() * given.quality**6
    target = torch.zeros_like(score)
    for person in given.person[given.person >= 0].unique():
        mine = given.person == person
        target[mine] = alignment[mine] / alignment[mine].max().clamp_min(1e-12) * given.quality[mine].max()
    return target


def yolo_loss(
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
    boxes, logits = corners(answer[:, :4].transpose(1, 2)), raw[:, 4 + info.person_class]
    grid = grid_of(info, answer.shape[2], str(answer.device))
    return decoded_loss(DecodedHead(boxes, logits, sides_of(outputs, distributions)), batch, grid, recipe)


def box_distributions(graph: OnnxGraph) -> Distributions:
    """The logits of the distributions that the graph decodes its boxes from, in the grids' order; none where it has
    none.

    They go through a softmax into a convolution whose weights are 0, 1, 2, … (its mean).
    """
    found: dict[str, int] = {}
    for node in graph.producers.values():
        if node.op != "Conv" or node.inputs[1] not in graph.expectations:
            continue
        before = graph.producers.get(node.inputs[0])
        while before is not None and before.op in ("Transpose", "Reshape", "Identity"):
            before = graph.producers.get(before.inputs[0])
        if before is not None and before.op == "Softmax" and len(graph.shapes[before.inputs[0]]) == 4:
            found[before.inputs[0]] = before.attributes.get("axis", -1) % 4
    return tuple(found.items())


def sides_of(outputs: dict[str, Any], distributions: Distributions) -> Tensor | None:
    """Logits (B, N, 4, bins) from tensors that hold batch, four sides, cells and, on their axis, bins in any order."""
    parts = [outputs[name].movedim(axis, -1) for name, axis in distributions]
    return torch.cat([p.transpose(1, 2) if p.shape[1] == 4 else p for p in parts], 1) if parts else None
