"""The YOLOX family (Ge et al. 2021): detectors that came as ONNX with raw grid offsets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from tuning.families.graph_family import GraphFamily
from tuning.store.foreign import ForeignModel

_STRIDES = (8, 16, 32)


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
        if not height or not width or numbers <= 5 or cells != sum((height // s) * (width // s) for s in _STRIDES):
            return None
        # Its convention is 0…255 BGR with the picture at the top left.
        return {
            "layout": "yolox", "width": width, "height": height, "classes": numbers - 5,
            "std": (1.0, 1.0, 1.0), "channels": "bgr", "letterbox": "top-left",
        }  # fmt: skip
