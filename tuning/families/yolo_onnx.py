"""YOLO detectors that came as ONNX: ultralytics' heads (v5u, v8, 11) and those with suppression inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from tuning.families.graph_family import GraphFamily
from tuning.store.foreign import ForeignModel

_STRIDES = (8, 16, 32)


class YoloOnnx(GraphFamily):
    """YOLO detectors as ONNX graphs."""

    name: ClassVar[str] = "yolo-onnx"
    task: ClassVar[Literal["detect", "pose"]] = "detect"
    layouts: ClassVar[frozenset[str]] = frozenset({"yolo", "yolo-end2end"})

    def fields(self, foreign: ForeignModel) -> Mapping[str, Any] | None:
        inputs, outputs = foreign.shapes()
        if len(inputs) != 1 or len(inputs[0]) != 4 or not outputs or len(outputs[0]) != 3:
            return None
        height, width = inputs[0][2:]
        rows, columns = outputs[0][1:]
        size = {"width": width, "height": height}
        if columns == 6 and 0 < rows <= 1000:
            return {"layout": "yolo-end2end", "classes": 80, **size}
        if columns and rows > 4 and columns == sum((height // s) * (width // s) for s in _STRIDES):
            return {"layout": "yolo", "classes": rows - 4, **size}
        return None
