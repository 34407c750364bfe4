"""The contract with a trainer that has an environment of its own: what it is told, what it writes, how it ends.

A trainer is one Python file. It is run as `PYTHON FILE TASK.json`, where TASK.json is an `ExternalTask`, by the
interpreter of its own environment, without a network, in a session of its own. It imports nothing of wardpose.

Asked to `tune` or to `export`, it writes into the folder `out`:

- `metrics.jsonl`, a line of JSON for every step: `step`, `steps`, `epoch`, `loss`, where it likes `seconds` (of work so
  far), `note` (a few words for whoever waits) and any further numbers;
- `checkpoint.safetensors`, the model's weights, when it has ended;
- `model.onnx`, the model for pictures [1, 3, height, width] to [1, M, 4 + classes]: boxes as centre and size in parts
  of the picture, and scores of 0…1 (layout `detr` of `runtime.model_info`);
- `epoch-N.safetensors`, the weights at the end of epoch N, for the first `keep_epochs` epochs, where it likes;
- anything else that it wants to go on from, named `resume*`.

The model's pictures are RGB less (123.675, 116.28, 103.53), divided by (58.395, 57.12, 57.375).

Asked to `probe`, and wherever it is asked to `export` and given `pictures`, it answers those pictures by its own
framework, not by the file that it exports: `pictures` is a file of safetensors whose tensor `pictures` (N, 3, height,
width) is what the model takes, and it writes `answers.safetensors`, whose tensor `answers` (N, M, 4 + classes) means
what the file's output does. Its export is held against these answers. A trainer that has no answers writes none and
ends with 0; nobody can compare its file with its model then, and the gate says so.

Given the same task again with the same `out`, it goes on from what it left there. When `minutes` of work are over, it
ends as if all were done, with the weights of the last whole step. Where memory is short for a batch, it takes the batch
in parts and says so in a `note`. On SIGINT it saves what it goes on from and ends with 130. With `processes` of more
than one it starts the others itself; what it has started is killed when it ends. It ends with 0 when all is written;
otherwise the last line it wrote to standard error says why.
`example_trainer.py` beside this file is one that runs anywhere torch does; those that come with wardpose share
`torch_trainer.py`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

METRICS, CHECKPOINT, ONNX, ANSWERS = "metrics.jsonl", "checkpoint.safetensors", "model.onnx", "answers.safetensors"


class ExternalTask(BaseModel):
    """What a trainer is asked to do. Paths are absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = Field(default=1, title="Of this contract")
    action: Literal["tune", "export", "probe"] = Field(title="Train and write the model, write it, or answer pictures")
    architecture: str = Field(title="Which of its models")
    weights: str | None = Field(default=None, title="Weights to begin with (safetensors; None: random ones)")
    data: str | None = Field(default=None, title="COCO folder: annotations.json, images/; boxes are visible extents")
    pictures: str | None = Field(default=None, title="Pictures that it answers (safetensors)")
    out: str = Field(title="Folder that it writes into")
    checkout: str | None = Field(default=None, title="Folder of its authors' code, where it needs one")
    width: int = Field(title="Input width (px)")
    height: int = Field(title="Input height (px)")
    classes: int = Field(default=1, title="Classes that the model scores")
    person_class: int = Field(default=0, title="Which of them is the person")
    epochs: int = Field(default=1, title="Passes over the images")
    minutes: float | None = Field(default=None, title="Time that it may train (min)")
    keep_epochs: int = Field(default=0, title="First epochs whose weights are kept beside the last ones")
    batch: int = Field(default=16, title="Images of a step")
    learning_rate: float = Field(default=1e-6, title="Learning rate")
    flip: float = Field(default=0.0, title="Chance of a mirrored picture")
    seed: int = Field(default=0, title="Seed")
    threads: int | None = Field(default=None, title="CPU threads of each process")
    processes: int = Field(default=1, title="Processes that train together, one for each GPU")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", title="Device")
