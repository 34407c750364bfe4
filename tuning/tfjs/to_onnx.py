"""A TensorFlow.js graph as ONNX: channels first, any batch, no transpose where a note of the axes will do.

TensorFlow's picture tensors have their channels last, ONNX's first. Each tensor of the graph is kept as an ONNX tensor
and its *axes*: `axes[i]` says which axis of the ONNX tensor is the i-th of TensorFlow's. A Transpose then changes the
note alone. The graph fixes no size: the same file, declared for another input size, computes that size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calibration.errors import WardposeError
from tuning.tfjs.graph import Graph, Node, node_of

OPSET = 17
INPUT = "images"
_IR_VERSION = 8  # of the ONNX release that brought opset 17
_CHANNELS_LAST = (0, 2, 3, 1)
_CHANNELS_FIRST = (0, 1, 2, 3)
Axes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor on its way: an ONNX tensor, its shape (batch counted as 1) and the axes TensorFlow sees.

    pads, fill: a padding that is still owed, (before, after) an ONNX axis; the next convolution or pooling takes it over.
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


def convert(
    graph: Graph, *, outputs: Mapping[str, str], input_size: tuple[int, int] | None = None
) -> onnx.ModelProto:
    """The part of `graph` that `outputs` need, as an ONNX model of opset 17.

    outputs: ONNX name to the graph's node, in order. input_size: width and height (px) to declare for the input
    `images` [batch, 3, height, width], by default the graph's own. Outputs come channels first. Raises WardposeError
    naming an operator that is not known, and for a size that is no multiple of the graph's largest stride.
    """
    needed = graph.needed(list(outputs.values()))
    unknown = sorted({node.op for node in needed} - set(_OPERATORS) - {"Const"})
    if unknown:
        raise WardposeError(
            f"operators that are not known: {', '.join(unknown)}", where=graph.where,
            mend="give a graph of convolutions, pooling and elementwise operators",
        )  # fmt: skip
    writer = _Writer(graph, needed)
    for node in needed:
        try:
            writer.add(node)
        except (IndexError, ValueError, TypeError, AttributeError) as error:
            raise WardposeError(
                f"{node.op} {node.name} is used in a way that is not known ({' '.join(str(error).split())[:100]})",
                where=graph.where, mend="get the package again: wardpose models fetch",
            ) from error  # fmt: skip
    return writer.model(outputs, input_size)


def declare_input_size(model: onnx.ModelProto, input_size: tuple[int, int]) -> None:
    """Let a converted model take pictures of another width and height (px, multiples of its largest stride)."""
    axes = model.graph.input[0].type.tensor_type.shape.dim
    axes[3].dim_value, axes[2].dim_value = input_size


class _Writer:
    """Collects ONNX nodes; `values` holds what each tensor of the graph has become, constants as arrays."""

    def __init__(self, graph: Graph, needed: Sequence[Node]) -> None:
        self.graph = graph
        self.input_shape: tuple[int, ...] = ()
        self.values: dict[str, Value] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.counts: Counter[str] = Counter()
        self.readers = Counter(name for node in needed for name in node.inputs)

    def add(self, node: Node) -> None:
        if node.op == "Const":
            self.values[node.name] = self.graph.constants[node.name]
            return
        made = _OPERATORS[node.op](self, node, [self.values[_tensor_name(name)] for name in node.inputs])
        several = made if isinstance(made, list) else [made]
        self.values |= {f"{node.name}:{i}" if i else node.name: value for i, value in enumerate(several)}

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
        tensor = _tensor(value)
        if tensor.pads is None:
            return tensor
        ends = np.array(tensor.pads, np.int64).T.reshape(-1)
        inputs = [tensor.name, self.constant(ends), self.constant(np.float32(tensor.fill))]
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

    def model(self, outputs: Mapping[str, str], input_size: tuple[int, int] | None) -> onnx.ModelProto:
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
        if input_size is not None:
            stride = self._largest_stride()
            if any(size % stride or size < stride for size in (*input_size, *self.input_shape[2:])):
                shown = f"{input_size[0]}×{input_size[1]}"
                raise WardposeError(f"it cannot take {shown}", where=self.graph.where, mend=f"give multiples of {stride}")
            declare_input_size(made, input_size)
        onnx.checker.check_model(made, full_check=True)
        return made


    def _largest_stride(self) -> int:
        """Pixels of the input that the coarsest map's cell spans."""
        maps = [value.shape[2:] for value in self.values.values() if isinstance(value, Tensor) and len(value.shape) == 4]
        return max(whole // size for sizes in maps for whole, size in zip(self.input_shape[2:], sizes, strict=True))


def _tensor_name(name: str) -> str:
    return node_of(name) if name.endswith(":0") else name


def _tensor(value: Value) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError("a constant where a tensor is expected")
    return value


def _array(value: Value) -> NDArray[Any]:
    if isinstance(value, Tensor):
        raise TypeError("a tensor where a constant is expected")
    return value


def _padded(tensor: Tensor) -> tuple[int, ...]:
    return tuple(size + before + after for size, (before, after) in zip(tensor.shape, tensor.pads or (), strict=True))


def _placeholder(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    if writer.input_shape:
        raise ValueError("a second input")
    seen = [int(axis["size"]) for axis in node.attributes["shape"]["shape"]["dim"]]
    if len(seen) != 4 or seen[0] not in (1, -1) or 3 not in (seen[1], seen[3]) or min(seen[1:]) < 1:
        raise ValueError("not one picture of three channels and a stated size")
    axes = _CHANNELS_FIRST if seen[1] == 3 else _CHANNELS_LAST
    lying = [seen[axes.index(axis)] for axis in range(4)]
    writer.input_shape = (1, *lying[1:])
    return Tensor(INPUT, writer.input_shape, axes)


def _identity(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    return inputs[0]


def _cast(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    """To float only: pictures are given as float already."""
    if node.attribute("DstT") != "DT_FLOAT":
        raise ValueError(str(node.attribute("DstT")))
    return inputs[0]


def _drop_batch(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    """Unpack and Squeeze of the batch axis, which in the original is 1: the ONNX tensor keeps it."""
    tensor = writer.settled(inputs[0])
    at = node.attribute("axis", 0) if node.op == "Unpack" else node.attribute("squeeze_dims", [])
    if tensor.axes[:1] != (0,) or at not in (0, [0]):
        raise ValueError("another axis than the batch's")
    return replace(tensor, axes=tensor.axes[1:])


def _give_batch(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    tensor = writer.settled(inputs[0])
    if 0 in tensor.axes or _array(inputs[1]).ravel().tolist() != [0]:
        raise ValueError("another axis than the batch's")
    return replace(tensor, axes=(0, *tensor.axes))


def _transpose(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    tensor, order = _tensor(inputs[0]), _array(inputs[1]).ravel().tolist()
    if sorted(order) != list(range(len(tensor.axes))):
        raise ValueError("no permutation")
    return replace(tensor, axes=tuple(tensor.axes[i] for i in order))


def _pad(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    """Owed rather than written: the convolution or pooling that follows pads by itself."""
    tensor, pads = writer.settled(inputs[0]), _array(inputs[1])
    if pads.shape != (len(tensor.axes), 2) or (pads < 0).any():
        raise ValueError("paddings")
    owed = {axis: (int(before), int(after)) for axis, (before, after) in zip(tensor.axes, pads, strict=True)}
    fill = float(_array(inputs[2])) if node.op == "PadV2" else 0.0
    return replace(tensor, pads=tuple(owed.get(axis, (0, 0)) for axis in range(len(tensor.shape))), fill=fill)


def _window(writer: _Writer, node: Node, value: Value, kernel: Sequence[int], fill: float) -> tuple[Any, ...]:
    """What convolution and pooling share: the tensor channels first, ONNX's attributes, the output's rows and columns."""
    tensor = _tensor(value)
    owed: Pads = ((0, 0),) * 4
    if tensor.pads and tensor.axes == _CHANNELS_LAST and tensor.fill == fill and tensor.pads[:2] == ((0, 0), (0, 0)):
        owed, tensor = tensor.pads, replace(tensor, pads=None)
    tensor = writer.arranged(tensor, _CHANNELS_LAST)
    if node.attribute("data_format", "NHWC") != "NHWC":
        raise ValueError("channels first")
    strides, dilations = node.attribute("strides")[1:3], node.attribute("dilations", [1, 1, 1, 1])[1:3]
    mode = node.attribute("padding")
    if mode not in ("SAME", "VALID"):
        raise ValueError(f"{mode} padding")
    pads, sizes = [], []
    for axis, (length, stride, dilation) in enumerate(zip(kernel, strides, dilations, strict=True), 2):
        size, reach = tensor.shape[axis] + sum(owed[axis]), (length - 1) * dilation + 1
        # TensorFlow's SAME: as many cells as strides fit in, what is missing shared out, the odd one behind.
        missing = max((-(-size // stride) - 1) * stride + reach - size, 0) if mode == "SAME" else 0
        pads.append((owed[axis][0] + missing // 2, owed[axis][1] + missing - missing // 2))
        sizes.append((size + missing - reach) // stride + 1)
    attributes = {"strides": strides, "kernel_shape": list(kernel), "pads": [pad[i] for i in (0, 1) for pad in pads]}
    if dilations != [1, 1]:
        attributes["dilations"] = dilations
    return tensor, attributes, sizes


def _convolution(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    weight = _array(inputs[1]).astype(np.float32)  # height, width, in, out; of a depthwise one out is a channel's share
    depthwise = "Depthwise" in node.op
    tensor, attributes, sizes = _window(writer, node, inputs[0], weight.shape[:2], 0.0)
    if weight.shape[2] != tensor.shape[1]:
        raise ValueError("channels do not match")
    if depthwise:
        attributes["group"] = weight.shape[2]
        weight = weight.transpose(2, 3, 0, 1).reshape(-1, 1, *weight.shape[:2])
    else:
        weight = weight.transpose(3, 2, 0, 1)
    fused = node.attribute("fused_ops", [])
    stem = f"conv_{writer.counts['Conv'] + 1}"
    names = [tensor.name, writer.constant(weight, f"{stem}.weight")]
    if fused[:1] == ["BiasAdd"]:
        names.append(writer.constant(_bias(inputs[2], len(weight)), f"{stem}.bias"))
    elif len(inputs) > 2:
        raise ValueError("inputs of a kind that is not known")
    (name,) = writer.emit("Conv", names, **attributes)
    made = Tensor(name, (1, len(weight), *sizes), _CHANNELS_LAST)
    for op in fused:
        if op not in ("BiasAdd", "Relu", "Relu6"):
            raise ValueError(f"fused {op}")
        made = made if op == "BiasAdd" else _activated(writer, op, made)
    return made


def _bias(value: Value, channels: int) -> NDArray[np.float32]:
    bias = _array(value)
    if bias.size != channels:
        raise ValueError("a bias of another size")
    return bias.astype(np.float32).reshape(channels)


def _activated(writer: _Writer, op: str, tensor: Tensor, **attributes: Any) -> Tensor:
    if op == "Relu6":
        limits = [writer.constant(np.float32(limit)) for limit in (0, 6)]
        (name,) = writer.emit("Clip", [tensor.name, *limits])
    else:
        (name,) = writer.emit(op, [tensor.name], **attributes)
    return replace(tensor, name=name)


def _activation(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    attributes = {"alpha": float(node.attribute("alpha", 0.2))} if node.op == "LeakyRelu" else {}
    return _activated(writer, node.op, writer.settled(inputs[0]), **attributes)


_ARITHMETIC: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "Add": ("Add", np.add),
    "AddV2": ("Add", np.add),
    "Mul": ("Mul", np.multiply),
    "Sub": ("Sub", np.subtract),
}


def _arithmetic(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    op, compute = _ARITHMETIC[node.op]
    left, right = inputs
    if not isinstance(left, Tensor) and not isinstance(right, Tensor):
        return np.asarray(compute(left, right))
    tensor = writer.settled(left if isinstance(left, Tensor) else right)
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        other = writer.arranged(right, tensor.axes)
        if other.shape != tensor.shape:
            raise ValueError("shapes do not match")
        (name,) = writer.emit(op, [tensor.name, other.name])
        return replace(tensor, name=name)
    number = _lying_like(_array(right if isinstance(left, Tensor) else left).astype(np.float32), tensor)
    if op == "Add" and _takes_bias(writer, node, tensor, number):
        writer.nodes[-1].input.append(writer.constant(_bias(number, tensor.shape[1]), f"{tensor.name}.bias"))
        return tensor
    if op in ("Add", "Sub") and isinstance(left, Tensor) and not number.any():
        return tensor
    operands = [tensor.name, writer.constant(number)]
    (name,) = writer.emit(op, operands if isinstance(left, Tensor) else operands[::-1])
    return replace(tensor, name=name)


def _lying_like(number: NDArray[np.float32], tensor: Tensor) -> NDArray[np.float32]:
    """A constant that TensorFlow broadcasts against `tensor`, with its axes in ONNX's order."""
    seen = number.reshape((1,) * (len(tensor.axes) - number.ndim) + number.shape)
    if any(size not in (1, whole) for size, whole in zip(seen.shape, tensor.seen, strict=True)):
        raise ValueError("shapes do not match")
    lying = np.ones([1] * len(tensor.shape), np.float32)
    shape = list(lying.shape)
    for axis, size in zip(tensor.axes, seen.shape, strict=True):
        shape[axis] = size
    return seen.transpose(np.argsort(tensor.axes)).reshape(shape)


def _takes_bias(writer: _Writer, node: Node, tensor: Tensor, number: NDArray[np.float32]) -> bool:
    """Whether an added constant can be the bias of the convolution just written, which nothing else reads."""
    last = writer.nodes[-1] if writer.nodes else None
    alone = all(writer.readers[name] == 1 for name in node.inputs)
    convolution = last is not None and last.op_type == "Conv" and last.output[0] == tensor.name and len(last.input) == 2
    return convolution and alone and number.ndim == 4 and number.size == number.shape[1] == tensor.shape[1]


def _max_pool(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    tensor, attributes, sizes = _window(writer, node, inputs[0], node.attribute("ksize")[1:3], -np.inf)
    (name,) = writer.emit("MaxPool", [tensor.name], **attributes)
    return Tensor(name, (*tensor.shape[:2], *sizes), _CHANNELS_LAST)


def _resize(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    """By a factor rather than to a size, so that it holds for every input size."""
    tensor = writer.arranged(inputs[0], _CHANNELS_LAST)
    if node.attribute("align_corners") or not node.attribute("half_pixel_centers"):
        raise ValueError("pixel centres at corners")
    sizes = [int(size) for size in _array(inputs[1])]
    scales = [size / old for size, old in zip(sizes, tensor.shape[2:], strict=True)]
    factor = writer.constant(np.array([1, 1, *scales], np.float32))
    (name,) = writer.emit("Resize", [tensor.name, "", factor], mode="linear")  # half-pixel centres are ONNX's default
    return Tensor(name, (*tensor.shape[:2], *sizes), _CHANNELS_LAST)


def _concatenation(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    first = writer.settled(inputs[0])
    parts = [writer.arranged(value, first.axes) for value in inputs[:-1]]
    axis = first.axes[int(_array(inputs[-1]))]
    shapes = [tuple(size for i, size in enumerate(part.shape) if i != axis) for part in parts]
    if set(shapes) != {shapes[0]}:
        raise ValueError("shapes do not match")
    (name,) = writer.emit("Concat", [part.name for part in parts], axis=axis)
    length = sum(part.shape[axis] for part in parts)
    return replace(first, name=name, shape=(*first.shape[:axis], length, *first.shape[axis + 1 :]))


def _split(writer: _Writer, node: Node, inputs: list[Value]) -> list[Value]:
    tensor, lengths = writer.settled(inputs[0]), _array(inputs[1]).astype(np.int64)
    axis = tensor.axes[int(_array(inputs[2]))]
    if (lengths <= 0).any() or lengths.sum() != tensor.shape[axis] or len(lengths) < 2:
        raise ValueError("lengths do not match")
    names = writer.emit("Split", [tensor.name, writer.constant(lengths)], len(lengths), axis=axis)
    before, after = tensor.shape[:axis], tensor.shape[axis + 1 :]
    return [
        replace(tensor, name=name, shape=(*before, int(length), *after))
        for name, length in zip(names, lengths, strict=True)
    ]


def _reshape(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    """Of a tensor whose batch stays in front: the batch is carried over, one other axis may be left open (-1)."""
    rank = len(_tensor(inputs[0]).axes)
    tensor, shape = writer.arranged(inputs[0], tuple(range(rank))), [int(size) for size in _array(inputs[1])]
    if shape[:1] != [1] or shape.count(-1) != 1 or min(shape) < -1:
        raise ValueError(f"to {shape}")
    (name,) = writer.emit("Reshape", [tensor.name, writer.constant(np.array([0, *shape[1:]], np.int64))])
    open_size, rest = divmod(int(np.prod(tensor.shape)), -int(np.prod(shape)))
    if rest:
        raise ValueError(f"to {shape}")
    return Tensor(name, tuple(open_size if size == -1 else size for size in shape), tuple(range(len(shape))))


def _dense(writer: _Writer, node: Node, inputs: list[Value]) -> Value:
    """SparseToDense of constants, which converters leave in the sums that make a Reshape's shape."""
    indices, shape, values, default = (_array(value) for value in inputs)
    made = np.full(shape.ravel().tolist(), default)
    if indices.size:
        made[tuple(np.reshape(indices, (-1, made.ndim)).T)] = values
    return made


_Operator = Callable[[_Writer, Node, list[Value]], Value | list[Value]]
_OPERATORS: dict[str, _Operator] = {
    "Placeholder": _placeholder,
    "Identity": _identity,
    "Cast": _cast,
    "Unpack": _drop_batch,
    "Squeeze": _drop_batch,
    "ExpandDims": _give_batch,
    "Transpose": _transpose,
    "Pad": _pad,
    "PadV2": _pad,
    "Conv2D": _convolution,
    "_FusedConv2D": _convolution,
    "DepthwiseConv2dNative": _convolution,
    "FusedDepthwiseConv2dNative": _convolution,
    "MaxPool": _max_pool,
    "LeakyRelu": _activation,
    "Relu": _activation,
    "Relu6": _activation,
    "Sigmoid": _activation,
    "Add": _arithmetic,
    "AddV2": _arithmetic,
    "Mul": _arithmetic,
    "Sub": _arithmetic,
    "ResizeBilinear": _resize,
    "ConcatV2": _concatenation,
    "SplitV": _split,
    "Reshape": _reshape,
    "SparseToDense": _dense,
}
