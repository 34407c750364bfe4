"""What the trainers that come with wardpose share: their samples, the loop that stops and goes on, what they write.

They are run by the interpreters of other environments, so that this file imports torch, numpy, Pillow and safetensors
and nothing else of wardpose. A trainer of one's own needs none of it; `example_trainer.py` is whole without.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_PAD = 114
_CLIP_NORM = 0.1
_WEIGHT_DECAY = 1e-4

Task = dict[str, Any]
# From a task: the model, of its weights or of random ones.
Build = Callable[[Task], Any]
# The terms of a batch's loss: of the model, pictures (B, 3, H, W), each picture's boxes (n, 4) xyxy (px) and the task.
Losses = Callable[[Any, torch.Tensor, list[torch.Tensor], Task], list[torch.Tensor]]
# The model as it is exported: pictures (1, 3, H, W) to (1, M, 4 + classes).
Plain = Callable[[Any, Task], torch.nn.Module]


class Samples:
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

    def sample(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        width, height = self._size
        picture = Image.open(self._pictures[index]).convert("RGB")
        scale = min(width / picture.width, height / picture.height)
        wide, high = round(picture.width * scale), round(picture.height * scale)
        left, top = (width - wide) // 2, (height - high) // 2
        canvas = Image.new("RGB", self._size, (_PAD,) * 3)
        canvas.paste(picture.resize((wide, high), Image.Resampling.BILINEAR), (left, top))
        color = (torch.from_numpy(np.asarray(canvas, np.float32)) - torch.tensor(_MEAN)) / torch.tensor(_STD)
        return color.permute(2, 0, 1), self._boxes[index] * scale + torch.tensor([left, top] * 2)


def carry_out(build: Build, losses: Losses, plain: Plain) -> int:
    """Do the task that the command line names; returns what the process ends with."""
    task = json.loads(Path(sys.argv[1]).read_text())
    if task["threads"]:
        torch.set_num_threads(task["threads"])
    out, model = Path(task["out"]), build(task)
    if task["action"] == "tune" and not _tune(task, model, losses, out):
        return 130
    _write(out / "checkpoint.safetensors", model.state_dict())
    draft = str(out / "model.onnx.part")
    with torch.no_grad():
        torch.onnx.export(
            plain(model.eval(), task), (torch.zeros(1, 3, task["height"], task["width"]),), draft, opset_version=18,
            input_names=["images"], output_names=["output"], dynamo=False,
        )  # fmt: skip
    os.replace(draft, out / "model.onnx")
    return 0


def _tune(task: Task, model: Any, losses: Losses, out: Path) -> bool:
    """Train in place; False where it was asked to stop, and has saved what it goes on from."""
    device = "cuda" if task["device"] != "cpu" and torch.cuda.is_available() else "cpu"
    data, resume = Samples(task), out / "resume.safetensors"
    model.to(device).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=task["learning_rate"], weight_decay=_WEIGHT_DECAY)
    batches = -(-len(data) // task["batch"])
    step, stopping = (_restore(resume, model, optimizer) if resume.exists() else 0), list[bool]()
    signal.signal(signal.SIGINT, lambda *_: stopping.append(True))
    with (out / "metrics.jsonl").open("a") as metrics:
        while step < task["epochs"] * batches and not stopping:
            epoch, place = divmod(step, batches)
            order = np.random.default_rng((task["seed"], epoch)).permutation(len(data))
            chosen = [data.sample(i) for i in order[place * task["batch"] : (place + 1) * task["batch"]]]
            torch.manual_seed(hash((task["seed"], step)) % 2**63)
            pictures = torch.stack([picture for picture, _ in chosen]).to(device)
            loss: Any = sum(losses(model, pictures, [boxes.to(device) for _, boxes in chosen], task))
            if not bool(torch.isfinite(loss)):
                sys.exit(f"the loss is not finite at step {step + 1}; the weights after step {step} are in {resume}")
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, _CLIP_NORM)
            optimizer.step()
            step += 1
            if step % batches == 0 and step // batches <= task["keep_epochs"]:
                _write(out / f"epoch-{step // batches}.safetensors", model.state_dict())
            _write(resume, _kept(model, optimizer, step))
            row = {"step": step, "steps": task["epochs"] * batches, "epoch": step / batches, "loss": float(loss)}
            metrics.write(json.dumps(row | {"learning_rate": task["learning_rate"]}) + "\n")
            metrics.flush()
    model.to("cpu")
    return not stopping


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Whole or not at all: a file that is cut off would be gone on from."""
    save_file({name: value.detach().contiguous().clone() for name, value in tensors.items()}, f"{path}.part")
    os.replace(f"{path}.part", path)


def _kept(model: Any, optimizer: Any, step: int) -> dict[str, torch.Tensor]:
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    return state | {"step": torch.tensor(step)}


def _restore(path: Path, model: Any, optimizer: Any) -> int:
    kept = load_file(path)
    model.load_state_dict({k.removeprefix("model."): v for k, v in kept.items() if k.startswith("model.")})
    own = optimizer.state_dict()
    own["state"] = {}
    for key, value in kept.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            own["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(own)
    return int(kept["step"])
