"""What a grid detector is taught: which cells answer for which person, and how far their answers are off.

Every cell of a few grids scores how well its own box fits a person (its *quality*) and says how far each side of that
box lies from its centre, as a distribution over whole strides (Li et al., Generalized Focal Loss, 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST = 1e-9  # alignment below which a cell is no candidate
_INSIDE = 0.01  # a distance stays this much below the last bin, between whose neighbours it lies


@dataclass(frozen=True, slots=True)
class Grid:
    """centre (N, 2) x, y in input pixels and stride (N, 1) of every cell, the finest grid first, row by row."""

    centre: Tensor
    stride: Tensor


def cell_grid(width: int, height: int, strides: Sequence[int] = (8, 16, 32), device: str = "cpu") -> Grid:
    """The cells of an input of `width` × `height` pixels, both multiples of the largest stride."""
    centres, sizes = [], []
    for stride in strides:
        x = (torch.arange(width // stride, dtype=torch.float32) + 0.5) * stride
        y = (torch.arange(height // stride, dtype=torch.float32) + 0.5) * stride
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        centres.append(torch.stack([columns.reshape(-1), rows.reshape(-1)], 1))
        sizes.append(torch.full((len(x) * len(y), 1), float(stride)))
    return Grid(torch.cat(centres).to(device), torch.cat(sizes).to(device))


def boxes_of(sides: Tensor, grid: Grid) -> Tensor:
    """(..., N, 4) boxes xyxy from the logits (..., N, 4, bins) of each side's distance: its mean, in strides."""
    bins = torch.arange(sides.shape[-1], dtype=sides.dtype, device=sides.device)
    distance = (sides.softmax(-1) * bins).sum(-1) * grid.stride
    return torch.cat([grid.centre - distance[..., :2], grid.centre + distance[..., 2:]], -1)


def sides_to(boxes: Tensor, centre: Tensor) -> Tensor:
    """(P, 4) distances in pixels from each centre (P, 2) to the left, top, right and bottom of its box (P, 4)."""
    return torch.cat([centre - boxes[:, :2], boxes[:, 2:] - centre], -1)


def within(grid: Grid, boxes: Tensor) -> Tensor:
    """(P, N) whether each cell's centre lies in each box (P, 4)."""
    return ((grid.centre > boxes[:, None, :2]) & (grid.centre < boxes[:, None, 2:])).all(-1)


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4) xyxy, which broadcast."""
    inner, union = _inner_and_union(one, other)
    return inner / union


def generalised_iou(one: Tensor, other: Tensor) -> Tensor:
    """IoU less the empty share of the smallest box around both (Rezatofighi et al. 2019); −1…1."""
    inner, union = _inner_and_union(one, other)
    span = torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])
    around = span.prod(-1).clamp_min(1e-7)
    return inner / union - (around - union) / around


def quality_focal_loss(logit: Tensor, quality: Tensor, beta: float = 2.0) -> Tensor:
    """Cross-entropy of scores (…) against qualities 0…1, weighed by how far off they are, to the power `beta`."""
    off = (quality - logit.sigmoid()).abs()
    return F.binary_cross_entropy_with_logits(logit, quality, reduction="none") * off**beta


def distribution_focal_loss(sides: Tensor, distance: Tensor) -> Tensor:
    """(P,) mean over four sides: cross-entropy of logits (P, 4, bins) with the two bins that hold each distance (P, 4)
    between them, in strides. Distances beyond the last bin count as the last bin."""
    distance = distance.clamp(0, sides.shape[-1] - 1 - _INSIDE)
    below = distance.floor().long()
    part = distance - below
    log = sides.log_softmax(-1)
    low, high = (log.gather(-1, (below + step)[..., None])[..., 0] for step in (0, 1))
    return -(low * (1 - part) + high * part).mean(-1)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which person each cell answers for: index (N,), −1 for none; quality (N,) is the IoU with that person, else 0."""

    person: Tensor
    quality: Tensor


@torch.no_grad()  # type: ignore[untyped-decorator]
def assign(
    score: Tensor, boxes: Tensor, people: Tensor, grid: Grid, *, most: int = 10, power: float = 6.0
) -> Assignment:
    """Task-aligned assignment (Feng et al., TOOD, 2021) of cells with scores (N,) and boxes (N, 4) to people (P, 4).

    A person is answered for by the `most` cells within their box that have the greatest √score · IoU^`power`; a cell
    that several people would have goes to the one that its box overlaps best.
    """
    cells = len(score)
    if not len(people):
        return Assignment(score.new_full((cells,), -1, dtype=torch.long), torch.zeros_like(score))
    overlap = iou(boxes[None], people[:, None])
    inside = within(grid, people)
    alignment = score.sqrt() * overlap**power * inside
    chosen = torch.zeros_like(inside)
    chosen.scatter_(1, alignment.topk(min(most, cells), 1).indices, True)
    chosen &= alignment > _LEAST
    best, person = (overlap * chosen).max(0)
    taken = chosen.any(0)
    return Assignment(torch.where(taken, person, -1), torch.where(taken, best, 0.0))


def _inner_and_union(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    span = torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])
    inner = span.clamp_min(0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp_min(0).prod(-1) for box in (one, other)]
    return inner, (areas[0] + areas[1] - inner).clamp_min(1e-7)
