"""The training loop, and everything else of ours that touches torch directly. Both trainers run on it.

One loop, because what makes a long training bearable is the same for every model: it can be stopped or killed at any
moment and goes on from its last checkpoint to the same weights, it can be told to be ready in so many minutes, it takes
smaller bites where memory is short, and it stops at once on a loss that is no number.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel

from calibration.errors import WardposeError
from calibration.memory import keep_freed_memory
from calibration.progress import Progress
from tuning.store.outcome import Outcome
from tuning.store.weights import write_safetensors
from tuning.train.loop_settings import LoopSettings
from tuning.train.metrics import MetricsLog
from tuning.train.ranks import FINE, NOT_FINITE, OUT_OF_MEMORY, RankFinished, ranks
from tuning.train.torch_batches import TrainingData, prepared_batches, to_device
from tuning.train.torch_checkpoint import Standing, restore_training, save_training
from tuning.train.torch_state import state_of

SECONDS_BETWEEN_CHECKPOINTS = 90.0


def use_threads(threads: int | None) -> int:
    count = threads or os.cpu_count() or 1
    torch.set_num_threads(count)
    return count


def choose_device(device: str) -> str:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise WardposeError("no CUDA device answers", mend="choose the device auto or cpu")
    return device


def fit(
    model: Any,
    data: TrainingData,
    loss: Callable[[Any, dict[str, Any]], dict[str, Any]],
    settings: LoopSettings,
    *,
    loss_grows: bool = False,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Train `model` in place.

    loss: (model, batch) to named scalar terms, whose sum is descended; loss_grows: it is a sum over the batch's
    samples, not a mean. checkpoint: a file written now and then, on cancellation too; with `resume` the training goes
    on from it (another `data` or `settings` is refused). Beside it lie the training's course (`metrics.csv`,
    TensorBoard's event files) and the weights at the ends of the epochs that are kept. A batch for which memory is too
    short is taken in halves, quarters, …, whose gradients are gathered. In one of several processes (`ranks`), this
    one takes its share of every batch, and those that are not the first end with RankFinished.

    Raises WardposeError on a loss or gradient that is not finite, naming step, term and the checkpoint that was good,
    and lets whatever `progress` raises through.
    """
    return _Loop(model, data, loss, settings, loss_grows, checkpoint, progress).run(resume)


class _NotFiniteError(Exception):
    """A term of the loss, or the gradient, is no number."""


