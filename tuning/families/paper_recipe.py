"""The recipe of the paper that wardpose follows (DIGITAL HEALTH, doi 10.1177/20552076261418835), by name.

A tenth of the rate at which the model's training on COCO ended, scaled to batches of 16; one epoch; no augmentation
beyond the mirror image that every one of its models was made with; every layer. Its authors trained up to 20 epochs and
found what there is to gain within five, so that the weights at the ends of those are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from calibration.bounds import BATCH
from calibration.errors import WardposeError
from tuning.train.loop_settings import LoopSettings

if TYPE_CHECKING:
    from tuning.families.family import TuneSettings

_SHARE, _BATCH, _EPOCHS = 0.1, 16, 1
KEPT_EPOCHS = 5
FLIP = 0.5


class PreTraining(BaseModel):
    """How a model's training on photographs ended, as its authors published it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    final_rate: float = Field(title="Learning rate at its end", gt=0, le=1)
    batch: int = Field(title="Images of one of its steps", ge=1)
    optimizer: Literal["sgd", "adamw"] = Field(title="Its optimiser")
    source: str = Field(title="Where that stands")
    tuned_batch: int = Field(default=_BATCH, title="Images of one step of the paper's tuning", ge=1)


# By family, or by the beginning of an architecture's name where one family has several kinds.
PUBLISHED: Mapping[str, PreTraining] = {
    "yolov6": PreTraining(
        final_rate=1e-4, batch=256, optimizer="sgd", source="YOLOv6, configs/yolov6l.py: lr0 0.01, lrf 0.01"
    ),
    "ultralytics": PreTraining(
        final_rate=1e-4, batch=64, optimizer="sgd", source="ultralytics, cfg/default.yaml: lr0 0.01, lrf 0.01, nbs 64"
    ),
    "yolox": PreTraining(
        final_rate=5e-4, batch=64, optimizer="sgd", source="YOLOX, yolox_base.py: 0.01 for 64 images, min_lr_ratio 0.05"
    ),
    "nanodet": PreTraining(
        final_rate=1e-5, batch=128, optimizer="sgd", source="NanoDet, nanodet-g.yml: 0.1, four milestones of 0.1"
    ),
    "rtmpose": PreTraining(
        final_rate=2e-4, batch=1024, optimizer="adamw", source="mmpose, RTMPose on COCO: 4e-3, cosine to a twentieth"
    ),
    "hrnet": PreTraining(
        final_rate=5e-6, batch=512, optimizer="adamw", source="mmpose, HRNet on COCO: 5e-4, two milestones of 0.1"
    ),
    "vitpose": PreTraining(
        final_rate=5e-6, batch=512, optimizer="adamw", source="mmpose, ViTPose on COCO: 5e-4, two milestones of 0.1"
    ),
    "rt_detr": PreTraining(
        final_rate=1e-4, batch=16, optimizer="adamw", source="RT-DETR, optimizer.yml: 1e-4, its milestone never reached"
    ),
    "d_fine": PreTraining(
        final_rate=2.5e-4, batch=32, optimizer="adamw", source="D-FINE, dfine_hgnetv2_l_coco.yml: 2.5e-4 throughout"
    ),
    "deformable_detr": PreTraining(
        final_rate=2e-5, batch=32, optimizer="adamw", source="Deformable DETR: 2e-4, a tenth of it from epoch 40 on"
    ),
    "dino": PreTraining(final_rate=1e-5, batch=16, optimizer="adamw", source="DINO: 1e-4, a tenth of it at the end"),
    "salience-detr": PreTraining(
        final_rate=1e-5, batch=10, optimizer="adamw", source="the paper: 1e-5, tuned at 1e-6 in batches of 10",
        tuned_batch=10,
    ),
}  # fmt: skip


class PaperRecipe(BaseModel):
    """The paper's numbers for one model; they go into the model's card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(title="Passes over the images", ge=1)
    kept_epochs: int = Field(default=KEPT_EPOCHS, title="First epochs whose weights are kept")
    batch: int = Field(title="Images of one step", ge=BATCH.least, le=BATCH.most)
    learning_rate: float = Field(title="Learning rate, from beginning to end", gt=0, le=1)
    optimizer: Literal["sgd", "adamw"] = Field(title="Optimiser")
    flip: float = Field(default=FLIP, title="Chance of a mirrored picture: the only augmentation")
    pre_training: PreTraining = Field(title="What the rate is a tenth of")

    def loop(self, settings: TuneSettings, **own: Any) -> LoopSettings:
        """The loop's settings; `own` are the model's, which the recipe leaves alone."""
        return LoopSettings(
            epochs=self.epochs, minutes=settings.minutes, batch=self.batch, nominal_batch=self.batch,
            optimizer=self.optimizer, learning_rate=self.learning_rate, final_factor=1.0, warmup_steps=0,
            keep_epochs=self.kept_epochs, seed=settings.seed, threads=settings.threads, device=settings.device, **own,
        )  # fmt: skip


def paper_recipe(kind: str, settings: TuneSettings) -> PaperRecipe:
    """The paper's recipe for a model of the family, or of the architecture, `kind`; what `settings` say goes before it.

    WardposeError where nothing is published of how that model's training ended and nobody said it.
    """
    known = next((published for name, published in PUBLISHED.items() if kind.startswith(name)), None)
    if settings.final_rate is not None:
        known = PreTraining(
            final_rate=settings.final_rate, batch=settings.final_batch or _BATCH,
            optimizer=known.optimizer if known else "adamw", source="said by who tuned",
        )  # fmt: skip
    if known is None:
        raise WardposeError(
            f"at what rate the pre-training of {kind} ended is not published, and the paper's recipe is a tenth of it",
            mend="say it: --final-rate RATE, with --final-batch IMAGES; or leave --recipe out",
        )
    batch = settings.batch or known.tuned_batch
    rate = settings.learning_rate or _SHARE * known.final_rate * batch / known.batch
    return PaperRecipe(
        epochs=settings.epochs or _EPOCHS, batch=batch, learning_rate=rate, optimizer=known.optimizer,
        pre_training=known,
    )  # fmt: skip
