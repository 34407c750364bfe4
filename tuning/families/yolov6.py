"""The YOLOv6 family (Li et al. 2022): detectors that came as ONNX with boxes in pixels, objectness and class scores.

YOLOv6 itself has no objectness and writes 1; a YOLOX that was exported with its boxes decoded has one. Each is tuned
as the graph it is, with the losses of its kind.
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
from tuning.families.graph_detector import STRIDE_SETS, DetectorRecipe
from tuning.families.graph_family import GraphFamily, Trained
from tuning.store.foreign import ForeignModel

# YOLOv6's own weights of its terms.
RECIPE = DetectorRecipe(score_weight=1.0, box_weight=2.5, sides_weight=0.5)


class Yolov6(GraphFamily):
    """YOLOv6 detectors, and YOLOX ones whose boxes are decoded in the graph."""

    name: ClassVar[str] = "yolov6"
    task: ClassVar[Literal["detect", "pose"]] = "detect"
    layouts: ClassVar[frozenset[str]] = frozenset({"yolov6"})

    def fields(self, foreign: ForeignModel, wish: ImportWish) -> Mapping[str, Any] | None:
        return detector_fields(foreign, wish)

    def train(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, checkpoint: Path,
        progress: Progress | None,
    ) -> Trained:  # fmt: skip
        from tuning.families.graph_detector_training import box_distributions, train_detector_graph
        from tuning.families.yolox_training import yolov6_loss

        cells = graph.shapes[graph.outputs[0]][1]
        if cells not in {sum((info.height // n) * (info.width // n) for n in strides) for strides in STRIDE_SETS}:
            raise WardposeError(
                f"its {cells} boxes are several for each cell, as YOLOv5 and YOLOv7 have them", where=info.name,
                mend="it can be run but not tuned: tune nanodet, or a detector of one box a cell",
            )  # fmt: skip
        recipe = RECIPE.told(settings, self.name)
        distributions = box_distributions(graph)
        graph.watched = tuple(name for name, _ in distributions)
        loss = partial(yolov6_loss, info=info, recipe=recipe, distributions=distributions)
        return train_detector_graph(graph, info, pictures, settings, recipe, loss, checkpoint, progress)
