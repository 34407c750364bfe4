"""The training loop, and everything else of ours that touches torch directly. Both trainers run on it.

One loop, because what makes a long training bearable is the same for every model: it can be stopped at any moment and
goes on from its last checkpoint, it can be told to be ready in so many minutes, and it stops at once on a loss that is
no number.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.optim.swa_utils import AveragedModel

from calibration.bounds import BATCH
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.progress import Progress
from tuning.store.outcome import Outcome
from tuning.store.weights import State, read_safetensors, write_safetensors
from tuning.train.torch_batches import TrainingData, prepared_batches, to_device
from tuning.train.torch_state import load_into, state_of

SECONDS_BETWEEN_CHECKPOINTS = 90.0
_METADATA = "wardpose-training"
_MALLOC_TRIM_THRESHOLD, _MALLOC_MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h


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


def use_threads(threads: int | None) -> int:
    count = threads or os.cpu_count() or 1
    torch.set_num_threads(count)
    return count


def keep_freed_memory() -> None:
    """Have glibc keep what it is given back instead of returning it to the system, for the rest of this process.

    A training frees and asks for the same tensors at every step; each would be mapped anew, and its pages zeroed by the
    system at the first touch: a good part of the time of a step on a CPU. Tensors beyond the threshold are mapped as
    before. Elsewhere than on glibc nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MALLOC_MMAP_THRESHOLD, 32 << 20)  # the largest that glibc takes
    mallopt(_MALLOC_TRIM_THRESHOLD, 512 << 20)


def choose_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise WardposeError("no CUDA device answers", mend="choose the device auto or cpu")
    return device


