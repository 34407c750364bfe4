"""YOLOv6-L and -L6 as their authors export them, of random weights: every layer in place, widths and depths scaled.

From the description in the paper (Li et al. 2023, YOLOv6 v3.0): CSP blocks of pairs of 3×3 convolutions with SiLU, as
they stand after re-parametrisation; a path-aggregation neck with transposed convolutions; a decoupled head whose sides
are distributions over 17 bins.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from tuning.train.torch_state import write_onnx

BINS = 17


def cells(maps: list[Any], of: tuple[int, ...]) -> tuple[Any, Any]:
    """Columns and rows (N, 2), and strides (N, 1)."""
    grids, strides = [], []
    for m, stride in zip(maps, of, strict=True):
        rows, columns = torch.meshgrid(torch.arange(m.shape[2]), torch.arange(m.shape[3]), indexing="ij")
        grids.append(torch.stack([columns, rows], -1).reshape(-1, 2).float())
        strides.append(torch.full((grids[-1].shape[0], 1), float(stride)))
    return torch.cat(grids), torch.cat(strides)


class Yolov6Head(nn.Module):  # type: ignore[misc]
    """[B, N, 5 + classes] as YOLOv6 exports it: boxes in pixels, objectness 1; `bins` makes their sides distributions.

    A kind of it has `trunk` (a map for each of `strides`), `box` and `kind`, the last convolutions of each map.
    """

    trunk: nn.Module
    strides: tuple[int, ...]
    box: nn.ModuleList
    kind: nn.ModuleList

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.mean = nn.Conv2d(max(bins, 1), 1, 1, bias=False)
        self.mean.weight.data = torch.arange(max(bins, 1), dtype=torch.float32).reshape(1, -1, 1, 1)

    def forward(self, x: Any) -> Any:
        maps = self.trunk(x)
        sides = []
        for m, box in zip(maps, self.box, strict=True):
            side = box(m)
            if self.bins:
                side = side.reshape(-1, 4, self.bins, side.shape[2] * side.shape[3]).permute(0, 2, 1, 3)
                side = self.mean(side.softmax(1)).reshape(-1, 4, m.shape[2] * m.shape[3])
            else:
                side = side.flatten(2).relu() + 1
            sides.append(side)
        scores = torch.cat([kind(m).sigmoid().flatten(2) for m, kind in zip(maps, self.kind, strict=True)], 2)
        distance = torch.cat(sides, 2).permute(0, 2, 1)
        grid, stride = cells(maps, self.strides)
        first, last = grid + 0.5 - distance[..., :2], grid + 0.5 + distance[..., 2:]
        boxes = torch.cat([(first + last) / 2, last - first], -1) * stride
        return torch.cat([boxes, torch.ones_like(boxes[..., :1]), scores.permute(0, 2, 1)], -1)


def conv(given: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(given, out, kernel, stride, kernel // 2), nn.SiLU())


class Pair(nn.Module):  # type: ignore[misc]
    """Two 3×3 convolutions beside a weighted shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = conv(width, width), conv(width, width)
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x)) + self.weight * x


