"""A torch model's weights and answers as numpy arrays, and back: everything of ours that is torch but no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.errors import WardposeError
from tuning.store.weights import State


def seed_everything(seed: int) -> None:
    """Seed torch's generator: random weights are drawn from it."""
    torch.manual_seed(seed)


def state_of(model: Any) -> State:
    """`state_dict()` as numpy arrays of their own."""
    return {k: v.detach().cpu().numpy().copy() for k, v in model.state_dict().items()}


def load_into(model: Any, state: State, where: str) -> None:
    """Fill `model`, refusing a tensor that is missing, left over or of another shape (none is dropped silently)."""
    own = model.state_dict()
    # Counters of batches seen: no output depends on them, and older exports left them out.
    missing = sorted(k for k in set(own) - set(state) if not k.endswith("num_batches_tracked"))
    extra = sorted(set(state) - set(own))
    shapes = sorted(k for k in set(own) & set(state) if tuple(own[k].shape) != tuple(state[k].shape))
    if missing or extra or shapes:
        first = (missing + extra + shapes)[0]
        raise WardposeError(
            f"the weights do not fit the architecture ({len(missing)} tensors missing, {len(extra)} too many, "
            f"{len(shapes)} of another shape; first {first})",
            where=where,
            mend="name the right architecture",
        )
    model.load_state_dict({k: torch.from_numpy(np.array(v)).to(own[k].dtype) for k, v in state.items()}, strict=False)


def predict(model: Any, pictures: Any, *, bfloat16: bool) -> Any:
    """The model's answer, in bfloat16 where asked; floats come back as float32, since losses need their digits."""
    with torch.autocast(pictures.device.type, torch.bfloat16, enabled=bfloat16):
        return _as_float32(model(pictures))


def _as_float32(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if isinstance(value, dict):
        return {key: _as_float32(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_as_float32(item) for item in value)
    return value


def chain(**parts: Any) -> Any:
    """One module that feeds each part's output to the next; weights are named by the parts."""

    class Chain(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                self.add_module(name, part)

        def forward(self, value: Any) -> Any:
            for name in parts:
                value = getattr(self, name)(value)
            return value

    return Chain()


def begun(state: State | None, where: str, **parts: Any) -> Any:
    """A `chain` of mmpose's parts with the weights `state`, or with those that each part begins with by itself."""
    module = chain(**parts)
    if state is not None:
        load_into(module, state, where)
    else:
        for part in parts.values():
            part.init_weights()
    return module


def interpolate(before: State, after: State, alpha: float) -> State:
    """Weights `alpha` of the way from `before` to `after`; whole numbers are those of `after`."""
    return {
        k: (before[k] + np.float32(alpha) * (v - before[k])).astype(v.dtype) if v.dtype.kind == "f" else v
        for k, v in after.items()
    }


def forward(model: Any, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The model's outputs for a batch, in inference mode on the CPU, float32."""
    model.to("cpu").eval()
    with torch.inference_mode():
        outputs = model(torch.from_numpy(np.ascontiguousarray(batch)))
    return [o.numpy().astype(np.float32) for o in (outputs if isinstance(outputs, tuple | list) else [outputs])]


def write_onnx(
    model: Any, path: Path, *, width: int, height: int, opset: int, outputs: list[str], dynamic_batch: bool,
    halves: bool = False,
) -> None:  # fmt: skip
    """Trace `model` for a (1, 3, height, width) input into an ONNX file.

    halves: weights that the model keeps in half precision stay so in the file, and are widened where they are used.
    """
    import warnings

    model.to("cpu").eval()
    axes = {name: {0: "batch"} for name in ("images", *outputs)} if dynamic_batch else None
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracer notes on constant branches; the parity check judges the result
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, height, width),),
            str(path),
            opset_version=opset,
            input_names=["images"],
            output_names=outputs,
            dynamic_axes=axes,
            dynamo=False,
            do_constant_folding=not halves,
        )
