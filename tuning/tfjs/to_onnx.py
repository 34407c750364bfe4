"""A TensorFlow.js graph as ONNX: channels first, any batch, any input size that its strides divide."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from calibration.errors import WardposeError
from tuning.tfjs.graph import Graph, Node
from tuning.tfjs.operators import OPERATORS
from tuning.tfjs.writer import Writer

_MEND = "get the package again: wardpose models fetch"


def convert(graph: Graph, *, outputs: Mapping[str, str], input_size: tuple[int, int] | None = None) -> onnx.ModelProto:
    """The part of `graph` that `outputs` need, as an ONNX model of opset 17.

    outputs: ONNX name to the graph's node, in order. input_size: width and height (px) to declare for the input
    `images` [batch, 3, height, width], by default the graph's own. Outputs come channels first. Raises WardposeError
    naming an operator that is not known, and for a size that is no multiple of the graph's largest stride.
    """
    needed = graph.needed(list(outputs.values()))
    unknown = sorted({node.op for node in needed} - set(OPERATORS) - {"Const"})
    if unknown:
        raise WardposeError(
            f"operators that are not known: {', '.join(unknown)}",
            where=graph.where,
            mend="give a graph of convolutions, pooling and elementwise operators",
        )
    writer = Writer(graph, needed, list(outputs.values()))
    for node in needed:
        try:
            _add(writer, node)
        except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
            reason = " ".join(str(error).split())[:100]
            raise WardposeError(
                f"{node.op} {node.name} is used in a way that is not known ({reason})", where=graph.where, mend=_MEND
            ) from error
    try:
        made = writer.model(outputs)
    except (TypeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:100]
        raise WardposeError(f"it makes no ONNX model ({reason})", where=graph.where, mend=_MEND) from error
    if input_size is not None:
        stride = writer.largest_stride()
        if any(size % stride or size < stride for size in (*input_size, *writer.input_shape[2:])):
            shown = f"{input_size[0]}×{input_size[1]}"
            raise WardposeError(f"it cannot take {shown}", where=graph.where, mend=f"give multiples of {stride}")
        declare_input_size(made, input_size)
    return made


def _add(writer: Writer, node: Node) -> None:
    if node.op == "Const":
        writer.values[node.name] = writer.graph.constants[node.name]
        return
    made = OPERATORS[node.op](writer, node, [writer.values[name] for name in node.inputs])
    several = made if isinstance(made, list) else [made]
    writer.values |= {f"{node.name}:{i}" if i else node.name: value for i, value in enumerate(several)}


def declare_input_size(model: onnx.ModelProto, input_size: tuple[int, int]) -> None:
    """Let a converted model take pictures of another width and height (px, multiples of its largest stride)."""
    axes = model.graph.input[0].type.tensor_type.shape.dim
    axes[3].dim_value, axes[2].dim_value = input_size