class Csp(nn.Module):  # type: ignore[misc]
    """Half of the channels go through the pairs, half pass by."""

    def __init__(self, given: int, out: int, repeats: int) -> None:
        super().__init__()
        self.through, self.by = conv(given, out // 2, 1), conv(given, out // 2, 1)
        self.pairs = nn.Sequential(*(Pair(out // 2) for _ in range(max(1, repeats // 2))))
        self.last = conv(out, out, 1)

    def forward(self, x: Any) -> Any:
        return self.last(torch.cat([self.pairs(self.through(x)), self.by(x)], 1))


class Pooled(nn.Module):  # type: ignore[misc]
    """Spatial pyramid pooling, the fast form."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = conv(width, width // 2, 1), conv(2 * width, width, 1)

    def forward(self, x: Any) -> Any:
        maps = [self.first(x)]
        for _ in range(3):
            maps.append(nn.functional.max_pool2d(maps[-1], 5, 1, 2))
        return self.last(torch.cat(maps, 1))


class Trunk(nn.Module):  # type: ignore[misc]
    """Backbone and neck: one map for each of the last stages, the finest first, of `widths` channels.

    reduced: channels of the neck's way down, the coarsest first; it is one shorter than the maps are many.
    """

    def __init__(self, stages: list[int], repeats: list[int], reduced: list[int], neck_repeats: int) -> None:
        super().__init__()
        self.stem = conv(3, stages[0], stride=2)
        steps = zip(pairwise(stages), repeats, strict=True)
        self.stages = nn.ModuleList(nn.Sequential(conv(a, b, stride=2), Csp(b, b, n)) for (a, b), n in steps)
        self.pooled = Pooled(stages[-1])
        skips = stages[-2 : -2 - len(reduced) : -1]  # the coarsest first, without the last
        self.reduce = nn.ModuleList(conv(a, b, 1) for a, b in pairwise([stages[-1], *reduced]))
        self.higher = nn.ModuleList(nn.ConvTranspose2d(width, width, 2, 2) for width in reduced)
        self.merge = nn.ModuleList(
            Csp(skip + width, width, neck_repeats) for skip, width in zip(skips, reduced, strict=True)
        )
        up = reduced[::-1]
        self.widths = [up[0], *(2 * width for width in up)]
        self.lower = nn.ModuleList(conv(width, width, stride=2) for width in self.widths[:-1])
        self.gather = nn.ModuleList(
            Csp(width + beside, 2 * beside, neck_repeats) for width, beside in zip(self.widths, up, strict=False)
        )

    def forward(self, x: Any) -> list[Any]:
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        x, beside = self.pooled(x), []
        skips = maps[-2 : -2 - len(self.reduce) : -1]
        for reduce, higher, merge, skip in zip(self.reduce, self.higher, self.merge, skips, strict=True):
            beside.append(reduce(x))
            x = merge(torch.cat([higher(beside[-1]), skip], 1))
        answer = [x]
        for lower, gather, part in zip(self.lower, self.gather, reversed(beside), strict=True):
            answer.append(gather(torch.cat([lower(answer[-1]), part], 1)))
        return answer


class YoloV6(Yolov6Head):
    """`stages` six: P6, with a fourth map at stride 64. width, depth: 1 for L and L6 as published."""

    def __init__(self, classes: int = 80, *, p6: bool = False, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__(BINS)
        stages = [64, 128, 256, 512, *([768, 1024] if p6 else [1024])]
        scaled = [max(8, round(channels * width / 8) * 8) for channels in stages]
        repeats = [max(1, round(count * depth)) for count in (6, 12, 18, 6, 6)[: len(stages) - 1]]
        reduced = [max(8, round(channels * width / 8) * 8) for channels in ((512, 256, 128) if p6 else (256, 128))]
        self.strides = (8, 16, 32, 64) if p6 else (8, 16, 32)
        self.trunk = Trunk(scaled, repeats, reduced, max(1, round(12 * depth)))
        widths = self.trunk.widths
        self.box = nn.ModuleList(nn.Sequential(conv(w, w, 1), conv(w, w), nn.Conv2d(w, 4 * BINS, 1)) for w in widths)
        self.kind = nn.ModuleList(nn.Sequential(conv(w, w, 1), conv(w, w), nn.Conv2d(w, classes, 1)) for w in widths)


def draw(path: Path, module: Yolov6Head, width: int, height: int, seed: int = 0) -> Path:
    """Write the module as the ONNX file `path` with weights drawn from `seed` and its classes named."""
    torch.manual_seed(seed)
    for name, parameter in module.named_parameters():
        if not name.startswith("mean."):
            nn.init.normal_(parameter, std=0.05 if parameter.ndim == 1 else (2 / parameter[0].numel()) ** 0.5)
    write_onnx(module, path, width=width, height=height, opset=17, outputs=["output"], dynamic_batch=False)
    model = onnx.load(str(path))
    classes = module.kind[0][-1].out_channels
    names = {0: "person", **{number: f"thing {number}" for number in range(1, classes)}}
    onnx.helper.set_model_props(model, {"names": str(names)})
    onnx.save(model, str(path))
    return path
