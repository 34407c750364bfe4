"""Reading an ONNX file for training: what it must be, said in one line where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, numpy_helper

from calibration.errors import WardposeError
from tuning.families.onnx_operators import OPERATORS
from tuning.store.foreign import lies_elsewhere

OLDEST_OPSET, NEWEST_OPSET = 7, 26
MAX_BYTES = 2 * 2**30 - 1  # protobuf's own bound
_MEND = "the model can be run but not tuned: choose another to tune, or export it again"
_QUANTISED = frozenset((
    "QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger",
    "DynamicQuantizeLinear", "QLinearAdd", "QLinearConcat", "FusedConv",
))  # fmt: skip
_CHOOSING = frozenset(("NonMaxSuppression", "TopK", "EfficientNMS_TRT", "BatchedNMS_TRT"))
_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def load_graph(path: Path | str, *, width: int | None = None, height: int | None = None) -> onnx.ModelProto:
    """The graph of an ONNX file, ready to be trained: single precision, constants as initialisers.

    width, height: the input's size, where the file leaves it open. Raises WardposeError for: no ONNX file; weights in
    other files; an operator that is not known (named); quantised weights; suppression inside; an opset before 7 or
    after 26; no single picture input; an open size.
    """
    where = str(path)
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise WardposeError("larger than an ONNX file can be", where=where, mend="check which file this is")
        model = onnx.load(where, load_external_data=False)
    except FileNotFoundError:
        raise WardposeError("no such file", where=where, mend="check the path") from None
    except (DecodeError, ValueError, OSError) as error:
        raise WardposeError(
            f"not an ONNX file ({type(error).__name__})", where=where, mend="copy the file again"
        ) from None
    try:
        model = prepared(model)
        _declare(model, width, height)
        picture_input(model)
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        reason = str(error).splitlines()[0]
        raise WardposeError(f"its graph does not hold ({reason})", where=where, mend="copy the file again") from None
    except WardposeError as error:
        raise WardposeError(error.what, where=where, mend=error.mend) from None
    return model


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the graph as `load_graph` gives it, its input size as it stands; WardposeError where it cannot be."""
    _require(model)
    changed = _with_initialisers(model)
    _widen(changed)
    return changed


def picture_input(model: onnx.ModelProto) -> tuple[str, tuple[int, int, int, int]]:
    """Name and shape (batch, 3, height, width) of the graph's one picture input; an open batch counts as 1."""
    initial = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initial]
    shapes = [[axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in inputs]
    if len(inputs) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 3:
        raise WardposeError(f"its inputs {shapes} are not one picture", mend="give a model of pictures [1, 3, H, W]")
    batch, channels, height, width = shapes[0]
    if not height or not width:
        raise WardposeError("its input size is open", mend="say width and height")
    return inputs[0].name, (batch or 1, channels, height, width)


def _require(model: onnx.ModelProto) -> None:
    graph = model.graph
    if not graph.node or not graph.output:
        raise WardposeError("its graph is empty", mend="copy the file again")
    if lies_elsewhere(model):
        raise WardposeError("its weights lie in other files", mend="save it as one ONNX file")
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise WardposeError(
            f"its opset is {opset}, known are {OLDEST_OPSET} to {NEWEST_OPSET}",
            mend="export the model again with opset 17",
        )
    unknown = list(
        dict.fromkeys(
            node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
            for node in graph.node
            if node.domain not in ("", "ai.onnx") or node.op_type not in {*OPERATORS, "Constant"}
        )
    )
    names = {name.rpartition(".")[2] for name in unknown}
    if names & _QUANTISED:
        raise WardposeError(f"its weights are quantised ({', '.join(unknown[:5])})", mend=_MEND)
    if names & _CHOOSING:
        raise WardposeError(f"it chooses its boxes inside ({', '.join(unknown[:5])}): no gradient passes", mend=_MEND)
    if unknown:
        listed = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        raise WardposeError(f"it cannot be trained through the operators {listed}", mend=_MEND)


def _with_initialisers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every Constant node becomes an initialiser, and initialisers are no inputs."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    kept = []
    for node in graph.node:
        if node.op_type != "Constant":
            kept.append(node)
            continue
        attribute = node.attribute[0]
        value = onnx.helper.get_attribute_value(attribute)
        if attribute.name in ("value_float", "value_floats"):
            tensor = numpy_helper.from_array(np.array(value, np.float32), node.output[0])
        elif attribute.name in ("value_int", "value_ints"):
            tensor = numpy_helper.from_array(np.array(value, np.int64), node.output[0])
        elif attribute.name == "value":
            tensor = numpy_helper.from_array(numpy_helper.to_array(value), node.output[0])
        else:
            raise WardposeError(f"its constant {node.output[0]} is no tensor ({attribute.name})", mend=_MEND)
        graph.initializer.append(tensor)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(kept)
    initial = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initial]
    inputs = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in inputs]
    del graph.input[:]
    graph.input.extend(inputs)
    if changed.ir_version < 4:  # before, initialisers had to be inputs
        changed.ir_version = 4
    return changed


def _widen(model: onnx.ModelProto) -> None:
    """Half precision becomes single, in place: gradients need the digits."""
    graph = model.graph
    for tensor in graph.initializer:
        if tensor.data_type in _HALVES:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in _HALVES:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in _HALVES:
                attribute.i = TensorProto.FLOAT
            elif attribute.HasField("t") and attribute.t.data_type in _HALVES:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float32)))


def _declare(model: onnx.ModelProto, width: int | None, height: int | None) -> None:
    """Fill in an open input size."""
    for value in model.graph.input:
        axes = value.type.tensor_type.shape.dim
        if len(axes) == 4:
            for axis, length in ((axes[2], height), (axes[3], width)):
                if not axis.dim_value and length:
                    axis.dim_value = length
                    del model.graph.value_info[:]
