"""Greedy non-maximum suppression with the signature of torchvision's operator."""

import torch


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Indices (K,) of the kept boxes, best score first; `boxes` (N, 4) as x1 y1 x2 y2, `scores` (N,)."""
    remaining = torch.argsort(scores, descending=True, stable=True)
    corners = boxes.to(torch.float32)
    areas = (corners[:, 2] - corners[:, 0]).clamp(min=0) * (corners[:, 3] - corners[:, 1]).clamp(min=0)
    kept = []
    while len(remaining):
        best, others = remaining[0], remaining[1:]
        kept.append(best)
        top_left = torch.maximum(corners[best, :2], corners[others, :2])
        bottom_right = torch.minimum(corners[best, 2:], corners[others, 2:])
        overlap = (bottom_right - top_left).clamp(min=0).prod(dim=1)
        union = areas[best] + areas[others] - overlap
        remaining = others[overlap <= iou_threshold * union]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.int64)
