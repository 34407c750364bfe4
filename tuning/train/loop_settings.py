"""The numbers by which weights are moved; torch is not needed to say them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from calibration.bounds import BATCH


class LoopSettings(BaseModel):
    """How the weights are moved. `minutes` ends the training, schedule and all, by the clock; `epochs` bounds it."""

    model_config = ConfigDict(extra="forbid")

    epochs: int = Field(default=1, title="Epochs", ge=1, le=10_000)
    minutes: float | None = Field(default=None, title="Time budget (min)", gt=0)
    batch: int = Field(default=16, title="Batch size", ge=BATCH.least, le=BATCH.most)
    nominal_batch: int = Field(default=64, title="Images per optimiser step, gathered over batches", ge=1, le=4096)
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", title="Optimiser")
    learning_rate: float = Field(default=1e-3, title="Learning rate", gt=0, le=1)
    final_factor: float = Field(default=1.0, title="Last learning rate over the first", ge=0, le=1)
    warmup_steps: int = Field(default=0, title="Batches of linear warm-up", ge=0)
    momentum: float = Field(default=0.9, title="Momentum", ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, title="Weight decay", ge=0, le=1)
    clip_norm: float = Field(default=10.0, title="Gradient norm limit", gt=0)
    average_decay: float = Field(default=0.0, title="Decay of the running average of the weights (0: none)", ge=0, lt=1)
    freeze_statistics: bool = Field(default=False, title="Keep batch-norm statistics as they are")
    keep_epochs: int = Field(default=0, title="First epochs whose weights are kept beside the last ones", ge=0)
    seed: int = Field(default=0, title="Seed", ge=0)
    threads: int | None = Field(default=None, title="CPU threads (default: all)", ge=1, le=1024)
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", title="Device")
    bfloat16: bool = Field(default=False, title="Forward pass in bfloat16: faster, a little coarser")
    workers: int | None = Field(
        default=None,
        title="Processes that prepare batches (default: none on a CPU, one a core for a GPU)",
        ge=0,
        le=256,
    )
