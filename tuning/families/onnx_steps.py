"""An ONNX graph as a list of steps, and what one step computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from calibration.errors import WardposeError
from tuning.families.onnx_file import picture_input
from tuning.families.onnx_node import Node
from tuning.families.onnx_operators import OPERATORS

# Arguments of an operator (axes, lengths, bounds) are short; longer constants are data.
_LONGEST_ARGUMENT = 4096


def nodes_of(model: onnx.ModelProto) -> list[Node]:
    """The graph's nodes in their order."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    return [_node(node, opset) for node in model.graph.node]


def arrays_of(model: onnx.ModelProto) -> dict[str, Any]:
    """Every initialiser as a numpy array."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def compute(node: Node, values: list[Any]) -> list[Any]:
    """The node's outputs; WardposeError naming the node where it cannot be computed."""
    try:
        result = OPERATORS[node.op](node, values)
    except (RuntimeError, NotImplementedError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WardposeError(
            f"its node {node.name or node.outputs[0]} ({node.op}) cannot be computed: {reason}",
            mend="the model can be run but not tuned: choose another to tune",
        ) from None
    return list(result) if isinstance(result, list | tuple) else [result]


def note_arguments(node: Node, constants: dict[str, Any]) -> None:
    """Remember constant inputs as Python numbers, so that no step waits for a device to tell them."""
    for place, name in enumerate(node.inputs):
        if name in constants and constants[name].numel() <= _LONGEST_ARGUMENT:
            node.known[place] = constants[name].tolist()


def shapes_of(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of the graph for its declared input, found by running it once."""
    name, shape = picture_input(model)
    values: dict[str, Any] = {key: torch.from_numpy(np.array(a)) for key, a in arrays_of(model).items()}
    values[name] = torch.zeros(shape)
    with torch.no_grad():
        for node in nodes_of(model):
            outputs = compute(node, [values[key] if key else None for key in node.inputs])
            values.update(zip(node.outputs, outputs, strict=False))
    return {key: tuple(value.shape) for key, value in values.items()}


def _node(node: onnx.NodeProto, opset: int) -> Node:
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        attributes[attribute.name] = list(value) if isinstance(value, list | tuple) else value
    outputs = list(node.output)
    while len(outputs) > 1 and not outputs[-1]:
        outputs.pop()
    return Node(node.op_type, node.name, list(node.input), outputs, attributes, opset)
