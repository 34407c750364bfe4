"""What a family must do besides, to make a base model: train one of its models from random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from calibration.bounds import BATCH
from calibration.progress import Progress
from tuning.coco_folder import Picture
from tuning.store.card import ModelCard
from tuning.store.weights import State

if TYPE_CHECKING:
    from tuning.store.outcome import Outcome
    from tuning.train.loop_settings import LoopSettings

# Where the cosine ends, and how slowly the average of the weights follows: common to trainings from random weights.
_FINAL_FACTOR, _AVERAGE_DECAY = 0.01, 0.998


class BaseSettings(BaseModel):
    """A training from random weights. What is left None is the family's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=30, title="Passes over the images", ge=1, le=10_000)
    minutes: float | None = Field(default=None, title="Time budget, schedule and all (min)", gt=0)
    batch: int | None = Field(default=None, title="Batch size", ge=BATCH.least, le=BATCH.most)
    learning_rate: float | None = Field(default=None, title="Learning rate", gt=0, le=1)
    seed: int = Field(default=1, title="Seed", ge=0)
    threads: int | None = Field(default=None, title="CPU threads (default: all)", ge=1, le=1024)
    bfloat16: bool = Field(default=False, title="Forward pass in bfloat16")

    def loop(self, *, batch: int, learning_rate: float = 2e-3, **recipe: Any) -> LoopSettings:
        """What every base training shares, and a family's own `recipe`; what was asked for goes before either."""
        from tuning.train.loop_settings import LoopSettings

        batch = self.batch or batch
        return LoopSettings(
            batch=batch, nominal_batch=batch, optimizer="adamw", learning_rate=self.learning_rate or learning_rate,
            final_factor=_FINAL_FACTOR, average_decay=_AVERAGE_DECAY, epochs=self.epochs, minutes=self.minutes,
            seed=self.seed, threads=self.threads, bfloat16=self.bfloat16, **recipe,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class BaseTraining:
    """What a training from random weights came to: weights, the loop's settings and outcome, the pictures' changes."""

    state: State
    loop: LoopSettings
    outcome: Outcome
    augmentation: Mapping[str, Any]


@runtime_checkable
class BaseFamily(Protocol):
    """A family that can begin with random weights."""

    def train_base(
        self, card: ModelCard, start: State | None, pictures: list[Picture], settings: BaseSettings, *,
        checkpoint: Path, resume: bool, progress: Progress | None,
    ) -> BaseTraining:  # fmt: skip
        """Train the card's architecture on `pictures`, from the weights `start` or from random ones. `checkpoint` is
        kept up to date, and `resume` goes on from it."""
        ...
