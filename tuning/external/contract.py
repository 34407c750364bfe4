"""The contract with a trainer that has an environment of its own: what it is told, what it writes, how it ends.

A trainer is one Python file. It is run as `PYTHON FILE TASK.json`, where TASK.json is an `ExternalTask`, by the
interpreter of its own environment, without a network, in a session of its own. It imports nothing of wardpose.

It writes into the folder `out`:

- `metrics.jsonl`, a line of JSON for every step: `step`, `steps`, `epoch`, `loss`, and any further numbers;
- `checkpoint.safetensors`, the model's weights, when it has ended;
- `model.onnx`, the model for pictures [1, 3, height, width] to [1, M, 4 + classes]: boxes as centre and size in parts
  of the picture, and scores of 0…1 (layout `detr` of `runtime.model_info`);
- `epoch-N.safetensors`, the weights at the end of epoch N, for the first `keep_epochs` epochs, where it likes;
- anything else that it wants to go on from, named `resume*`.

Given the same task again with the same `out`, it goes on from what it left there. On SIGINT it saves that and ends with
130. It ends with 0 when all is written; otherwise the last line it wrote to standard error says why.
`example_trainer.py` beside this file is one that runs anywhere torch does; those that come with wardpose share
`torch_trainer.py`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

METRICS, CHECKPOINT, ONNX, RESUME = "metrics.jsonl", "checkpoint.safetensors", "model.onnx", "resume*"


class ExternalTask(BaseModel):
    """What a trainer is asked to do. Paths are absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = Field(default=1, title="Of this contract")
    action: Literal["tune", "export"] = Field(title="Train and write the model, or write it as it is")
    architecture: str = Field(title="Which of its models")
    weights: str | None = Field(default=None, title="Weights to begin with (safetensors; None: random ones)")
    data: str | None = Field(default=None, title="COCO folder: annotations.json, images/; boxes are visible extents")
    out: str = Field(title="Folder that it writes into")
    checkout: str | None = Field(default=None, title="Folder of its authors' code, where it needs one")
    width: int = Field(title="Input width (px)")
    height: int = Field(title="Input height (px)")
    classes: int = Field(default=1, title="Classes that the model scores")
    person_class: int = Field(default=0, title="Which of them is the person")
    epochs: int = Field(default=1, title="Passes over the images")
    keep_epochs: int = Field(default=0, title="First epochs whose weights are kept beside the last ones")
    batch: int = Field(default=16, title="Images of a step")
    learning_rate: float = Field(default=1e-6, title="Learning rate")
    seed: int = Field(default=0, title="Seed")
    threads: int | None = Field(default=None, title="CPU threads")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", title="Device")
