"""Small detectors with random weights as ONNX files, in the output forms that real exporters write."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from benchmarks.yolov6_graph import Yolov6Head, cells
from tuning.train.torch_state import write_onnx

STRIDES = (8, 16, 32)
BINS = 8


class _Trunk(nn.Module):
    """Three feature maps of `width` channels at strides 8, 16 and 32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        steps = [3, 8, 16, width, width, width]
        self.steps = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(steps))

    def forward(self, x: Any) -> list[Any]:
        maps = []
        for step in self.steps:
            x = nn.functional.silu(step(x))
            maps.append(x)
        return maps[2:]


class YoloxLike(nn.Module):
    """[B, N, 5 + classes]: raw offsets, or with `pixels` boxes decoded, as YOLOX's `decode_in_inference` does."""

    def __init__(self, classes: int = 3, *, pixels: bool = False) -> None:
        super().__init__()
        self.trunk, self.pixels = _Trunk(24), pixels
        self.box = nn.ModuleList(nn.Conv2d(24, 4, 1) for _ in STRIDES)
        self.there = nn.ModuleList(nn.Conv2d(24, 1, 1) for _ in STRIDES)
        self.kind = nn.ModuleList(nn.Conv2d(24, classes, 1) for _ in STRIDES)

    def forward(self, x: Any) -> Any:
        maps = self.trunk(x)
        levels = [
            torch.cat([box(m), there(m).sigmoid(), kind(m).sigmoid()], 1)
            for m, box, there, kind in zip(maps, self.box, self.there, self.kind, strict=True)
        ]
        answer = torch.cat([level.flatten(2) for level in levels], 2).permute(0, 2, 1)
        if not self.pixels:
            return answer
        grid, stride = cells(levels, STRIDES)
        centre = (answer[..., :2] + grid) * stride
        return torch.cat([centre, answer[..., 2:4].exp() * stride, answer[..., 4:]], -1)


class Yolov6Like(Yolov6Head):
    """[B, N, 5 + classes] as YOLOv6 exports it: boxes in pixels, objectness 1; `bins` makes them distributions."""

    def __init__(self, classes: int = 3, *, bins: int = 0) -> None:
        super().__init__(bins)
        self.trunk, self.strides = _Trunk(24), STRIDES
        self.box: Any = nn.ModuleList(nn.Conv2d(24, 4 * max(bins, 1), 1) for _ in STRIDES)
        self.kind = nn.ModuleList(nn.Conv2d(24, classes, 1) for _ in STRIDES)


class YoloLike(nn.Module):
    """[B, 4 + classes, N] as ultralytics exports YOLOv8: boxes decoded from distributions, class scores."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.trunk = _Trunk(24)
        self.box = nn.ModuleList(nn.Conv2d(24, 4 * BINS, 1) for _ in STRIDES)
        self.kind = nn.ModuleList(nn.Conv2d(24, classes, 1) for _ in STRIDES)
        self.mean = nn.Conv2d(BINS, 1, 1, bias=False)
        self.mean.weight.data = torch.arange(BINS, dtype=torch.float32).reshape(1, -1, 1, 1)

    def forward(self, x: Any) -> Any:
        maps = self.trunk(x)
        sides = torch.cat([box(m).flatten(2) for m, box in zip(maps, self.box, strict=True)], 2)
        scores = torch.cat([kind(m).flatten(2) for m, kind in zip(maps, self.kind, strict=True)], 2)
        spread = sides.view(sides.shape[0], 4, BINS, sides.shape[2]).transpose(2, 1).softmax(1)
        distance = self.mean(spread).view(sides.shape[0], 4, sides.shape[2])
        grid, stride = cells(maps, STRIDES)
        anchor = (grid + 0.5).T[None]
        first, last = anchor - distance[:, :2], anchor + distance[:, 2:]
        boxes = torch.cat([(first + last) / 2, last - first], 1) * stride.T
        return torch.cat([boxes, scores.sigmoid()], 1)


def draw_graph(
    path: Path, module: nn.Module, *, width: int = 96, height: int = 64, seed: int = 0, dynamic_batch: bool = False
) -> Path:
    """Export the module with weights drawn from `seed`; all its scores start small, as a trained detector's do."""
    torch.manual_seed(seed)
    for name, parameter in module.named_parameters():
        if not name.startswith("mean."):
            nn.init.normal_(parameter, std=0.05 if parameter.ndim == 1 else (2 / parameter[0].numel()) ** 0.5)
        if name.startswith(("there.", "kind.")) and parameter.ndim == 1:
            nn.init.constant_(parameter, -3.0)
        if name == "trunk.steps.0.weight" and isinstance(module, YoloxLike):  # it is given 0…255
            parameter.data /= 255
    write_onnx(module, path, width=width, height=height, opset=17, outputs=["output"], dynamic_batch=dynamic_batch)
    return named(path, ["person", *(f"thing {k}" for k in range(1, classes_of(module)))])


def classes_of(module: nn.Module) -> int:
    """How many classes the drawn detector scores."""
    last = module.kind[0]  # type: ignore[index]
    return int((last[-1] if isinstance(last, nn.Sequential) else last).out_channels)  # type: ignore[union-attr]


def named(path: Path, names: list[str], **entries: str) -> Path:
    """Write the classes' names into the file, as ultralytics does, and further entries of its metadata."""
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {"names": str(dict(enumerate(names))), **entries})
    onnx.save(model, str(path))
    return path
