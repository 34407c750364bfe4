"""The operators of TensorFlow.js that are known: one function each, in the table at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuning.tfjs.graph import Node
from tuning.tfjs.writer import CHANNELS_FIRST, CHANNELS_LAST, INPUT, Pads, Tensor, Value, Writer, as_array, as_tensor


def _placeholder(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    if writer.input_shape:
        raise ValueError("a second input")
    seen = [int(axis["size"]) for axis in node.attributes["shape"]["shape"]["dim"]]
    if len(seen) != 4 or seen[0] not in (1, -1) or 3 not in (seen[1], seen[3]) or min(seen[1:]) < 1:
        raise ValueError("not one picture of three channels and a stated size")
    axes = CHANNELS_FIRST if seen[1] == 3 else CHANNELS_LAST
    lying = [seen[axes.index(axis)] for axis in range(4)]
    writer.input_shape = (1, *lying[1:])
    return Tensor(INPUT, writer.input_shape, axes)


def _identity(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    return inputs[0]


def _cast(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    """To float only: pictures are given as float already."""
    if node.attribute("DstT") != "DT_FLOAT":
        raise ValueError(str(node.attribute("DstT")))
    return inputs[0]


def _drop_batch(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    """Unpack and Squeeze of the batch axis, which in the original is 1: the ONNX tensor keeps it."""
    tensor = writer.settled(inputs[0])
    at = node.attribute("axis", 0) if node.op == "Unpack" else node.attribute("squeeze_dims", [])
    if tensor.axes[:1] != (0,) or at not in (0, [0]):
        raise ValueError("another axis than the batch's")
    return replace(tensor, axes=tensor.axes[1:])


def _give_batch(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    tensor = writer.settled(inputs[0])
    if 0 in tensor.axes or as_array(inputs[1]).ravel().tolist() != [0]:
        raise ValueError("another axis than the batch's")
    return replace(tensor, axes=(0, *tensor.axes))


def _transpose(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    tensor, order = as_tensor(inputs[0]), as_array(inputs[1]).ravel().tolist()
    if sorted(order) != list(range(len(tensor.axes))):
        raise ValueError("no permutation")
    return replace(tensor, axes=tuple(tensor.axes[i] for i in order))


def _pad(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    """Owed rather than written: the convolution or pooling that follows pads by itself."""
    tensor, pads = writer.settled(inputs[0]), as_array(inputs[1])
    if pads.shape != (len(tensor.axes), 2) or (pads < 0).any():
        raise ValueError("paddings")
    owed = {axis: (int(before), int(after)) for axis, (before, after) in zip(tensor.axes, pads, strict=True)}
    fill = float(as_array(inputs[2])) if node.op == "PadV2" else 0.0
    return replace(tensor, pads=tuple(owed.get(axis, (0, 0)) for axis in range(len(tensor.shape))), fill=fill)


def _window(writer: Writer, node: Node, value: Value, kernel: Sequence[int], fill: float) -> tuple[Any, ...]:
    """What convolution and pooling share: the tensor channels first, ONNX's attributes, the rows and columns made."""
    tensor = as_tensor(value)
    owed: Pads = ((0, 0),) * 4
    if tensor.pads and tensor.axes == CHANNELS_LAST and tensor.fill == fill and tensor.pads[:2] == ((0, 0), (0, 0)):
        owed, tensor = tensor.pads, replace(tensor, pads=None)
    tensor = writer.arranged(tensor, CHANNELS_LAST)
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


