"""What tells one pose model with heat maps from another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from runtime.model_info import PoseLayout


class Vit(NamedTuple):
    """A vision transformer: channels, layers, heads, and the chance that a layer is left out in training."""

    channels: int
    layers: int
    heads: int
    drop_path: float


HRNETS: Mapping[str, int] = {"hrnet-w32": 32, "hrnet-w48": 48}  # channels of the finest branch
# ViTPose's own (Xu et al. 2022).
VITS: Mapping[str, Vit] = {
    "vitpose-s": Vit(384, 12, 12, 0.1),
    "vitpose-b": Vit(768, 12, 12, 0.3),
    "vitpose-l": Vit(1024, 24, 16, 0.5),
    "vitpose-h": Vit(1280, 32, 16, 0.55),
}
# In single precision it passes the two gigabytes that an ONNX file may have.
HALVES = frozenset({"vitpose-h"})
LAYOUTS: Mapping[str, PoseLayout] = {
    **{f"{name}-udp": "heatmap-udp" for name in HRNETS},
    **{f"{name}-dark": "heatmap-dark" for name in HRNETS},
    **dict.fromkeys(VITS, "heatmap-udp"),
}
