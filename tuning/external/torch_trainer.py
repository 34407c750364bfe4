"""What the trainers that come with wardpose share: a task is done with the model that each builds.

They are run by the interpreters of other environments, so that this file and `torch_training.py` import torch, numpy,
Pillow and safetensors, and of wardpose what needs no more than these. A trainer of one's own needs neither;
`example_trainer.py` is whole without.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tuning.external.torch_training import Losses, Task, first, train, write_tensors

# From a task: the model, of its weights or of random ones.
Build = Callable[[Task], Any]
# The model as it is exported: pictures (1, 3, H, W) to (1, M, 4 + classes).
Plain = Callable[[Any, Task], torch.nn.Module]


def carry_out(build: Build, losses: Losses, plain: Plain) -> int:
    """Do the task that the command line names; returns what the process ends with."""
    task = json.loads(Path(sys.argv[1]).read_text())
    if (world := task["processes"]) > 1 or task["threads"]:
        torch.set_num_threads(task["threads"] or max(1, (os.cpu_count() or 1) // world))
    out, model = Path(task["out"]), build(task)
    if task["action"] == "tune" and not train(task, model, losses):
        return 130
    if not first():
        return 0
    exported = plain(model.eval(), task)
    if task["pictures"]:
        shown = load_file(task["pictures"])["pictures"]
        write_tensors(out / "answers.safetensors", {"answers": _answers(exported, shown)})
    if task["action"] == "probe":
        return 0
    write_tensors(out / "checkpoint.safetensors", model.state_dict())
    draft = str(out / "model.onnx.part")
    with torch.no_grad():
        torch.onnx.export(
            exported, (torch.zeros(1, 3, task["height"], task["width"]),), draft, opset_version=18,
            input_names=["images"], output_names=["output"], dynamo=False,
        )  # fmt: skip
    os.replace(draft, out / "model.onnx")
    return 0


def _answers(model: torch.nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    """What the framework itself says of each picture, before anything is written as ONNX."""
    with torch.no_grad():
        return torch.cat([model(picture[None]) for picture in pictures])
