"""YOLO detectors that came as ONNX: ultralytics' heads (v5u, v8, 11) and those with suppression inside.

The former are tuned as the graph they are: boxes that the graph itself decodes from distributions over whole strides,
and class scores, of which the person's alone is taught. The latter choose their boxes inside, where no gradient passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

from torch import Tensor

from calibration.errors import WardposeError
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture
from tuning.families.family import Progress, TuneSettings
from tuning.families.graph_detector import (
    DecodedHead,
    DetectorRecipe,
    HeadWeights,
    corners,
    decoded_loss,
    grid_of,
    logits_of,
    train_detector_graph,
)
from tuning.families.graph_family import GraphFamily, Trained
from tuning.families.onnx_graph import OnnxGraph
from tuning.store.foreign import ForeignModel

_STRIDES = (8, 16, 32)
RECIPE = DetectorRecipe(learning_rate=1e-3, frozen_share=0.5)
WEIGHTS = HeadWeights()


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

    def train(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, progress: Progress | None
    ) -> Trained:
        if info.layout == "yolo-end2end":
            raise WardposeError(
                "it chooses its boxes inside, where no gradient passes", where=info.name,
                mend="it can be run but not tuned: export it without suppression",
            )  # fmt: skip
        distribution = box_distribution(graph)
        graph.watched = (distribution[0],) if distribution else ()
        loss = partial(yolo_loss, info=info, distribution=distribution)
        return Trained(train_detector_graph(graph, info, pictures, settings, RECIPE, loss, progress), RECIPE)


def yolo_loss(
    graph: OnnxGraph, batch: dict[str, Any], *, info: ModelInfo, distribution: tuple[str, int] | None
) -> dict[str, Any]:
    """The terms of one batch of `DetectionSamples`."""
    outputs = graph(batch["images"])
    answer, raw = outputs[graph.outputs[0]], logits_of(graph, outputs)
    boxes, logits = corners(answer[:, :4].transpose(1, 2)), raw[:, 4 + info.person_class]
    sides = distributions(outputs[distribution[0]], distribution[1]) if distribution else None
    grid = grid_of(info, answer.shape[2], str(answer.device))
    return decoded_loss(DecodedHead(boxes, logits, sides), batch, grid, WEIGHTS)


def box_distribution(graph: OnnxGraph) -> tuple[str, int] | None:
    """Name and bins' axis of the logits of the distributions that the graph decodes its boxes from; None without any.

    They go through a softmax into a convolution whose weights are 0, 1, 2, … (its mean).
    """
    for node in graph.producers.values():
        if node.op != "Conv" or node.inputs[1] not in graph.expectations:
            continue
        before = graph.producers.get(node.inputs[0])
        while before is not None and before.op in ("Transpose", "Reshape", "Identity"):
            before = graph.producers.get(before.inputs[0])
        if before is not None and before.op == "Softmax" and len(graph.shapes[before.inputs[0]]) == 4:
            return before.inputs[0], before.attributes.get("axis", -1) % 4
    return None


def distributions(logits: Tensor, axis: int) -> Tensor:
    """(B, N, 4, bins) of a tensor that holds batch, four sides, cells and, on `axis`, bins in any order."""
    moved = logits.movedim(axis, -1)
    return moved.transpose(1, 2) if moved.shape[1] == 4 else moved