def fit(
    model: Any,
    data: TrainingData,
    loss: Callable[[Any, dict[str, Any]], dict[str, Any]],
    settings: LoopSettings,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train `model` in place.

    loss: (model, batch) to named scalar terms, whose sum is descended. checkpoint: a file written now and then, on
    cancellation too; with `resume` the training goes on from it (another `data` or `settings` is refused). Raises
    WardposeError on a loss that is not finite, naming step and term, and lets whatever `progress` raises through.
    """
    if len(data) == 0:
        raise WardposeError("no training pictures", mend="make a data set first")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise WardposeError("every layer is kept as it is: nothing is left to train", mend="keep fewer layers")
    device = choose_device(settings.device)
    use_threads(settings.threads)
    keep_freed_memory()
    torch.manual_seed(settings.seed)
    model.to(device)
    optimizer = _optimizer(model, settings)
    average = _averaged(model, settings.average_decay) if settings.average_decay else None
    batches = math.ceil(len(data) / settings.batch)
    total = settings.epochs * batches
    fingerprint = _fingerprint(settings, len(data), model)
    step, elapsed = 0, 0.0
    recent: list[float] = []
    if resume and checkpoint is not None and checkpoint.is_file():
        step, elapsed, recent = _restore(checkpoint, model, optimizer, average, fingerprint)
    every = max(1, round(settings.nominal_batch / settings.batch))
    started, saved = time.monotonic() - elapsed, time.monotonic()
    fraction = _fraction(step, total, elapsed, settings)
    workers = settings.workers if settings.workers is not None else 0 if device == "cpu" else os.cpu_count() or 1
    prepared = prepared_batches(data, settings.batch, settings.epochs, settings.seed, first=step, workers=workers)

    def save() -> None:
        if checkpoint is not None:
            _save(checkpoint, model, optimizer, average, fingerprint, step, time.monotonic() - started, recent)

    try:
        while fraction < 1:
            epoch = step // batches
            rate = _rate(fraction, step, settings)
            for group in optimizer.param_groups:
                group["lr"] = rate
            _training_mode(model, settings.freeze_statistics)
            count, batch = next(prepared)
            batch = to_device(batch, device)
            terms = loss(model, batch)
            for name, term in terms.items():
                if not bool(torch.isfinite(term)):
                    value = float(term.detach())
                    raise WardposeError(
                        f"the loss is not finite at step {step + 1}, epoch {epoch + 1}: {name} = {value}",
                        mend="train with a lower learning rate",
                    )
            summed = torch.stack(list(terms.values())).sum()
            summed.backward()
            step += 1
            if step % every == 0 or step % batches == 0:
                torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                if average:
                    average.update_parameters(model)
            recent = [*recent[-49:], float(summed.detach()) / count]
            elapsed = time.monotonic() - started
            fraction = _fraction(step, total, elapsed, settings)
            if progress:
                note = f"epoch {epoch + 1}/{settings.epochs}  loss {np.mean(recent):.4g}  rate {rate:.2g}"
                if settings.minutes is None:
                    progress(step, total, note)
                else:
                    progress(
                        int(fraction * 1000), 1000, f"{note}  step {step}  {elapsed / 60:.1f}/{settings.minutes:g} min"
                    )
            if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                save()
                saved = time.monotonic()
    except WardposeError:
        raise
    except BaseException:  # Ctrl-C, or a job that was told to stop: what is finished is kept
        save()
        raise
    save()
    if average:
        model.load_state_dict(average.module.state_dict())
    model.eval()
    return Outcome(step, step / batches, elapsed, float(np.mean(recent)) if recent else math.nan, len(data))


def _fraction(step: int, total: int, elapsed: float, settings: LoopSettings) -> float:
    by_steps = step / total
    return by_steps if settings.minutes is None else max(by_steps, elapsed / (settings.minutes * 60))


def _rate(fraction: float, step: int, settings: LoopSettings) -> float:
    cosine = settings.final_factor + (1 - settings.final_factor) * (1 + math.cos(math.pi * min(fraction, 1))) / 2
    warm = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    return settings.learning_rate * cosine * warm


def _optimizer(model: Any, settings: LoopSettings) -> Any:
    """Biases and normalisation weights are not decayed."""
    decayed: list[Any] = []
    free: list[Any] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                (free if name == "bias" or parameter.ndim < 2 else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(settings.momentum, 0.999))
    return torch.optim.SGD(
        groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=settings.momentum > 0
    )


def _training_mode(model: Any, freeze_statistics: bool) -> None:
    model.train()
    if freeze_statistics:
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()


def _averaged(model: Any, decay: float) -> AveragedModel:
    """A running average of the weights: early on it follows them closely, later it smooths."""

    def follow(average: torch.Tensor, value: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
        if not value.dtype.is_floating_point:  # a count of batches
            return value
        return average.lerp(value, 1 - decay * (1 - math.exp(-(int(updates) + 1) / 200)))

    return AveragedModel(model, avg_fn=follow, use_buffers=True)


def _fingerprint(settings: LoopSettings, images: int, model: Any) -> str:
    kept = settings.model_dump(exclude={"minutes", "threads", "device", "workers"})
    kept["images"] = images
    kept["tensors"] = sum(value.numel() for value in model.state_dict().values())
    return json.dumps(kept, sort_keys=True)


def _save(
    path: Path,
    model: Any,
    optimizer: Any,
    average: AveragedModel | None,
    fingerprint: str,
    step: int,
    elapsed: float,
    recent: list[float],
) -> None:
    state: State = {f"model.{k}": v for k, v in state_of(model).items()}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            state[f"optimizer.{index}.{name}"] = value.detach().cpu().numpy()
    if average:
        state |= {f"average.{k}": v for k, v in state_of(average.module).items()}
    training = {
        "fingerprint": fingerprint,
        "step": step,
        "elapsed": elapsed,
        "recent": recent,
        "updates": int(average.n_averaged) if average else 0,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, state, metadata={_METADATA: json.dumps(training)})


def _restore(
    path: Path, model: Any, optimizer: Any, average: AveragedModel | None, fingerprint: str
) -> tuple[int, float, list[float]]:
    state, metadata = read_safetensors(path)
    training = parse_json(metadata.get(_METADATA, "{}"))
    if training.get("fingerprint") != fingerprint:
        raise WardposeError(
            "the checkpoint belongs to a training with other settings or data",
            where=str(path),
            mend="give the same settings and data, or start afresh without --resume",
        )
    parts: dict[str, dict[str, Any]] = {"model": {}, "optimizer": {}, "average": {}}
    for key, value in state.items():
        part, _, name = key.partition(".")
        parts[part][name] = torch.from_numpy(value.copy())
    load_into(model, {k: v.numpy() for k, v in parts["model"].items()}, str(path))
    own = optimizer.state_dict()
    own["state"] = {}
    for key, value in parts["optimizer"].items():
        index, _, name = key.partition(".")
        own["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(own)
    if average:
        load_into(average.module, {k: v.numpy() for k, v in parts["average"].items()}, str(path))
        average.n_averaged.fill_(training["updates"])
    return int(training["step"]), float(training["elapsed"]), [float(loss) for loss in training.get("recent", ())]
