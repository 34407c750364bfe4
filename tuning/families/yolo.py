"""The YOLO family: ultralytics' detectors and pose models, on our own loop with its augmentations and losses."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import WardposeError
from runtime.model_info import ModelInfo
from tuning.coco_folder import Picture, read_people
from tuning.families.family import ImportWish, Progress, Reference, TuneSettings, input_size
from tuning.families.ultralytics_adapter import arguments, ultralytics
from tuning.families.yolo_models import (
    BuiltDetector,
    build_detector,
    build_pose,
    inference_module,
    is_yolo,
    recognise,
)
from tuning.store.card import WEIGHTS_FILE, ModelCard, read_card
from tuning.store.foreign import ForeignModel
from tuning.store.save import made_by_tuning, save_model
from tuning.store.weights import read_weights, write_safetensors
from tuning.train.torch_loop import LoopSettings, Outcome, fit
from tuning.train.torch_state import forward, interpolate, predict, write_onnx

_FEWEST_STEPS = 20
_SIZE = 416  # what two cores run live, where nobody chose another
_OPSET = 18


class _Samples:
    """Augmented samples; what is random depends on (seed, epoch, index) and the pictures drawn shortly before."""

    def __init__(
        self, pictures: list[Picture], size: int, batch: int, seed: int, augmentation: dict[str, Any], keypoints: bool
    ) -> None:
        parts = ultralytics()
        self._seed, self._collate = seed, parts.collate
        options = {"imgsz": size, "augment": True, "batch_size": batch, "hyp": arguments(augmentation)}
        self._data = parts.People(pictures, keypoints=keypoints, **options)

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, epoch: int, indices: list[int]) -> dict[str, Any]:
        samples = []
        for index in indices:
            drawn = int(np.random.default_rng((self._seed, epoch, index)).integers(2**32))
            # Its augmentations draw from the global generators: there is no other way to seed them.
            random.seed(drawn)
            np.random.seed(drawn)  # noqa: NPY002
            try:
                samples.append(self._data[index])
            except FileNotFoundError as error:
                raise WardposeError(
                    "a picture cannot be read", where=str(error), mend="make the data set again"
                ) from None
        batch = self._collate(samples)
        return {key: batch[key] for key in ("img", "batch_idx", "cls", "bboxes", "keypoints") if key in batch}


def _loss(model: Any, batch: dict[str, Any], *, bfloat16: bool, keypoint_tolerance: float) -> dict[str, Any]:
    if getattr(model, "criterion", None) is None and "keypoints" in batch:  # only now is it on its device
        model.criterion = model.init_criterion()
        model.criterion.keypoint_loss.sigmas = model.criterion.keypoint_loss.sigmas * keypoint_tolerance
    pictures = batch["img"].float() / 255  # bytes until now: less to hand from process to process
    terms, _ = model.loss(batch, predict(model, pictures, bfloat16=bfloat16))
    names = ("box", "pose", "seen", "class", "shape") if "keypoints" in batch else ("box", "class", "shape")
    return {names[i] if i < len(names) else f"term{i}": term for i, term in enumerate(terms.reshape(-1))}


def train_detector(
    built: BuiltDetector,
    pictures: list[Picture],
    loop: LoopSettings,
    *,
    size: int,
    augmentation: dict[str, Any],
    frozen_layers: int = 0,
    keypoint_tolerance: float = 1.0,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train in place. augmentation: ultralytics' own names (mosaic, degrees, scale, fliplr, hsv_h, ...).

    keypoint_tolerance: factor on COCO's per-keypoint constants in a pose model's loss. That loss is flat where a
    keypoint is far off, so a model that begins at random learns faster with more than 1.
    """
    names = [f"model.{index}." for index in range(frozen_layers)]
    for name, parameter in built.module.named_parameters():
        parameter.requires_grad = not (any(name.startswith(prefix) for prefix in names) or ".dfl" in name)
    built.module.args = arguments(augmentation)
    built.module.criterion = None
    samples = _Samples(pictures, size, loop.batch, loop.seed, augmentation, hasattr(built.head, "kpt_shape"))
    loss = partial(_loss, bfloat16=loop.bfloat16, keypoint_tolerance=keypoint_tolerance)
    outcome = fit(built.module, samples, loss, loop, checkpoint=checkpoint, resume=resume, progress=progress)
    built.module.to("cpu").criterion = None
    return outcome


