"""The YOLOv6 family (Li et al. 2022): detectors that came as ONNX with boxes in pixels, objectness and class scores.

YOLOv6 itself has no objectness and writes 1; a YOLOX that was exported with its boxes decoded has one. Each is tuned
as the graph it is, with the losses of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch

from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture
from tuning.families.family import Progress, TuneSettings
from tuning.families.graph_detector import (
    DecodedHead,
    DetectorRecipe,
    HeadWeights,
    corners,
    decoded_loss,
    grid_answer,
    grid_of,
    logits_of,
    train_detector_graph,
)
from tuning.families.graph_family import GraphFamily, Trained
from tuning.families.onnx_graph import OnnxGraph
from tuning.families.yolo_onnx import box_distribution, distributions
from tuning.families.yolox import objectness_loss
from tuning.store.foreign import ForeignModel

RECIPE = DetectorRecipe(learning_rate=1e-3, frozen_share=0.5)
# YOLOv6's own: scores count fully, boxes 2.5 times, distributions half.
WEIGHTS = HeadWeights(score=1.0, box=2.5, sides=0.5)


class Yolov6(GraphFamily):
    """YOLOv6 detectors, and YOLOX ones whose boxes are decoded in the graph."""

    name: ClassVar[str] = "yolov6"
    task: ClassVar[Literal["detect", "pose"]] = "detect"
    layouts: ClassVar[frozenset[str]] = frozenset({"yolov6"})

    def fields(self, foreign: ForeignModel) -> Mapping[str, Any] | None:
        kind = grid_answer(foreign)
        if kind not in ("sure", "pixels"):
            return None
        (height, width), numbers = foreign.shapes()[0][0][2:], foreign.shapes()[1][0][2]
        size = {"layout": "yolov6", "width": width, "height": height, "classes": numbers - 5}
        if kind == "pixels":  # YOLOX's convention of the input
            return {**size, "std": (1.0, 1.0, 1.0), "channels": "bgr", "letterbox": "top-left"}
        return size

    def train(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, progress: Progress | None
    ) -> Trained:
        distribution = box_distribution(graph)
        graph.watched = (distribution[0],) if distribution else ()
        loss = partial(yolov6_loss, info=info, distribution=distribution)
        return Trained(train_detector_graph(graph, info, pictures, settings, RECIPE, loss, progress), RECIPE)


def yolov6_loss(
    graph: OnnxGraph, batch: dict[str, Any], *, info: ModelInfo, distribution: tuple[str, int] | None
) -> dict[str, Any]:
    """The terms of one batch of `DetectionSamples`."""
    outputs = graph(batch["images"])
    answer, raw = outputs[graph.outputs[0]], logits_of(graph, outputs)
    boxes, logits = corners(answer[..., :4]), raw[..., 5 + info.person_class]
    grid = grid_of(info, answer.shape[1], str(answer.device))
    if not torch.equal(answer[..., 4], torch.ones_like(answer[..., 4])):
        return objectness_loss(boxes, raw[..., 4], logits, batch, grid)
    sides = distributions(outputs[distribution[0]], distribution[1]) if distribution else None
    return decoded_loss(DecodedHead(boxes, logits, sides), batch, grid, WEIGHTS)
