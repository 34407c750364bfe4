"""Writes small TensorFlow.js graph models, as the converters of the originals write them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def node(op: str, name: str, *inputs: str, **attributes: Any) -> dict[str, Any]:
    """One operation of a graph, its attributes in protobuf's JSON form."""
    return {"op": op, "name": name, "input": list(inputs), "attr": {k: _attribute(v) for k, v in attributes.items()}}


def picture(*shape: int) -> dict[str, Any]:
    """The graph's input."""
    dimensions = {"shape": {"dim": [{"size": str(size)} for size in shape]}}
    return {"op": "Placeholder", "name": "input", "attr": {"shape": dimensions}}


def convolution(name: str, source: str, weight: str, *, stride: int = 1, padding: str = "SAME", **more: Any) -> Any:
    """A Conv2D, or another `op`, with its usual attributes."""
    op = more.pop("op", "Conv2D")
    inputs = more.pop("inputs", ())
    usual = {"strides": [1, stride, stride, 1], "padding": padding, "data_format": "NHWC", "dilations": [1, 1, 1, 1]}
    return node(op, name, source, weight, *inputs, **(usual | more))


def write_graph(
    folder: Path, nodes: Sequence[Mapping[str, Any]], constants: Mapping[str, NDArray[Any]], *, name: str = "graph",
    half: bool = False,
) -> Path:  # fmt: skip
    """`<name>.json` and `<name>.bin`; half: float32 weights quantised to float16, as the published graphs have them."""
    weights, content = [], b""
    for key, value in constants.items():
        entry: dict[str, Any] = {"name": key, "shape": list(value.shape), "dtype": str(value.dtype)}
        if half and value.dtype == np.float32:
            entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
            value = value.astype(np.float16)
        weights.append(entry)
        content += value.tobytes()
    graph = {
        "format": "graph-model",
        "modelTopology": {"node": [*nodes, *({"op": "Const", "name": key} for key in constants)]},
        "weightsManifest": [{"paths": [f"{name}.bin"], "weights": weights}],
    }
    (folder / f"{name}.bin").write_bytes(content)
    (folder / f"{name}.json").write_text(json.dumps(graph))
    return folder / f"{name}.json"


def _attribute(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"type": value} if value.startswith("DT_") else {"s": base64.b64encode(value.encode()).decode()}
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, int):
        return {"i": str(value)}
    if isinstance(value, float):
        return {"f": value}
    inner = [_attribute(item) for item in value]
    kind = next(iter(inner[0])) if inner else "i"
    return {"list": {kind: [item[kind] for item in inner]} if inner else {}}
