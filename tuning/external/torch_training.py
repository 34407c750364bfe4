"""The training that the trainers which come with wardpose share: it stops and goes on, keeps to its time, takes a batch
in parts where memory is short, and runs in several processes.

It is run by the interpreters of other environments, so that this file imports torch, numpy, Pillow and safetensors, and
of wardpose what needs no more than these.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from safetensors.torch import load_file, save_file

from calibration.processes import die_with_parent
from tuning.train.ranks import FINE, NOT_FINITE, OUT_OF_MEMORY, ended_with, ranks, taking_part

_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_PAD = 114
_CLIP_NORM = 0.1
_WEIGHT_DECAY = 1e-4
_RANK = "WARDPOSE_RANK"  # in the environment of each process of a training but the first
_SECONDS_BETWEEN_SAVES = 60.0
_ON, _OVER, _STOPPED = range(3)

Task = dict[str, Any]
# The terms of a batch's loss: of the model, pictures (B, 3, H, W), each picture's boxes (n, 4) xyxy (px) and the task.
Losses = Callable[[Any, torch.Tensor, list[torch.Tensor], Task], list[torch.Tensor]]


def train(task: Task, model: Any, losses: Losses) -> bool:
    """Train the model in place by the task; False where it was asked to stop, and has saved what it goes on from."""
    device = "cuda" if task["device"] != "cpu" and torch.cuda.is_available() else "cpu"
    with _together(task["processes"], device):
        return _Training(task, model, losses, device).run()


def first() -> bool:
    """Whether this is the process of a training that writes what comes of it."""
    return _rank() == 0


class _Samples:
    """Pictures as the runtime letterboxes them, and their people's boxes xyxy in the input's pixels."""

    def __init__(self, task: Task) -> None:
        folder = Path(task["data"])
        content = json.loads((folder / "annotations.json").read_text())
        self._size = (task["width"], task["height"])
        self._pictures = [folder / "images" / image["file_name"] for image in content["images"]]
        boxes: dict[int, list[list[float]]] = {image["id"]: [] for image in content["images"]}
        for row in content["annotations"]:
            x, y, w, h = row["bbox"]
            if not row.get("iscrowd") and w > 0 and h > 0:
                boxes[row["image_id"]].append([x, y, x + w, y + h])
        self._boxes = [torch.tensor(rows, dtype=torch.float32).reshape(-1, 4) for rows in boxes.values()]

    def __len__(self) -> int:
        return len(self._pictures)

    def sample(self, index: int, *, mirrored: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """The picture (3, height, width), normalised, and its people's boxes (n, 4)."""
        width, height = self._size
        picture = Image.open(self._pictures[index]).convert("RGB")
        scale = min(width / picture.width, height / picture.height)
        wide, high = round(picture.width * scale), round(picture.height * scale)
        left, top = (width - wide) // 2, (height - high) // 2
        canvas = Image.new("RGB", self._size, (_PAD,) * 3)
        canvas.paste(picture.resize((wide, high), Image.Resampling.BILINEAR), (left, top))
        color = (torch.from_numpy(np.asarray(canvas, np.float32)) - torch.tensor(_MEAN)) / torch.tensor(_STD)
        boxes = self._boxes[index] * scale + torch.tensor([left, top] * 2)
        if mirrored:
            left_edge, top_edge, right_edge, bottom_edge = boxes.unbind(1)
            color, boxes = color.flip(1), torch.stack([width - right_edge, top_edge, width - left_edge, bottom_edge], 1)
        return color.permute(2, 0, 1), boxes


def _rank() -> int:
    return int(os.environ.get(_RANK, "0"))


