"""Detection transformers by `transformers`: RT-DETRv2, D-FINE, Deformable DETR and RF-DETR, from a folder on this box.

A folder is what their users pass around: `config.json` and `model.safetensors`. Nothing is fetched, nothing executed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from calibration.errors import WardposeError
from calibration.progress import Progress
from runtime.model_info import ModelInfo
from tuning.coco_folder import read_people
from tuning.families.detection_samples import DetectionAugmentation
from tuning.families.detector_reading import person_class
from tuning.families.family import ImportWish, Reference, TuneSettings, input_size
from tuning.families.paper_recipe import paper_recipe
from tuning.store.card import WEIGHTS_FILE, ModelCard, read_card
from tuning.store.foreign import ForeignModel
from tuning.store.save import made_by_tuning, save_model
from tuning.store.unfinished import unfinished
from tuning.store.weights import OWN_ENTRY, read_weights, write_safetensors
from tuning.train.loop_settings import LoopSettings

KINDS = ("rt_detr_v2", "d_fine", "deformable_detr", "rf_detr")
_SIZE = 640
_OPSET = 18
_BATCH = 16
_LEARNING_RATE = 2.5e-5
_PERSON_IN_COCO = 0
# Mean and standard deviation, of 0…255, that each kind was made with.
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_PLAIN = ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
_INPUTS = {"rt_detr_v2": _PLAIN, "d_fine": _PLAIN, "deformable_detr": _IMAGENET, "rf_detr": _IMAGENET}
THRESHOLD = 0.4


class Detr:
    """Detection transformers, built by transformers."""

    name = "transformers"

    def recognise(self, foreign: ForeignModel, wish: ImportWish, folder: Path) -> ModelCard | None:
        if foreign.config is None:
            return None
        from tuning.families.detr_training import import_detr
        from tuning.families.transformers_adapter import told

        description = told(foreign.config, str(foreign.path))
        module = import_detr(foreign.path, description)
        return self._written(module, description, person_class(foreign, wish, module.classes), wish, folder)

    def architectures(self) -> tuple[str, ...]:
        return KINDS

    def build(self, architecture: str, wish: ImportWish, folder: Path) -> ModelCard:
        """A model of random weights in `folder`, of the published architecture and COCO's classes."""
        from tuning.families.detr_training import build_detr
        from tuning.families.transformers_adapter import default_description

        description = default_description(architecture)
        return self._written(build_detr(description, None), description, _PERSON_IN_COCO, wish, folder)

    def _written(
        self, module: Any, description: dict[str, Any], person: int, wish: ImportWish, folder: Path
    ) -> ModelCard:
        from tuning.train.torch_state import state_of

        kind = str(description["model_type"])
        width, height = _stepped(wish.width or _SIZE, module.step), _stepped(wish.height or _SIZE, module.step)
        write_safetensors(folder / WEIGHTS_FILE, state_of(module), metadata={OWN_ENTRY: kind})
        return ModelCard(
            name=wish.name, task="detect", architecture=kind, architecture_yaml=description, layout="detr",
            width=width, height=height, classes=module.classes, built_classes=module.classes, person_class=person,
            sha256="0" * 64,
        )  # fmt: skip

    def knows(self, card: ModelCard) -> bool:
        return card.format == "safetensors" and card.layout == "detr" and card.architecture in KINDS

    def describe(self, card: ModelCard, width: int, height: int) -> ModelInfo:
        if width % 32 or height % 32:
            raise WardposeError(
                f"{card.name} cannot take {width}×{height}", mend="give multiples of 32, such as 640×384"
            )
        mean, std = _INPUTS[card.architecture]
        return ModelInfo(
            name=card.name, task="detect", layout="detr", width=width, height=height, classes=card.classes,
            person_class=card.person_class, threshold=THRESHOLD, mean=mean, std=std,
        )  # fmt: skip

    def export(self, folder: Path, card: ModelCard, draft: Path, width: int, height: int) -> Reference | None:
        from tuning.families.detr_training import build_detr, write_detr
        from tuning.train.torch_state import forward

        module = build_detr(card.architecture_yaml, read_weights(folder, card), where=str(folder))
        write_detr(module, draft, width=width, height=height, opset=_OPSET)
        return partial(forward, module)

    def tune(
        self, folder: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard:
        from tuning.families.detr_training import build_detr, train_detr
        from tuning.train.torch_state import interpolate, state_of

        card = read_card(folder)
        before = read_weights(folder, card)
        module = build_detr(card.architecture_yaml, before, where=str(folder))
        pictures = read_people(data_dir / "annotations.json")
        if not any(len(picture.boxes) for picture in pictures):
            raise WardposeError("the data set shows nobody", where=str(data_dir), mend="make one with people in it")
        width, height = (_stepped(side, module.step) for side in input_size(card, settings, pictures))
        info = self.describe(card, width, height)
        paper = paper_recipe(card.architecture, settings) if settings.recipe == "paper" else None
        own: dict[str, Any] = {"weight_decay": 1e-4, "clip_norm": 0.1, "freeze_statistics": True}
        batch = settings.batch or _BATCH
        loop = paper.loop(settings, **own) if paper else LoopSettings(
            epochs=settings.epochs or 1, minutes=settings.minutes, batch=batch, nominal_batch=batch, optimizer="adamw",
            learning_rate=settings.learning_rate or _LEARNING_RATE, final_factor=0.1, warmup_steps=10,
            seed=settings.seed, threads=settings.threads, device=settings.device, **own,
        )  # fmt: skip
        augmentation = DetectionAugmentation.only_flips(paper.flip) if paper else DetectionAugmentation()
        # The trunk has learnt from photographs what the drawn images do not show: it is left alone, as in every recipe
        # of ours; the paper's moves everything.
        trunk = settings.frozen_layers != 0 if settings.frozen_layers is not None else paper is None
        asked = settings.asked() | {"size": [width, height]}
        with unfinished(out_dir, card, data_dir, asked) as checkpoint:
            outcome = train_detr(
                module, pictures, info, loop, augmentation, keep_trunk=trunk, checkpoint=checkpoint, progress=progress
            )
            alpha = 1.0 if settings.alpha is None else settings.alpha
            state = interpolate(before, {k: v for k, v in state_of(module).items() if k in before}, alpha)
            made = made_by_tuning(self.name, data_dir, settings, outcome, paper)
            made |= {"augmentation": augmentation.model_dump(mode="json"), "trunk_kept": trunk}
            changes = {"parent": card.name, "made": made, "scores": {}, "width": width, "height": height}
            return save_model(out_dir, state, card.model_copy(update=changes), record=checkpoint.parent)


def _stepped(side: int, step: int) -> int:
    """The next side that the model's patches and windows divide."""
    return -(-side // step) * step
