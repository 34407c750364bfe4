"""YOLO detectors that came as ONNX: ultralytics' heads (v5u, v8, 11) and those with suppression inside.

The former are tuned as the graph they are: boxes that the graph itself decodes from distributions over whole strides,
and class scores, of which the person's alone is taught. The latter choose their boxes inside, where no gradient passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture
from tuning.families.family import TuneSettings
from tuning.families.graph_detector import STRIDES, DetectorRecipe
from tuning.families.graph_family import GraphFamily, Trained
from tuning.store.foreign import ForeignModel

# YOLOv8's own weights of its terms.
RECIPE = DetectorRecipe(score_weight=0.5, box_weight=7.5, sides_weight=1.5)


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
        if columns and rows > 4 and columns == sum((height // s) * (width // s) for s in STRIDES):
            return {"layout": "yolo", "classes": rows - 4, **size}
        return None

    def train(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, checkpoint: Path,
        progress: Progress | None,
    ) -> Trained:  # fmt: skip
        if info.layout == "yolo-end2end":
            raise WardposeError(
                "it chooses its boxes inside, where no gradient passes", where=info.name,
                mend="it can be run but not tuned: export it without suppression",
            )  # fmt: skip
        from tuning.families.graph_detector_training import box_distributions, train_detector_graph, yolo_loss

        recipe = RECIPE.told(settings)
        distributions = box_distributions(graph)
        graph.watched = tuple(name for name, _ in distributions)
        loss = partial(yolo_loss, info=info, recipe=recipe, distributions=distributions)
        return train_detector_graph(graph, info, pictures, settings, recipe, loss, checkpoint, progress)
