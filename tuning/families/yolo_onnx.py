"""YOLO detectors that came as ONNX: ultralytics' heads (v5u, v8, 11), those with suppression inside, and RT-DETR.

The first are tuned as the graph they are: boxes that the graph itself decodes from distributions over whole strides,
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
from tuning.families.detector_reading import detector_fields
from tuning.families.family import ImportWish, TuneSettings
from tuning.families.graph_detector import DetectorRecipe
from tuning.families.graph_family import GraphFamily, Trained
from tuning.store.foreign import ForeignModel

# YOLOv8's own weights of its terms.
RECIPE = DetectorRecipe(score_weight=0.5, box_weight=7.5, sides_weight=1.5)


class YoloOnnx(GraphFamily):
    """YOLO detectors as ONNX graphs."""

    name: ClassVar[str] = "yolo-onnx"
    task: ClassVar[Literal["detect", "pose"]] = "detect"
    layouts: ClassVar[frozenset[str]] = frozenset({"yolo", "yolo-end2end", "detr"})

    def fields(self, foreign: ForeignModel, wish: ImportWish) -> Mapping[str, Any] | None:
        return detector_fields(foreign, wish)

    def train(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, checkpoint: Path,
        progress: Progress | None,
    ) -> Trained:  # fmt: skip
        if info.layout != "yolo":
            raise WardposeError(
                "it chooses its boxes inside, where no gradient passes", where=info.name,
                mend="it can be run but not tuned: export it without suppression",
            )  # fmt: skip
        from tuning.families.graph_detector_training import box_distributions, train_detector_graph, yolo_loss

        recipe = RECIPE.told(settings, "ultralytics")
        distributions = box_distributions(graph)
        graph.watched = tuple(name for name, _ in distributions)
        loss = partial(yolo_loss, info=info, recipe=recipe, distributions=distributions)
        return train_detector_graph(graph, info, pictures, settings, recipe, loss, checkpoint, progress)