class _Loop:
    def __init__(
        self, model: Any, data: TrainingData, loss: Callable[[Any, dict[str, Any]], dict[str, Any]],
        settings: LoopSettings, loss_grows: bool, checkpoint: Path | None, progress: Progress | None,
    ) -> None:  # fmt: skip
        if len(data) == 0:
            raise WardposeError("no training pictures", mend="make a data set first")
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise WardposeError("every layer is kept as it is: nothing is left to train", mend="keep fewer layers")
        self._ranks = ranks()
        self._model, self._data, self._loss, self._settings = model, data, loss, settings
        self._loss_grows, self._checkpoint, self._progress = loss_grows, checkpoint, progress
        self._device = choose_device(settings.device)
        self._threads = use_threads(settings.threads)
        keep_freed_memory()
        torch.manual_seed(settings.seed)
        model.to(self._device)
        self._optimizer = _optimizer(model, settings)
        self._average = _averaged(model, settings.average_decay) if settings.average_decay else None
        self._batches = math.ceil(len(data) / settings.batch)
        self._total = settings.epochs * self._batches
        self._every = max(1, round(settings.nominal_batch / settings.batch))
        self._fingerprint = _fingerprint(settings, len(data), model)
        self._standing = Standing()
        self._at: Standing | None = None  # where the weights stand, while a step of the optimiser is under way
        self._buffers: dict[str, Any] = {}
        self._log: MetricsLog | None = None
        self._said = ""

    def run(self, resume: bool) -> Outcome:
        path = self._checkpoint
        if resume and path is not None and path.is_file():
            self._standing = restore_training(path, self._model, self._optimizer, self._average, self._fingerprint)
        self._ranks.of_the_first(0.0, self._device)  # everybody has read it before the first writes the next
        started, saved = time.monotonic() - self._standing.elapsed, time.monotonic()
        if path is not None and self._ranks.first:
            self._log = MetricsLog(path.parent, self._standing.step)
        try:
            prepared = self._prepared()
            while (fraction := self._fraction()) < 1:
                rate = _rate(fraction, self._standing.step, self._settings)
                if not self._step(prepared, rate):
                    prepared = self._prepared()  # from the same batch on, in smaller parts
                    continue
                self._standing.elapsed = time.monotonic() - started
                self._keep_epoch()
                if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                    self._save()
                    saved = time.monotonic()
        except WardposeError:
            raise
        except BaseException:  # Ctrl-C, or a job that was told to stop: what is finished is kept
            self._save()
            raise
        finally:
            if self._log:
                self._log.close()
        self._save()
        if not self._ranks.first:
            raise RankFinished
        if self._average:
            self._model.load_state_dict(self._average.module.state_dict())
        self._model.eval()
        now, recent = self._standing, self._standing.recent
        loss = float(np.mean(recent)) if recent else math.nan
        used = {
            "device": self._device, "threads": self._threads, "processes": self._ranks.world, "batch_parts": now.parts,
        }  # fmt: skip
        loop = self._settings.model_dump(mode="json") | used
        return Outcome(now.step, now.step / self._batches, now.elapsed, loss, len(self._data), loop)

    def _prepared(self) -> Iterator[tuple[int, dict[str, Any]]]:
        workers = self._settings.workers
        if workers is None:
            workers = 0 if self._device == "cpu" else os.cpu_count() or 1
        return prepared_batches(
            self._data, self._settings.batch, self._settings.epochs, self._settings.seed, first=self._standing.step,
            workers=workers, share=self._ranks.share, parts=self._standing.parts,
        )  # fmt: skip

    def _step(self, prepared: Iterator[tuple[int, dict[str, Any]]], rate: float) -> bool:
        """One step of the optimiser, over as many batches as it gathers; False where memory did not suffice, and all is
        as it was but for smaller parts."""
        before = self._standing
        self._at = replace(before, recent=list(before.recent))
        if not self._settings.freeze_statistics:
            self._buffers = {name: buffer.clone() for name, buffer in self._model.named_buffers()}
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        _training_mode(self._model, self._settings.freeze_statistics)
        wrong: Exception | None = None
        terms: dict[str, float] = {}
        try:
            terms = self._gather(prepared, rate)
        except _NotFiniteError as error:
            code, wrong = NOT_FINITE, error
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            code = OUT_OF_MEMORY
        else:
            code = FINE
        code = self._ranks.worst(code, self._device)
        if code == OUT_OF_MEMORY:
            self._divide()
            return False
        if code == FINE:
            self._ranks.sum_gradients(self._model)
            norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._settings.clip_norm)
            if not bool(torch.isfinite(norm)):
                code, wrong = (
                    NOT_FINITE,
                    _NotFiniteError(f"{self._place(self._standing.step)}: its gradient's norm = {float(norm)}"),
                )
        if code == NOT_FINITE:
            raise self._not_finite(str(wrong or f"{self._place(self._standing.step)}, in another of its processes"))
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        if self._average:
            self._average.update_parameters(self._model)
        self._at = None
        if self._log:
            self._log.add(
                {
                    "step": self._standing.step,
                    "epoch": self._standing.step / self._batches,
                    "images": self._seen(),
                    "seconds": round(self._standing.elapsed, 3),
                    "learning_rate": rate,
                    "loss": sum(terms.values()),
                },
                terms,
            )
        self._tell(rate)
        return True

    def _seen(self) -> int:
        epochs, batches = divmod(self._standing.step, self._batches)
        return epochs * len(self._data) + min(batches * self._settings.batch, len(self._data))

    def _gather(self, prepared: Iterator[tuple[int, dict[str, Any]]], rate: float) -> dict[str, float]:
        """Gradients of the batches up to the next step of the optimiser; the terms of the last one."""
        while True:
            indices_in_batch = self._size_of_batch()
            summed: dict[str, float] = {}
            for part in range(self._standing.parts):
                count, batch = next(prepared)
                if not count:
                    continue
                torch.manual_seed(hash((self._settings.seed, self._standing.step, part, self._ranks.rank)) % 2**63)
                terms = self._loss(self._model, to_device(batch, self._device))
                weight = 1.0 if self._loss_grows else count / indices_in_batch
                for name, term in terms.items():
                    if not bool(torch.isfinite(term)):
                        raise _NotFiniteError(
                            f"{self._place(self._standing.step + 1)}: {name} = {float(term.detach())}"
                        )
                    summed[name] = summed.get(name, 0.0) + float(term.detach()) * weight
                (torch.stack(list(terms.values())).sum() * weight).backward()
            now = self._standing
            now.step += 1
            now.recent = [*now.recent[-49:], sum(summed.values()) / indices_in_batch]
            if now.step % self._every == 0 or now.step % self._batches == 0:
                return summed
            self._tell(rate)

    def _size_of_batch(self) -> int:
        place, whole = self._standing.step % self._batches, self._settings.batch
        return min(whole, len(self._data) - place * whole)

    def _place(self, step: int) -> str:
        return f"step {step}, epoch {(step - 1) // self._batches + 1}"

    def _divide(self) -> None:
        """Go back to the last step of the optimiser, to take each batch in twice as many parts."""
        assert self._at is not None
        parts = self._at.parts * 2
        if parts >= 2 * self._settings.batch:
            raise WardposeError(
                "memory does not suffice for one picture at a time", where="training",
                mend="give a smaller --size, end other programs, or tune a smaller model",
            )  # fmt: skip
        self._optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, buffer in self._model.named_buffers():
                if name in self._buffers:
                    buffer.copy_(self._buffers[name])
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()
        self._standing, self._at = replace(self._at, parts=parts), None
        size = max(1, self._settings.batch // parts // self._ranks.world)
        self._said = f"  memory was short: {size} at a time, {self._settings.batch} a batch as before"

    def _not_finite(self, what: str) -> WardposeError:
        good = ""
        if self._checkpoint is not None and self._ranks.first:
            try:
                self._save()
            except WardposeError:  # the weights themselves are no numbers any more: the file holds the last that were
                pass
            if self._checkpoint.is_file():
                step = self._at.step if self._at else self._standing.step
                good = f"; the weights after step {step} are kept in {self._checkpoint}"
        return WardposeError(f"the loss is not finite at {what}{good}", mend="train with a lower learning rate")

    def _tell(self, rate: float) -> None:
        if not self._progress:
            return
        now, settings = self._standing, self._settings
        epoch = (now.step - 1) // self._batches
        note = f"epoch {epoch + 1}/{settings.epochs}  loss {np.mean(now.recent):.4g}  rate {rate:.2g}{self._said}"
        if settings.minutes is None:
            self._progress(now.step, self._total, note)
        else:
            fraction = _fraction(now.step, self._total, now.elapsed, settings)
            minutes = f"step {now.step}  {now.elapsed / 60:.1f}/{settings.minutes:g} min"
            self._progress(int(fraction * 1000), 1000, f"{note}  {minutes}")

    def _fraction(self) -> float:
        own = _fraction(self._standing.step, self._total, self._standing.elapsed, self._settings)
        return self._ranks.of_the_first(own, self._device)

    def _save(self) -> None:
        """Write the checkpoint: as all was at the last step of the optimiser, where the next is under way."""
        if self._checkpoint is None or not self._ranks.first:
            return
        at, buffers = (self._standing, {}) if self._at is None else (self._at, self._buffers)
        save_training(self._checkpoint, self._model, self._optimizer, self._average, self._fingerprint, at, buffers)

    def _keep_epoch(self) -> None:
        """Keep the weights at the end of one of the first epochs."""
        epoch, place = divmod(self._standing.step, self._batches)
        if self._checkpoint is None or not self._ranks.first or place or epoch > self._settings.keep_epochs:
            return
        model = self._average.module if self._average else self._model
        write_safetensors(self._checkpoint.with_name(f"epoch-{epoch}.safetensors"), state_of(model))


def _is_out_of_memory(error: Exception) -> bool:
    """torch has an error of its own for a GPU; on a CPU it is a plain one whose words tell."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


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
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:  # heads may share theirs
                seen.add(id(parameter))
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
    kept = settings.model_dump(exclude={"minutes", "threads", "device", "workers", "keep_epochs"})
    kept["images"] = images
    kept["tensors"] = sum(value.numel() for value in model.state_dict().values())
    return json.dumps(kept, sort_keys=True)
