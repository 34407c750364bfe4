"""A trainer by the contract, whole and small: it runs wherever torch, safetensors, Pillow and onnx are.

    python example_trainer.py TASK.json

Its detector is a toy: one box and one score from a few convolutions. What is to be copied is the rest: how a task is
read, how each step is told, how it stops and goes on, what it writes, how it answers the pictures that its export is
held against. Nothing of wardpose is imported. It trains in one process, and takes each batch as a whole.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

MEAN, STD = np.array([123.675, 116.28, 103.53], np.float32), np.array([58.395, 57.12, 57.375], np.float32)


class Toy(torch.nn.Module):  # type: ignore[misc]
    """Pictures (B, 3, H, W), normalised, to (B, 1, 4 + classes)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.trunk = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.SiLU(), torch.nn.Conv2d(8, 16, 3, 2, 1), torch.nn.SiLU()
        )
        self.head = torch.nn.Linear(16, 4 + classes)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = torch.sigmoid(self.head(self.trunk(pictures).mean((2, 3))))[:, None]
        return answer


def samples(task: dict[str, Any]) -> list[tuple[Path, Any]]:
    """Each picture's file and the largest person's box: centre and size in parts of the picture."""
    folder = Path(task["data"])
    content = json.loads((folder / "annotations.json").read_text())
    boxes: dict[int, list[float]] = {}
    for row in content["annotations"]:
        if row["image_id"] not in boxes or row["bbox"][2] * row["bbox"][3] > np.prod(boxes[row["image_id"]][2:]):
            boxes[row["image_id"]] = row["bbox"]
    found = []
    for image in content["images"]:
        if image["id"] in boxes:
            x, y, w, h = boxes[image["id"]]
            scale = (image["width"], image["height"], image["width"], image["height"])
            box = np.array([x + w / 2, y + h / 2, w, h]) / scale
            found.append((folder / "images" / image["file_name"], box.astype(np.float32)))
    return found


def write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Whole or not at all: a file that is cut off would be gone on from."""
    save_file(tensors, f"{path}.part")
    os.replace(f"{path}.part", path)


def tune(task: dict[str, Any], model: Toy, out: Path) -> bool:
    data, size, resume = samples(task), (task["width"], task["height"]), out / "resume.safetensors"
    optimizer = torch.optim.SGD(model.parameters(), lr=task["learning_rate"])  # without momentum: no state of its own
    batches = -(-len(data) // task["batch"])
    step, seconds, stopping = 0, 0.0, list[bool]()
    if resume.exists():
        kept = load_file(resume)
        step, seconds = int(kept.pop("step")), float(kept.pop("seconds"))
        model.load_state_dict(kept)
    began, longest = time.monotonic() - seconds, 60 * (task["minutes"] or float("inf"))
    signal.signal(signal.SIGINT, lambda *_: stopping.append(True))
    with (out / "metrics.jsonl").open("a") as metrics:
        while step < task["epochs"] * batches and seconds < longest and not stopping:
            epoch, place = divmod(step, batches)
            order = np.random.default_rng((task["seed"], epoch)).permutation(len(data))
            chosen = [data[i] for i in order[place * task["batch"] : (place + 1) * task["batch"]]]
            pictures = [np.asarray(Image.open(path).convert("RGB").resize(size), np.float32) for path, _ in chosen]
            answer = model(torch.from_numpy((np.stack(pictures) - MEAN) / STD).permute(0, 3, 1, 2))[:, 0]
            truth = torch.from_numpy(np.stack([box for _, box in chosen]))
            loss = (answer[:, :4] - truth).abs().mean() - answer[:, 4 + task["person_class"]].log().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step, seconds = step + 1, time.monotonic() - began
            write(resume, model.state_dict() | {"step": torch.tensor(step), "seconds": torch.tensor(seconds)})
            row = {"step": step, "steps": task["epochs"] * batches, "epoch": step / batches, "loss": loss.item()}
            row["seconds"] = seconds
            metrics.write(json.dumps(row) + "\n")
            metrics.flush()
    return not stopping


def main() -> int:
    task = json.loads(Path(sys.argv[1]).read_text())
    torch.manual_seed(task["seed"])
    if task["threads"]:
        torch.set_num_threads(task["threads"])
    model, out = Toy(task["classes"]), Path(task["out"])
    if task["weights"]:
        model.load_state_dict(load_file(task["weights"]))
    if task["action"] == "tune" and not tune(task, model, out):
        return 130
    if task["pictures"]:
        with torch.no_grad():
            write(out / "answers.safetensors", {"answers": model.eval()(load_file(task["pictures"])["pictures"])})
    if task["action"] == "probe":
        return 0
    write(out / "checkpoint.safetensors", model.state_dict())
    picture = torch.zeros(1, 3, task["height"], task["width"])
    draft = str(out / "model.onnx.part")
    torch.onnx.export(
        model.eval(), (picture,), draft, input_names=["images"], output_names=["output"], opset_version=17, dynamo=False
    )
    os.replace(draft, out / "model.onnx")
    return 0


if __name__ == "__main__":
    sys.exit(main())
