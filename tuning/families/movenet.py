"""The MoveNet family (Votel, Li 2021): single-person pose models that came as ONNX, tuned as that graph."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from calibration.progress import Progress
from runtime.model_info import ModelInfo
from runtime.skeleton import KEYPOINTS
from tuning.coco_folder import Picture
from tuning.families.family import ImportWish, TuneSettings
from tuning.families.graph_family import Finished, GraphFamily, Trained, described
from tuning.store.foreign import ForeignModel

# Measured: the usual 1.25 loses .01–.02 of OKS on photographs and on lying people, none at all loses lying people.
MOVENET_PADDING = 1.12
_STRIDE = 4
_HELD_OUT = 0.1  # of the pictures, for the confidence of joints
_HEADS = (len(KEYPOINTS), 2 * len(KEYPOINTS), 1, 2 * len(KEYPOINTS))


class Movenet(GraphFamily):
    """MoveNet's four heads: heat map, regression, centre, offset."""

    name: ClassVar[str] = "movenet"
    task: ClassVar[Literal["detect", "pose"]] = "pose"
    layouts: ClassVar[frozenset[str]] = frozenset({"movenet"})

    def fields(self, foreign: ForeignModel, wish: ImportWish) -> Mapping[str, Any] | None:
        inputs, outputs = foreign.shapes()
        if len(inputs) != 1 or len(inputs[0]) != 4 or len(outputs) != len(_HEADS):
            return None
        if tuple(shape[1] for shape in outputs if len(shape) == 4) != _HEADS:
            return None
        _, _, height, width = inputs[0]
        if not height or not width or width % _STRIDE or height % _STRIDE:
            return None
        # The published graphs scale RGB of 0…255 themselves.
        return {
            "layout": "movenet", "width": width, "height": height, "std": (1.0, 1.0, 1.0),
            "box_padding": MOVENET_PADDING,
        }  # fmt: skip

    def train(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, checkpoint: Path,
        progress: Progress | None,
    ) -> Trained:  # fmt: skip
        from tuning.families.movenet_training import MovenetRecipe, tune_movenet
        from tuning.families.paper_recipe import paper_recipe
        from tuning.families.person_crops import PoseAugmentation

        recipe, paper = MovenetRecipe(), None
        if settings.recipe == "paper":
            paper = paper_recipe(self.name, settings)
            plain = PoseAugmentation.only_flips(paper.flip)
            recipe = MovenetRecipe(
                epochs=paper.epochs, batch=paper.batch, learning_rate=paper.learning_rate, final_factor=1.0,
                warmup_steps=0, alpha=1.0, augmentation=plain,
            )  # fmt: skip
        learnt, _ = _split(pictures)
        outcome = tune_movenet(graph, info, learnt, settings, recipe, checkpoint, progress, paper=paper)
        return Trained(outcome, recipe, alpha=recipe.alpha)

    def finish(
        self, graph: Any, info: ModelInfo, pictures: list[Picture], settings: TuneSettings, progress: Progress | None
    ) -> Finished:
        """Fit the joints' confidence on the pictures that were not trained on."""
        from runtime.engines.engine import open_engine
        from runtime.pose import PoseEstimator
        from tuning.confidence import TooFewJoints, calibrate

        def told(done: int, total: int) -> None:
            if progress:
                progress(done, total, "confidence of joints")

        _, held_out = _split(pictures)
        raw = info.model_copy(update={"confidence": ()})
        with tempfile.TemporaryDirectory(prefix="wardpose-confidence-") as folder:
            draft = Path(folder) / "model.onnx"
            draft.write_bytes(described(graph.written(), raw).SerializeToString())
            engine = open_engine(draft, prefer="onnxruntime-cpu", threads=settings.threads)
            try:
                pairs, report = calibrate(PoseEstimator(engine), held_out, seed=settings.seed, progress=told)
            except TooFewJoints as few:  # a small set still tunes; what was known of the scores stands
                return Finished(made={"confidence": {"kept": few.what}})
        return Finished({"confidence": pairs}, {"confidence": report.model_dump()})


def _split(pictures: list[Picture]) -> tuple[list[Picture], list[Picture]]:
    """Those to train on and those to judge by. The last are held out, together: neighbours may show the same people in
    the same poses."""
    held_out = max(1, round(_HELD_OUT * len(pictures)))
    return pictures[:-held_out], pictures[-held_out:]