def _convolution(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    weight = as_array(inputs[1]).astype(np.float32)  # height, width, in, out (of a depthwise one: for each)
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
    made = Tensor(name, (1, len(weight), *sizes), CHANNELS_LAST)
    for op in fused:
        if op not in ("BiasAdd", "Relu", "Relu6"):
            raise ValueError(f"fused {op}")
        made = made if op == "BiasAdd" else _activated(writer, op, made)
    return made


def _bias(value: Value, channels: int) -> NDArray[np.float32]:
    bias = as_array(value)
    if bias.size != channels:
        raise ValueError("a bias of another size")
    return bias.astype(np.float32).reshape(channels)


def _activated(writer: Writer, op: str, tensor: Tensor, **attributes: Any) -> Tensor:
    if op == "Relu6":
        limits = [writer.constant(np.array(limit, np.float32)) for limit in (0, 6)]
        (name,) = writer.emit("Clip", [tensor.name, *limits])
    else:
        (name,) = writer.emit(op, [tensor.name], **attributes)
    return replace(tensor, name=name)


def _activation(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    attributes = {"alpha": float(node.attribute("alpha", 0.2))} if node.op == "LeakyRelu" else {}
    return _activated(writer, node.op, writer.settled(inputs[0]), **attributes)


_ARITHMETIC: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "Add": ("Add", np.add),
    "AddV2": ("Add", np.add),
    "Mul": ("Mul", np.multiply),
    "Sub": ("Sub", np.subtract),
}


def _arithmetic(writer: Writer, node: Node, inputs: list[Value]) -> Value:
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
    number = _lying_like(as_array(right if isinstance(left, Tensor) else left).astype(np.float32), tensor)
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


def _takes_bias(writer: Writer, node: Node, tensor: Tensor, number: NDArray[np.float32]) -> bool:
    """Whether an added constant can be the bias of the convolution just written, which nothing else reads."""
    last = writer.nodes[-1] if writer.nodes else None
    if last is None or last.op_type != "Conv" or last.output[0] != tensor.name or len(last.input) != 2:
        return False
    direct = any("Conv2" in writer.graph.nodes[name].op for name in node.inputs if name in writer.graph.nodes)
    alone = all(writer.readers[name] == 1 for name in node.inputs)
    return direct and alone and number.ndim == 4 and number.size == number.shape[1] == tensor.shape[1]


def _max_pool(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    tensor, attributes, sizes = _window(writer, node, inputs[0], node.attribute("ksize")[1:3], -np.inf)
    (name,) = writer.emit("MaxPool", [tensor.name], **attributes)
    return Tensor(name, (*tensor.shape[:2], *sizes), CHANNELS_LAST)


def _resize(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    """By a factor rather than to a size, so that it holds for every input size."""
    tensor = writer.arranged(inputs[0], CHANNELS_LAST)
    if node.attribute("align_corners") or not node.attribute("half_pixel_centers"):
        raise ValueError("pixel centres at corners")
    sizes = [int(size) for size in as_array(inputs[1])]
    scales = [size / old for size, old in zip(sizes, tensor.shape[2:], strict=True)]
    factor = writer.constant(np.array([1, 1, *scales], np.float32))
    (name,) = writer.emit("Resize", [tensor.name, "", factor], mode="linear")  # half-pixel centres are ONNX's default
    return Tensor(name, (*tensor.shape[:2], *sizes), CHANNELS_LAST)


def _concatenation(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    first = writer.settled(inputs[0])
    parts = [writer.arranged(value, first.axes) for value in inputs[:-1]]
    axis = first.axes[int(as_array(inputs[-1]))]
    shapes = [tuple(size for i, size in enumerate(part.shape) if i != axis) for part in parts]
    if set(shapes) != {shapes[0]}:
        raise ValueError("shapes do not match")
    (name,) = writer.emit("Concat", [part.name for part in parts], axis=axis)
    length = sum(part.shape[axis] for part in parts)
    return replace(first, name=name, shape=(*first.shape[:axis], length, *first.shape[axis + 1 :]))


def _split(writer: Writer, node: Node, inputs: list[Value]) -> list[Value]:
    tensor, lengths = writer.settled(inputs[0]), as_array(inputs[1]).astype(np.int64)
    axis = tensor.axes[int(as_array(inputs[2]))]
    if (lengths <= 0).any() or lengths.sum() != tensor.shape[axis] or len(lengths) < 2:
        raise ValueError("lengths do not match")
    names = writer.emit("Split", [tensor.name, writer.constant(lengths)], len(lengths), axis=axis)
    before, after = tensor.shape[:axis], tensor.shape[axis + 1 :]
    return [
        replace(tensor, name=name, shape=(*before, int(length), *after))
        for name, length in zip(names, lengths, strict=True)
    ]


def _reshape(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    """Of a tensor whose batch stays in front: the batch is carried over, one other axis may be left open (-1)."""
    rank = len(as_tensor(inputs[0]).axes)
    tensor, shape = writer.arranged(inputs[0], tuple(range(rank))), [int(size) for size in as_array(inputs[1])]
    if shape[:1] != [1] or shape.count(-1) != 1 or min(shape) < -1:
        raise ValueError(f"to {shape}")
    (name,) = writer.emit("Reshape", [tensor.name, writer.constant(np.array([0, *shape[1:]], np.int64))])
    open_size, rest = divmod(int(np.prod(tensor.shape)), -int(np.prod(shape)))
    if rest:
        raise ValueError(f"to {shape}")
    return Tensor(name, tuple(open_size if size == -1 else size for size in shape), tuple(range(len(shape))))


def _dense(writer: Writer, node: Node, inputs: list[Value]) -> Value:
    """SparseToDense of constants, which converters leave in the sums that make a Reshape's shape."""
    indices, shape, values, default = (as_array(value) for value in inputs)
    if np.prod(shape.astype(float)) > 1000:
        raise ValueError("more than a shape")
    made = np.full(shape.ravel().tolist(), default)
    if indices.size:
        made[tuple(np.reshape(indices, (-1, made.ndim)).T)] = values
    return made


_Operator = Callable[[Writer, Node, list[Value]], Value | list[Value]]
OPERATORS: dict[str, _Operator] = {
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
