"""The YOLOX family (Ge et al. 2021): detectors that came as ONNX with raw grid offsets, tuned as that graph.

Losses and assignment are those YOLOX was made with; of the classes the person alone is taught.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from calibration.progress import Progress
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture
from tuning.families.detector_reading import detector_fields
from tuning.families.family import ImportWish, TuneSettings
from tuning.families.graph_detector import DetectorRecipe
from tuning.families.graph_family import GraphFamily, Trained
from tuning.store.foreign import ForeignModel

# YOLOX's own weights of its terms.
RECIPE = DetectorRecipe(score_weight=1.0, box_weight=5.0, sides_weight=0.0)


class Yolox(GraphFamily):
    """YOLOX detectors."""

    name: ClassVar[str] = "yolox"
    task: ClassVar[Literal["detect", "pose"]] = "detect"
    layouts: ClassVar[frozenset[str]] = frozenset({"yolox"})

    def fields(self, foreign: ForeignModel, wish: ImportWish) -> Mapping[str, Any] | None:
        return detector_fields(foreign, wish)

    def train(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, checkpoint: Path,
        progress: Progress | None,
    ) -> Trained:  # fmt: skip
        from tuning.families.graph_detector_training import train_detector_graph
        from tuning.families.yolox_training import yolox_loss

        recipe = RECIPE.told(settings, self.name)
        loss = partial(yolox_loss, info=info, recipe=recipe)
        return train_detector_graph(graph, info, pictures, settings, recipe, loss, checkpoint, progress)
