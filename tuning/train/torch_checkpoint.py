"""What a training needs to go on: weights, optimiser, average, and how far it is; one safetensors file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from calibration.errors import WardposeError
from calibration.json_text import parse_json
from tuning.store.weights import State, read_safetensors, write_safetensors
from tuning.train.torch_state import load_into, state_of

_METADATA = "wardpose-training"


@dataclass(slots=True)
class Standing:
    """How far a training is. step: batches; parts: into how many each batch is divided, so that it fits the memory;
    recent: losses of the last batches, a picture's."""

    step: int = 0
    elapsed: float = 0.0
    parts: int = 1
    recent: list[float] = field(default_factory=list)


def save_training(
    path: Path, model: Any, optimizer: Any, average: Any | None, fingerprint: str, standing: Standing,
    buffers: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write the checkpoint, whole or not at all; WardposeError where a number in it is not finite.

    buffers: what the model's buffers were at `standing.step`, where they have moved on since.
    """
    weights = state_of(model)
    weights |= {name: value.detach().cpu().numpy() for name, value in (buffers or {}).items() if name in weights}
    state: State = {f"model.{k}": v for k, v in weights.items()}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            state[f"optimizer.{index}.{name}"] = value.detach().cpu().numpy()
    if average:
        state |= {f"average.{k}": v for k, v in state_of(average.module).items()}
    training = {
        "fingerprint": fingerprint,
        "step": standing.step,
        "elapsed": standing.elapsed,
        "parts": standing.parts,
        "recent": standing.recent,
        "updates": int(average.n_averaged) if average else 0,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(path, state, metadata={_METADATA: json.dumps(training)})


def restore_training(path: Path, model: Any, optimizer: Any, average: Any | None, fingerprint: str) -> Standing:
    """Fill model, optimiser and average from the checkpoint; WardposeError where it is another training's."""
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
    recent = [float(loss) for loss in training.get("recent", ())]
    return Standing(int(training["step"]), float(training["elapsed"]), int(training.get("parts", 1)), recent)
