"""Training ultralytics' detectors and pose models on our own loop, with its augmentations and losses."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from calibration.errors import WardposeError
from calibration.progress import Progress
from tuning.coco_folder import Picture
from tuning.families.ultralytics_adapter import arguments, ultralytics
from tuning.families.yolo_models import BuiltDetector
from tuning.store.outcome import Outcome
from tuning.train.loop_settings import LoopSettings
from tuning.train.torch_loop import fit
from tuning.train.torch_state import predict


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


def _loss(model: Any, batch: dict[str, Any], *, bfloat16: bool) -> dict[str, Any]:
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
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train in place. augmentation: ultralytics' own names (mosaic, degrees, scale, fliplr, hsv_h, ...)."""
    names = [f"model.{index}." for index in range(frozen_layers)]
    for name, parameter in built.module.named_parameters():
        parameter.requires_grad = not (any(name.startswith(prefix) for prefix in names) or ".dfl" in name)
    built.module.args = arguments(augmentation)
    built.module.criterion = None
    samples = _Samples(pictures, size, loop.batch, loop.seed, augmentation, hasattr(built.head, "kpt_shape"))
    loss = partial(_loss, bfloat16=loop.bfloat16)
    outcome = fit(
        built.module, samples, loss, loop, loss_grows=True, checkpoint=checkpoint, resume=resume, progress=progress
    )
    built.module.to("cpu").criterion = None
    return outcome
