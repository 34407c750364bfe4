"""An ONNX graph in the making, with a note of how TensorFlow sees the axes of each tensor.

TensorFlow's picture tensors have their channels last, ONNX's first. Each tensor of the graph is kept as an ONNX tensor
and its *axes*: `axes[i]` says which axis of the ONNX tensor is the i-th of TensorFlow's. A Transpose then changes the
note alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tuning.tfjs.graph import Graph, Node

OPSET = 17
INPUT = "images"
CHANNELS_LAST = (0, 2, 3, 1)
CHANNELS_FIRST = (0, 1, 2, 3)
_IR_VERSION = 8  # of the ONNX release that brought opset 17
Axes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor on its way: an ONNX tensor, its shape (batch counted as 1) and the axes TensorFlow sees.

    pads, fill: a padding that is still owed, (before, after) an ONNX axis; the next convolution or pooling
    takes it over.
    """

    name: str
    shape: tuple[int, ...]
    axes: Axes
    pads: Pads | None = None
    fill: float = 0.0

    @property
    def seen(self) -> tuple[int, ...]:
        """The shape as TensorFlow sees it."""
        return tuple(self.shape[axis] for axis in self.axes)


Value = Tensor | NDArray[Any]


class Writer:
    """Collects ONNX nodes; `values` holds what each tensor of the graph has become, constants as arrays."""

    def __init__(self, graph: Graph, needed: Sequence[Node], outputs: Sequence[str]) -> None:
        self.graph = graph
        self.input_shape: tuple[int, ...] = ()
        self.values: dict[str, Value] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.counts: Counter[str] = Counter()
        self.readers = Counter([*outputs, *(name for node in needed for name in node.inputs)])

    def emit(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> list[str]:
        """Write one ONNX node; returns the names of its outputs."""
        self.counts[op] += 1
        name = f"{op.lower()}_{self.counts[op]}"
        names = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, **attributes))
        return names

    def constant(self, value: NDArray[Any], name: str = "") -> str:
        self.counts["constant"] += 1
        name = name or f"constant_{self.counts['constant']}"
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        return name

    def settled(self, value: Value) -> Tensor:
        """A tensor whose padding, where it still owes one, is written out."""
        tensor = as_tensor(value)
        if tensor.pads is None:
            return tensor
        ends = np.array(tensor.pads, np.int64).T.reshape(-1)
        inputs = [tensor.name, self.constant(ends), self.constant(np.array(tensor.fill, np.float32))]
        (name,) = self.emit("Pad", inputs)
        return Tensor(name, _padded(tensor), tensor.axes)

    def arranged(self, value: Value, axes: Axes) -> Tensor:
        """The same tensor lying so that TensorFlow's axes are `axes`: a Transpose only where it lies otherwise."""
        tensor = self.settled(value)
        if tensor.axes == axes:
            return tensor
        if len(axes) != len(tensor.shape) or sorted(axes) != sorted(tensor.axes):
            raise ValueError("axes do not match")
        order = [tensor.axes[axes.index(axis)] for axis in range(len(axes))]
        (name,) = self.emit("Transpose", [tensor.name], perm=order)
        return Tensor(name, tuple(tensor.shape[axis] for axis in order), axes)

    def model(self, outputs: Mapping[str, str]) -> onnx.ModelProto:
        """All that was written, with `outputs` (ONNX name to tensor) channels first, looked at by ONNX's checker."""
        described = []
        for name, node in outputs.items():
            tensor = self.settled(self.values[node])
            self.nodes.append(helper.make_node("Identity", [tensor.name], [name], name=name))
            # Only the channels are the same for every input size.
            shape = ["batch", tensor.shape[1], *(f"{name}.{axis}" for axis in range(2, len(tensor.shape)))]
            described.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        images = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", *self.input_shape[1:]])
        graph = helper.make_graph(self.nodes, "tfjs", [images], described, list(self.initializers.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, producer_name="wardpose", ir_version=_IR_VERSION)
        onnx.checker.check_model(made, full_check=True)
        return made

    def largest_stride(self) -> int:
        """Pixels of the input that a cell of the coarsest map spans."""
        tensors = [value for value in self.values.values() if isinstance(value, Tensor)]
        maps = [tensor.shape[2:] for tensor in tensors if len(tensor.shape) == 4]
        return max(whole // size for sizes in maps for whole, size in zip(self.input_shape[2:], sizes, strict=True))


def as_tensor(value: Value) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError("a constant where a tensor is expected")
    return value


def as_array(value: Value) -> NDArray[Any]:
    if isinstance(value, Tensor):
        raise TypeError("a tensor where a constant is expected")
    return value


def _padded(tensor: Tensor) -> tuple[int, ...]:
    return tuple(size + before + after for size, (before, after) in zip(tensor.shape, tensor.pads or (), strict=True))
