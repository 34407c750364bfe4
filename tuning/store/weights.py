"""Weights on disk: tensors as `.safetensors`, checked by their SHA-256."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.atomic import write_bytes
from calibration.errors import WardposeError
from tuning.store.card import ModelCard, verify_weights

State = dict[str, NDArray[Any]]
OWN_ENTRY = "architecture"  # the one entry of metadata in the files of tensors that are ours


def read_weights(folder: Path, card: ModelCard) -> State:
    """Every tensor of a model folder as numpy arrays, halves widened to float32, after its SHA-256 was checked."""
    return read_safetensors(verify_weights(folder, card))[0]


def read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    """The tensors (halves widened to float32) and the metadata of a `.safetensors` file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            state = {key: np.asarray(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise WardposeError("no such file", where=str(path), mend="check the path") from None
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise WardposeError(f"not a safetensors file ({error})", where=str(path), mend="copy the file again") from None
    return {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in state.items()}, metadata


def write_safetensors(path: Path, state: State, *, half: bool = False, metadata: dict[str, str] | None = None) -> None:
    """Write atomically; `half` stores float32 as float16 (refused where a value would overflow).

    metadata: of one entry at most where the same weights must give the same file (safetensors shuffles several).
    """
    from safetensors.numpy import save

    stored: State = {}
    for name, value in state.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise WardposeError(f"the tensor {name} is not finite", where=str(path), mend="lower the learning rate")
        if half and value.dtype == np.float32:
            if value.size and np.abs(value).max() > np.finfo(np.float16).max:
                raise WardposeError(f"the tensor {name} does not fit half precision", where=str(path))
            value = value.astype(np.float16)
        stored[name] = np.ascontiguousarray(value).reshape(value.shape)
    write_bytes(path, save(stored, metadata=metadata))
