"""Trainers by the contract, small enough for a test: one of numpy alone, and one on what ours share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tuning.external.environments import Architecture, Environment
from tuning.families.external import External

REPOSITORY = Path(__file__).resolve().parents[2]
HONEST, LIAR, MUTE = "small-honest", "small-liar", "small-mute"

# One box in the middle, surer the lighter the picture. The liar's framework says another one than its file; the mute
# one has no answers. Every start is noted beside the program.
_SMALL = """
import json, os, sys
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

task = json.load(open(sys.argv[1]))
open(__file__ + ".started", "a").write(json.dumps(task) + "\\n")
out, size = task["out"], [1, 3, task["height"], task["width"]]
weight = load_file(task["weights"])["weight"] if task["weights"] else np.full(1, 2.0, np.float32)
box = np.array([0.5, 0.5, 0.4, 0.6], np.float32)
if task["action"] == "tune":
    weight = weight + np.float32(0.1)
    row = {"step": 1, "steps": 1, "epoch": 1, "loss": 1, "seconds": 2.5, "note": "quite\\nwell", "batch_parts": 1}
    open(os.path.join(out, "metrics.jsonl"), "w").write(json.dumps(row) + "\\n")
if task["pictures"] and "mute" not in task["architecture"]:
    mean = load_file(task["pictures"])["pictures"].mean((1, 2, 3), dtype=np.float64)
    score = 1 / (1 + np.exp(-mean - weight))
    said = box + np.float32([0.05, 0, 0, 0]) if "liar" in task["architecture"] else box
    rows = np.concatenate([np.tile(said, (len(score), 1)), score[:, None]], 1)[:, None].astype(np.float32)
    save_file({"answers": rows}, os.path.join(out, "answers.safetensors"))
if task["action"] == "probe":
    sys.exit(0)
save_file({"weight": weight}, os.path.join(out, "checkpoint.safetensors"))
constants = {"axes": np.array([1, 2, 3]), "shape": np.array([1, 1, 1]), "weight": weight, "box": box.reshape(1, 1, 4)}
graph = helper.make_graph(
    [
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"]),
        helper.make_node("Reshape", ["mean", "shape"], ["flat"]),
        helper.make_node("Add", ["flat", "weight"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["score"]),
        helper.make_node("Concat", ["box", "score"], ["output"], axis=2),
    ],
    "small", [helper.make_tensor_value_info("images", TensorProto.FLOAT, size)],
    [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 5])],
    [numpy_helper.from_array(value, name) for name, value in constants.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
onnx.save(model, os.path.join(out, "model.onnx"))
"""

# What it can hold of a batch at once stands in its architecture's name.
_TORCH = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
import torch
from safetensors.torch import load_file
from tuning.external.torch_trainer import carry_out


class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.head = torch.nn.Conv2d(3, 8, 5, 4), torch.nn.Linear(8, 5)

    def forward(self, pictures):
        return torch.sigmoid(self.head(torch.relu(self.trunk(pictures)).mean((2, 3))))[:, None]


def build(task):
    torch.manual_seed(task["seed"])
    model = Toy()
    if task["weights"]:
        model.load_state_dict(load_file(task["weights"]))
    return model


def losses(model, pictures, boxes, task):
    if torch.distributed.is_initialized():
        raise ValueError("a loss could wait for other processes")
    if len(pictures) > int(task["architecture"].rpartition("-")[2]):
        raise torch.OutOfMemoryError("CUDA out of memory")
    size = torch.tensor([task["width"], task["height"]] * 2)
    truth = torch.stack([rows[0] / size for rows in boxes])
    answer = model(pictures)[:, 0]
    return [(answer[:, :4] - truth).abs().mean(), -answer[:, 4].log().mean()]


sys.exit(carry_out(build, losses, lambda model, task: model))
"""


def small_environment(place: Path) -> Environment:
    """The small trainer, written into `place`, run by this interpreter."""
    (program := place / "small_trainer.py").write_text(_SMALL)
    architectures = {name: Architecture(1, 0, least_cells=1) for name in (HONEST, LIAR, MUTE)}
    return Environment("small", program, architectures, interpreter=Path(sys.executable))


def register_small(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the product know the small trainer for this test; returns its program."""
    environment = small_environment(place)
    monkeypatch.setattr(External, "environments", {"small": environment})
    return environment.trainer


def starts(program: Path) -> Sequence[str]:
    """The tasks that it was started with."""
    return Path(f"{program}.started").read_text().splitlines()


def torch_toy(place: Path) -> Path:
    """A trainer on `tuning.external.torch_trainer`."""
    (program := place / "torch_toy.py").write_text(_TORCH)
    return program