# One epoch at this rate, with the first ten layers and all batch-norm statistics as they are, brought the most on
# photographs: five times the rate gains no more on lying people and forgets what others look like.
_LEARNING_RATE = 2e-4
_FROZEN_LAYERS = 10
_NOMINAL_BATCH = 64
_AUGMENTATION = {"mosaic": 0.0, "degrees": 0.0, "scale": 0.3, "translate": 0.1}


def _nominal_batch(batch: int, pictures: int, epochs: int) -> int:
    """The images of one optimiser step: fewer for a small data set, which would end after a handful of steps."""
    return max(batch, min(_NOMINAL_BATCH, pictures * epochs // _FEWEST_STEPS))


class Yolo:
    """YOLO detectors (v3 to 26) and YOLO pose models, built by ultralytics."""

    name = "ultralytics"

    def recognise(self, foreign: ForeignModel, wish: ImportWish, folder: Path) -> ModelCard | None:
        if foreign.state is None:
            return None
        where = str(foreign.path)
        architecture = wish.architecture or foreign.metadata.get("architecture")
        if architecture is not None and not is_yolo(architecture):
            return None
        found = recognise(foreign.state, architecture=architecture, layers=foreign.layers, where=where)
        person = next((index for index, label in foreign.names.items() if label == "person"), 0)
        card = ModelCard(
            name=wish.name,
            task="detect",
            architecture=found.architecture,
            architecture_yaml=found.layers,
            layout="yolo",
            width=wish.width or _SIZE,
            height=wish.height or _SIZE,
            built_classes=found.classes,
            sha256="0" * 64,
        )
        built = build_detector(card, foreign.state, person_class=person, where=where)
        write_safetensors(folder / WEIGHTS_FILE, built.state(), metadata={"architecture": found.architecture})
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
        build = build_detector if card.task == "detect" else build_pose
        model = inference_module(build(card, read_weights(folder, card), where=str(folder)))
        write_onnx(model, draft, width=width, height=height, opset=_OPSET, outputs=["output"], dynamic_batch=False)
        return partial(forward, model)

    def tune(
        self, folder: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard:
        card = read_card(folder)
        before = read_weights(folder, card)
        pictures = read_people(data_dir / "annotations.json")
        width, height = input_size(card, settings, pictures)
        build = build_detector if card.task == "detect" else build_pose
        built = build(card, before, where=str(folder))
        epochs = settings.epochs or 1
        loop = LoopSettings(
            epochs=epochs,
            minutes=settings.minutes,
            batch=settings.batch,
            nominal_batch=_nominal_batch(settings.batch, len(pictures), epochs),
            learning_rate=settings.learning_rate or _LEARNING_RATE,
            freeze_statistics=True,
            seed=settings.seed,
            threads=settings.threads,
            device=settings.device,
        )
        frozen = _FROZEN_LAYERS if settings.frozen_layers is None else settings.frozen_layers
        # Its pictures are square: a shorter side is grey there, and cut off again by the export.
        outcome = train_detector(
            built, pictures, loop, size=max(width, height), augmentation=_AUGMENTATION, frozen_layers=frozen,
            progress=progress,
        )  # fmt: skip
        state = interpolate(before, {k: v for k, v in built.state().items() if k in before}, settings.alpha)
        made = made_by_tuning(self.name, data_dir, settings, outcome)
        changes = {"parent": card.name, "made": made, "scores": {}, "width": width, "height": height}
        return save_model(out_dir, state, card.model_copy(update=changes))
