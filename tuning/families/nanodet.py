"""The NanoDet family (Lyu 2020): small detectors of three grids, tuned as the ONNX graphs they came as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture
from tuning.families.detector_reading import person_class, require_detector
from tuning.families.family import ImportWish, TuneSettings
from tuning.families.graph_detector import STRIDES, DetectorRecipe
from tuning.families.graph_family import GraphFamily, Trained
from tuning.store.foreign import ForeignModel

# Each number was chosen on real photographs. With its first twenty convolutions of 34 left alone nothing of what it
# learnt from photographs is lost, at a rate that would otherwise make it forget.
RECIPE = DetectorRecipe(
    optimizer="sgd", learning_rate=3e-3, frozen_share=20 / 34, score_weight=1.0, box_weight=2.0, sides_weight=0.25
)
# From .4 on nine of ten people who fell are found on photographs, from .5 on fewer, and more covered patients are
# missed; but things are taken for people up to .65. So where there is a pose model, it is asked about whoever scores
# between the other two (`runtime.belief`), and finds patients whom .4 would miss. Asking from .3 on finds a few more,
# for twice as many boxes to be looked at; asking up to .7 takes covered patients away.
THRESHOLD, DOUBTFUL, CERTAIN = 0.4, 0.35, 0.65


class Nanodet(GraphFamily):
    """NanoDet detectors with three grids and a distribution for each side."""

    name: ClassVar[str] = "nanodet"
    task: ClassVar[Literal["detect", "pose"]] = "detect"
    layouts: ClassVar[frozenset[str]] = frozenset({"nanodet"})

    def fields(self, foreign: ForeignModel, wish: ImportWish) -> Mapping[str, Any] | None:
        inputs, outputs = foreign.shapes()
        if len(inputs) != 1 or len(inputs[0]) != 4 or len(outputs) != 2 * len(STRIDES):
            return None
        height, width = inputs[0][2:]
        cells = [(width // stride) * (height // stride) for stride in STRIDES]
        shapes = [shape[1:] for shape in outputs]
        classes, sides = shapes[0][0], shapes[-1][0]
        expected = [[rows, count] for rows in (classes, sides) for count in cells]
        if shapes != expected or not all(cells) or sides % 4 or sides < 8:
            return None
        require_detector(foreign)
        person = person_class(foreign, wish, classes)
        if not all(((answer >= 0) & (answer <= 1)).all() for answer in foreign.answer()[: len(STRIDES)]):
            raise WardposeError(
                "what it answers for its classes are no scores of 0…1", where=str(foreign.path),
                mend="export it with its sigmoid",
            )  # fmt: skip
        # Trained on COCO by OpenCV's reading: blue first, mean and deviation of ImageNet.
        return {
            "layout": "nanodet", "width": width, "height": height, "classes": classes, "person_class": person,
            "channels": "bgr",            "mean": (103.53, 116.28, 123.675), "std": (57.375, 57.12, 58.395),
        }  # fmt: skip

    def train(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, checkpoint: Path,
        progress: Progress | None,
    ) -> Trained:  # fmt: skip
        from tuning.families.graph_detector_training import train_detector_graph
        from tuning.families.nanodet_training import nanodet_loss

        recipe = RECIPE.told(settings, self.name)
        loss = partial(nanodet_loss, info=info, recipe=recipe)
        trained = train_detector_graph(graph, info, pictures, settings, recipe, loss, checkpoint, progress)
        return replace(trained, info={"threshold": THRESHOLD, "doubtful": DOUBTFUL, "certain": CERTAIN})
