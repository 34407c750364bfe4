"""The YOLO family: detectors and pose models that ultralytics builds, from v3 to 26."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture, read_people
from tuning.families.base_family import BaseSettings, BaseTraining
from tuning.families.detector_reading import person_class
from tuning.families.family import ImportWish, Reference, TuneSettings, input_size
from tuning.families.paper_recipe import paper_recipe
from tuning.families.yolo_names import KNOWN, is_yolo
from tuning.store.card import WEIGHTS_FILE, ModelCard, read_card
from tuning.store.foreign import ForeignModel
from tuning.store.save import made_by_tuning, save_model
from tuning.store.unfinished import unfinished
from tuning.store.weights import OWN_ENTRY, State, read_weights, write_safetensors

_SIZE = 416  # what two cores run live, where nobody chose another
_OPSET = 18
_FEWEST_STEPS = 20
_BATCH = 16
# One epoch at this rate, with the first ten layers and all batch-norm statistics as they are, brought the most on
# photographs: five times the rate gains no more on lying people and forgets what others look like.
_LEARNING_RATE = 2e-4
_FROZEN_LAYERS = 10
_NOMINAL_BATCH = 64
_AUGMENTATION = {"mosaic": 0.0, "degrees": 0.0, "scale": 0.3, "translate": 0.1}
_PAPER_AUGMENTATION = {
    "mosaic": 0.0, "degrees": 0.0, "scale": 0.0, "translate": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0,
}  # fmt: skip
# From random weights everything has still to be learnt, people upside down included.
_BASE_BATCH, _BASE_WARMUP_STEPS = 16, 100
_BASE_AUGMENTATION: dict[str, Any] = {
    "mosaic": 0.4, "degrees": 12.0, "scale": 0.4, "translate": 0.1, "fliplr": 0.5, "flipud": 0.1,
    "hsv_h": 0.02, "hsv_s": 0.6, "hsv_v": 0.45,
}  # fmt: skip


def _nominal_batch(batch: int, pictures: int, epochs: int) -> int:
    """The images of one optimiser step: fewer for a small data set, which would end after a handful of steps."""
    return max(batch, min(_NOMINAL_BATCH, pictures * epochs // _FEWEST_STEPS))


class Yolo:
    """YOLO detectors (v3 to 26) and YOLO pose models, built by ultralytics."""

    name = "ultralytics"

    def recognise(self, foreign: ForeignModel, wish: ImportWish, folder: Path) -> ModelCard | None:
        if foreign.state is None:
            return None
        from tuning.families.yolo_models import build_detector, build_pose, recognise

        where = str(foreign.path)
        architecture = wish.architecture or foreign.metadata.get(OWN_ENTRY)
        if architecture is not None and not is_yolo(architecture):
            return None
        found = recognise(foreign.state, architecture=architecture, layers=foreign.layers, where=where)
        pose = found.architecture.endswith("-pose")
        # COCO's seventeen joints of one unnamed class are a person's.
        unnamed = pose and found.classes == 1 and not foreign.names and wish.person_class is None
        person = 0 if unnamed else person_class(foreign, wish, found.classes)
        card = ModelCard(
            name=wish.name,
            task="pose" if pose else "detect",
            architecture=found.architecture,
            architecture_yaml=found.layers,
            layout="yolo-pose" if pose else "yolo",
            width=wish.width or _SIZE,
            height=wish.height or _SIZE,
            built_classes=found.classes,
            sha256="0" * 64,
        )
        if pose:
            built = build_pose(card, foreign.state, where=where)
        else:
            built = build_detector(card, foreign.state, person_class=person, where=where)
        write_safetensors(folder / WEIGHTS_FILE, built.state(), metadata={OWN_ENTRY: found.architecture})
        return card

    def architectures(self) -> tuple[str, ...]:
        return KNOWN

    def build(self, architecture: str, wish: ImportWish, folder: Path) -> ModelCard:
        """A model of random weights in `folder`."""
        from tuning.families.yolo_models import build_detector, build_pose

        pose = architecture.endswith("-pose")
        card = ModelCard(
            name=wish.name, task="pose" if pose else "detect", architecture=architecture,
            layout="yolo-pose" if pose else "yolo", width=wish.width or _SIZE, height=wish.height or _SIZE,
            sha256="0" * 64,
        )  # fmt: skip
        built = (build_pose if pose else build_detector)(card, None)
        write_safetensors(folder / WEIGHTS_FILE, built.state(), metadata={OWN_ENTRY: architecture})
        return card

    def knows(self, card: ModelCard) -> bool:
        return card.format == "safetensors" and is_yolo(card.architecture, card.architecture_yaml)

    def describe(self, card: ModelCard, width: int, height: int) -> ModelInfo:
        if width % 32 or height % 32:
            raise WardposeError(
                f"{card.name} cannot take {width}×{height}", mend="give multiples of 32, such as 640×384"
            )
        return ModelInfo(
            name=card.name, task=card.task, layout=card.layout, width=width, height=height, classes=card.classes,
            person_class=card.person_class, confidence=card.confidence,
        )  # fmt: skip

    def export(self, folder: Path, card: ModelCard, draft: Path, width: int, height: int) -> Reference | None:
        from tuning.families.yolo_models import build_detector, build_pose, inference_module
        from tuning.train.torch_state import forward, write_onnx

        build = build_detector if card.task == "detect" else build_pose
        model = inference_module(build(card, read_weights(folder, card), where=str(folder)))
        write_onnx(model, draft, width=width, height=height, opset=_OPSET, outputs=["output"], dynamic_batch=False)
        return partial(forward, model)

    def tune(
        self, folder: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard:
        from tuning.families.yolo_models import build_detector, build_pose
        from tuning.families.yolo_training import train_detector
        from tuning.train.loop_settings import LoopSettings
        from tuning.train.torch_state import interpolate

        card = read_card(folder)
        before = read_weights(folder, card)
        pictures = read_people(data_dir / "annotations.json", keypoints=card.task == "pose")
        width, height = input_size(card, settings, pictures)
        build = build_detector if card.task == "detect" else build_pose
        built = build(card, before, where=str(folder))
        epochs, batch = settings.epochs or 1, settings.batch or _BATCH
        kind = "yolov6" if card.architecture.startswith("yolov6") else self.name
        paper = paper_recipe(kind, settings) if settings.recipe == "paper" else None
        loop = (
            paper.loop(settings, freeze_statistics=True)
            if paper
            else LoopSettings(
                epochs=epochs,
                minutes=settings.minutes,
                batch=batch,
                nominal_batch=_nominal_batch(batch, len(pictures), epochs),
                learning_rate=settings.learning_rate or _LEARNING_RATE,
                freeze_statistics=True,
                seed=settings.seed,
                threads=settings.threads,
                device=settings.device,
            )
        )
        frozen = settings.frozen_layers
        if frozen is None:
            frozen = 0 if paper else _FROZEN_LAYERS
        asked = settings.asked() | {"size": [width, height]}
        augmentation = _PAPER_AUGMENTATION | {"fliplr": paper.flip} if paper else _AUGMENTATION
        with unfinished(out_dir, card, data_dir, asked) as checkpoint:
            # Its pictures are square: a shorter side is grey there, and cut off again by the export.
            outcome = train_detector(
                built, pictures, loop, size=max(width, height), augmentation=augmentation, frozen_layers=frozen,
                checkpoint=checkpoint, resume=True, progress=progress,
            )  # fmt: skip
            alpha = 1.0 if settings.alpha is None else settings.alpha
            state = interpolate(before, {k: v for k, v in built.state().items() if k in before}, alpha)
            made = made_by_tuning(self.name, data_dir, settings, outcome, paper) | {
                "augmentation": augmentation, "frozen_layers": frozen,
            }  # fmt: skip
            changes = {"parent": card.name, "made": made, "scores": {}, "width": width, "height": height}
            return save_model(out_dir, state, card.model_copy(update=changes), record=checkpoint.parent)

    def train_base(
        self, card: ModelCard, start: State | None, pictures: list[Picture], settings: BaseSettings, *,
        checkpoint: Path, resume: bool, progress: Progress | None,
    ) -> BaseTraining:  # fmt: skip
        from tuning.families.yolo_models import build_detector
        from tuning.families.yolo_training import train_detector
        from tuning.train.torch_state import seed_everything

        seed_everything(settings.seed)
        built = build_detector(card, start, where=card.name)
        batches = -(-len(pictures) // (settings.batch or _BASE_BATCH))
        loop = settings.loop(batch=_BASE_BATCH, warmup_steps=min(_BASE_WARMUP_STEPS, batches), weight_decay=5e-4)
        outcome = train_detector(
            built, pictures, loop, size=max(card.width, card.height), augmentation=_BASE_AUGMENTATION,
            checkpoint=checkpoint, resume=resume, progress=progress,
        )  # fmt: skip
        return BaseTraining(built.state(), loop, outcome, _BASE_AUGMENTATION)
