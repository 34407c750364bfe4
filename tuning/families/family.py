"""What a trainer is, and tuning by whichever trainer knows the model. A site's own trainer registers by entry point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from calibration.errors import WardposeError
from calibration.plugins import load_plugin, plugin_names
from tuning.store.card import ModelCard, read_card

Progress = Callable[[int, int, str], None]


class TuneSettings(BaseModel):
    """Tuning on synthetic images: few, gentle steps, so that what the model learnt from photographs stays.

    The defaults are those that brought the most on real photographs: one epoch, SGD at 2e-4, the first ten layers and
    all batch-norm statistics frozen. Five times that rate gains no more on lying people and forgets what others look
    like.
    """

    model_config = ConfigDict(extra="forbid")

    epochs: int = Field(default=1, title="Epochs", ge=1, le=1000)
    minutes: float | None = Field(default=None, title="Time budget (min)", gt=0)
    learning_rate: float = Field(default=2e-4, title="Learning rate", gt=0, le=1)
    batch: int = Field(default=16, title="Batch size", ge=1, le=1024)
    nominal_batch: int = Field(default=64, title="Images per optimiser step", ge=1, le=4096)
    size: int = Field(default=416, title="Training image size (px, a multiple of 32)", ge=32, le=4096, multiple_of=32)
    frozen_layers: int = Field(default=10, title="Layers kept as they are, from the input", ge=0, le=100)
    freeze_statistics: bool = Field(default=True, title="Keep batch-norm statistics as they are")
    alpha: float = Field(default=1.0, title="Weights this far from the base to the tuned model", ge=0, le=1)
    mosaic: float = Field(default=0.0, title="Chance of a mosaic of four pictures", ge=0, le=1)
    rotation_deg: float = Field(default=0.0, title="Random rotation (± degrees)", ge=0, le=180)
    seed: int = Field(default=0, title="Seed", ge=0)
    threads: int | None = Field(default=None, title="CPU threads (default: all)", ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", title="Device")


class DetectorTrainer(Protocol):
    """Tunes a person detector. Blocks until done; one training at a time in a process.

    `tune` reads the model folder `card_dir`, trains on the COCO folder `data_dir` (annotations.json, images/; boxes are
    visible extents), writes the model folder `out_dir` and returns its card. An exception from `progress` cancels it:
    nothing is left at `out_dir`. WardposeError where the data or the model do not hold, or the loss is not finite.
    """

    def knows(self, card: ModelCard) -> bool: ...

    def tune(
        self, card_dir: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard: ...


class PoseTrainer(Protocol):
    """Tunes a pose model on the COCO keypoints of `data_dir`; otherwise as `DetectorTrainer`."""

    def knows(self, card: ModelCard) -> bool: ...

    def tune(
        self, card_dir: Path, data_dir: Path, out_dir: Path, settings: TuneSettings, progress: Progress | None
    ) -> ModelCard: ...


def tune_detector(
    card_dir: Path,
    data_dir: Path,
    out_dir: Path,
    settings: TuneSettings | None = None,
    progress: Progress | None = None,
    *,
    trainer: str | None = None,
) -> ModelCard:
    """Tune the detector in `card_dir` on the COCO folder `data_dir` into the new model folder `out_dir`.

    trainer: a registered trainer's name, default the one shipped that knows the model.
    """
    chosen = _detector_trainer(trainer)
    return _tune(chosen, card_dir, data_dir, out_dir, settings, progress, "detect")


def tune_pose(
    card_dir: Path,
    data_dir: Path,
    out_dir: Path,
    settings: TuneSettings | None = None,
    progress: Progress | None = None,
) -> ModelCard:
    """Tune the pose model in `card_dir` on the keypoints of `data_dir` into the new model folder `out_dir`."""
    from tuning.families.rtmpose import MmposeTrainer
    from tuning.families.yolo import UltralyticsTrainer

    card, shipped = read_card(card_dir), (MmposeTrainer(), UltralyticsTrainer())
    trainer = next((trainer for trainer in shipped if trainer.knows(card)), shipped[0])
    return _tune(trainer, card_dir, data_dir, out_dir, settings, progress, "pose")


def _detector_trainer(name: str | None) -> DetectorTrainer:
    if name is None or (name == "ultralytics" and name not in plugin_names("detector_trainers")):
        from tuning.families.yolo import UltralyticsTrainer

        return UltralyticsTrainer()
    made = load_plugin("detector_trainers", name)()
    trainer: DetectorTrainer = made
    return trainer


def _tune(
    trainer: DetectorTrainer | PoseTrainer,
    card_dir: Path,
    data_dir: Path,
    out_dir: Path,
    settings: TuneSettings | None,
    progress: Progress | None,
    task: str,
) -> ModelCard:
    card = read_card(card_dir)
    if card.task != task or not trainer.knows(card):
        raise WardposeError(
            f"{card.name} ({card.architecture}, {card.format}) cannot be tuned here as a {task} model",
            where=str(card_dir),
            mend="choose a model with trainable weights, such as person-detector",
        )
    if out_dir.exists():
        raise WardposeError("a model is already here", where=str(out_dir), mend="choose another name")
    return trainer.tune(card_dir, data_dir, out_dir, settings or TuneSettings(), progress)