@contextlib.contextmanager
def _together(world: int, device: str) -> Iterator[None]:
    """Be one of `world` processes that do this task; the first starts the others, and they end with it."""
    if world == 1:
        yield
        return
    rank = _rank()
    others = [
        subprocess.Popen(
            [sys.executable, *sys.argv], env=os.environ | {_RANK: str(other)}, preexec_fn=die_with_parent()
        )
        for other in (() if rank else range(1, world))
    ]
    with ended_with(others), taking_part(rank, world, f"{Path(sys.argv[1]).absolute()}.meeting", device):
        yield


@contextlib.contextmanager
def _by_itself() -> Iterator[None]:
    """Authors' code is told that it is alone. In the midst of a loss it would ask the other processes how many people
    they have, and wait for ever for one that has no pictures or no memory."""
    known = dist.is_initialized
    dist.__dict__["is_initialized"] = lambda: False
    try:
        yield
    finally:
        dist.__dict__["is_initialized"] = known


class _Training:
    """A training in place, by one process or this one's part of it."""

    def __init__(self, task: Task, model: Any, losses: Losses, device: str) -> None:
        self._task, self._model, self._losses, self._device = task, model.to(device).train(), losses, device
        self._ranks, self._out = ranks(), Path(task["out"])
        self._resume = self._out / "resume.safetensors"
        self._data, self._trained = _Samples(task), [p for p in model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(self._trained, lr=task["learning_rate"], weight_decay=_WEIGHT_DECAY)
        self._batches = -(-len(self._data) // task["batch"])
        self._step, self._seconds, self._parts = 0, 0.0, 1
        if self._resume.exists():
            self._restore()
        self._ranks.of_the_first(0.0, device)  # everybody has read it before the first writes the next
        self._stopping = False

    def run(self) -> bool:
        """Train; False where it was asked to stop, and has saved what it goes on from."""
        signal.signal(signal.SIGINT, self._stop)
        saved = time.monotonic()
        began = saved - self._seconds
        with (self._out / "metrics.jsonl").open("a") as metrics:
            while (asked := self._asked()) == _ON:
                loss = self._one_step()
                self._seconds = time.monotonic() - began
                if not self._ranks.first or loss is None:
                    continue
                metrics.write(json.dumps(self._row(loss)) + "\n")
                metrics.flush()
                self._keep_epoch()
                if time.monotonic() - saved > _SECONDS_BETWEEN_SAVES:
                    self._save()
                    saved = time.monotonic()
        self._save()
        self._model.to("cpu")
        return asked == _OVER

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _asked(self) -> int:
        """Whether to go on, for all processes alike."""
        minutes, steps = self._task["minutes"], self._task["epochs"] * self._batches
        over = self._step >= steps or (minutes is not None and self._seconds >= 60 * minutes)
        return self._ranks.worst(_STOPPED if self._stopping else _OVER if over else _ON, self._device)

    def _one_step(self) -> float | None:
        """Take a step, and return the batch's loss; None where memory was short, and the next try takes it in smaller
        parts."""
        epoch, place = divmod(self._step, self._batches)
        order = np.random.default_rng((self._task["seed"], epoch)).permutation(len(self._data))
        batch: list[int] = order[place * self._task["batch"] : (place + 1) * self._task["batch"]].tolist()
        buffers = [buffer.clone() for buffer in self._model.buffers()]
        self._optimizer.zero_grad()
        code, loss = FINE, 0.0
        try:
            loss = self._gather(batch)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            code = OUT_OF_MEMORY
        if not math.isfinite(loss):
            code = NOT_FINITE
        code = self._ranks.worst(code, self._device)
        if code == FINE:
            self._ranks.sum_gradients(self._model)
            norm = torch.nn.utils.clip_grad_norm_(self._trained, _CLIP_NORM)
            code = FINE if bool(torch.isfinite(norm)) else NOT_FINITE
        if code == NOT_FINITE:
            self._give_back(buffers)
            self._save()
            sys.exit(f"the loss is not finite at step {self._step + 1}; the weights after step {self._step} are in "
                     f"{self._resume}")  # fmt: skip
        if code == OUT_OF_MEMORY:
            self._divide(buffers)
            return None
        self._optimizer.step()
        self._step += 1
        return loss

    def _gather(self, batch: list[int]) -> float:
        """Gradients of this process's share of a batch, part by part; returns that share's mean loss."""
        share, total = self._ranks.share(batch), 0.0
        for part in range(self._parts):
            if not (some := share[part :: self._parts]):
                continue
            torch.manual_seed(hash((self._task["seed"], self._step, part, self._ranks.rank)) % 2**63)
            chosen = [self._data.sample(index, mirrored=self._mirrored(index)) for index in some]
            pictures = torch.stack([picture for picture, _ in chosen]).to(self._device)
            boxes = [rows.to(self._device) for _, rows in chosen]
            with _by_itself():
                loss: Any = sum(self._losses(self._model, pictures, boxes, self._task)) * (len(some) / len(batch))
            loss.backward()
            total += float(loss.detach())
        return total * len(batch) / max(1, len(share))

    def _mirrored(self, index: int) -> bool:
        """By lot, and alike in however many processes and parts a batch is taken."""
        lot = np.random.default_rng((self._task["seed"], self._step, index)).random()
        return bool(lot < self._task["flip"])

    def _divide(self, buffers: list[torch.Tensor]) -> None:
        self._parts *= 2
        if self._parts >= 2 * self._task["batch"]:
            sys.exit("memory does not suffice for one picture at a time: give a smaller --size, or end other programs")
        self._optimizer.zero_grad(set_to_none=True)
        self._give_back(buffers)
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _give_back(self, buffers: list[torch.Tensor]) -> None:
        """What a step that was not finished has changed of the model's statistics is as before."""
        for buffer, before in zip(self._model.buffers(), buffers, strict=True):
            buffer.copy_(before)

    def _keep_epoch(self) -> None:
        epoch, place = divmod(self._step, self._batches)
        if not place and epoch <= self._task["keep_epochs"]:
            write_tensors(self._out / f"epoch-{epoch}.safetensors", self._model.state_dict())

    def _save(self) -> None:
        """Write what the training goes on from: as all was after the last whole step."""
        if not self._ranks.first:
            return
        state = {f"model.{name}": value for name, value in self._model.state_dict().items()}
        for index, values in self._optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
        standing = torch.tensor([self._step, self._parts, self._seconds], dtype=torch.float64)
        write_tensors(self._resume, state | {"standing": standing})

    def _row(self, loss: float) -> dict[str, Any]:
        """A line of the training's course; its loss is that of the first process's share."""
        task, parts = self._task, self._parts
        row = {
            "step": self._step, "steps": task["epochs"] * self._batches, "epoch": self._step / self._batches,
            "loss": loss, "seconds": round(self._seconds, 3),
            "learning_rate": task["learning_rate"], "batch_parts": parts, "processes": self._ranks.world,
        }  # fmt: skip
        if parts > 1:
            size = max(1, task["batch"] // parts // self._ranks.world)
            row["note"] = f"memory was short: {size} at a time, {task['batch']} a batch as before"
        return row

    def _restore(self) -> None:
        kept = load_file(self._resume)
        step, parts, seconds = kept.pop("standing").tolist()
        self._step, self._parts, self._seconds = int(step), int(parts), seconds
        self._model.load_state_dict(
            {name.removeprefix("model."): value for name, value in kept.items() if name.startswith("model.")}
        )
        own = self._optimizer.state_dict()
        own["state"] = {}
        for key, value in kept.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".")
                own["state"].setdefault(int(index), {})[name] = value
        self._optimizer.load_state_dict(own)


def _is_out_of_memory(error: Exception) -> bool:
    """torch has an error of its own for a GPU; on a CPU it is a plain one whose words tell."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Whole or not at all: a file that is cut off would be gone on from."""
    save_file({name: value.detach().contiguous().clone() for name, value in tensors.items()}, f"{path}.part")
    os.replace(f"{path}.part", path)
