"""ONNX operators as torch functions: one table, from an operator's name to what it does.

Semantics follow the ONNX operator reference (opsets 7 to 26) as ONNX Runtime computes it. What changed between opsets
is read from where the node has it: arguments that were attributes once (axes, pads, split, min) and are inputs now.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tuning.families.onnx_node import Node
from tuning.families.onnx_resize import resize, upsample

Operator = Callable[[Node, list[Any]], Any]


def _pads(node: Node, values: list[Any], kernel: list[int], strides: list[int], dilations: list[int]) -> list[int]:
    """Begins, then ends, of each spatial axis; auto_pad is resolved by the input's size."""
    mode, axes = node.attributes.get("auto_pad", "NOTSET"), len(kernel)
    if mode in ("NOTSET", "VALID"):
        pads: list[int] = node.attributes.get("pads", [0] * 2 * axes) if mode == "NOTSET" else [0] * 2 * axes
        return pads
    begins, ends = [], []
    for size, k, stride, dilation in zip(values[0].shape[2:], kernel, strides, dilations, strict=True):
        total = max(0, (math.ceil(size / stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return [*begins, *ends]


def _torch_pads(pads: list[int]) -> list[int]:
    """ONNX's begins and ends in torch's order: last axis first, begin and end side by side."""
    half = len(pads) // 2
    return [pads[place] for axis in reversed(range(half)) for place in (axis, axis + half)]


def _padded(x: Any, pads: list[int], value: float) -> tuple[Any, tuple[int, ...]]:
    """The input, padded where begin and end differ, and the padding that is left to the operator itself."""
    half = len(pads) // 2
    if pads[:half] == pads[half:]:
        return x, tuple(pads[:half])
    return F.pad(x, _torch_pads(pads), value=value), (0,) * half


def _conv(node: Node, v: list[Any]) -> Any:
    kernel, axes = list(v[1].shape[2:]), v[1].ndim - 2
    strides = node.attributes.get("strides", [1] * axes)
    dilations = node.attributes.get("dilations", [1] * axes)
    x, padding = _padded(v[0], _pads(node, v, kernel, strides, dilations), 0.0)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    bias = v[2] if len(v) > 2 else None
    return convolve(x, v[1], bias, strides, padding, dilations, node.attributes.get("group", 1))


def _conv_transpose(node: Node, v: list[Any]) -> Any:
    axes = v[1].ndim - 2
    if "output_shape" in node.attributes or node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise NotImplementedError("a transposed convolution that chooses its own padding")
    pads = node.attributes.get("pads", [0] * 2 * axes)
    convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    y = convolve(
        v[0],
        v[1],
        v[2] if len(v) > 2 else None,
        stride=node.attributes.get("strides", [1] * axes),
        output_padding=node.attributes.get("output_padding", [0] * axes),
        groups=node.attributes.get("group", 1),
        dilation=node.attributes.get("dilations", [1] * axes),
    )
    return F.pad(y, [-p for p in _torch_pads(pads)]) if any(pads) else y


def _max_pool(node: Node, v: list[Any]) -> Any:
    kernel, axes = node.attributes["kernel_shape"], len(node.attributes["kernel_shape"])
    strides = node.attributes.get("strides", [1] * axes)
    dilations = node.attributes.get("dilations", [1] * axes)
    pads = _pads(node, v, kernel, strides, dilations)
    x, padding = v[0], tuple(pads[:axes])
    if pads[:axes] != pads[axes:] or any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        x, padding = F.pad(x, _torch_pads(pads), value=-math.inf), (0,) * axes
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    return pool(x, kernel, strides, padding, dilations, bool(node.attributes.get("ceil_mode", 0)))


def _average_pool(node: Node, v: list[Any]) -> Any:
    kernel, axes = node.attributes["kernel_shape"], len(node.attributes["kernel_shape"])
    if node.attributes.get("ceil_mode", 0) or any(d != 1 for d in node.attributes.get("dilations", [])):
        raise NotImplementedError("average pooling with ceil_mode or dilations")
    strides = node.attributes.get("strides", [1] * axes)
    pads = _pads(node, v, kernel, strides, [1] * axes)
    x = F.pad(v[0], _torch_pads(pads)) if any(pads) else v[0]
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[axes - 1]
    y = pool(x, kernel, strides)
    if any(pads) and not node.attributes.get("count_include_pad", 0):
        share = pool(F.pad(torch.ones_like(v[0][:1, :1]), _torch_pads(pads)), kernel, strides)
        y = y / share
    return y


def _global_pool(reduce: Callable[..., Any]) -> Operator:
    return lambda node, v: reduce(v[0], dim=tuple(range(2, v[0].ndim)), keepdim=True)


def _gemm(node: Node, v: list[Any]) -> Any:
    a = v[0].T if node.attributes.get("transA", 0) else v[0]
    b = v[1].T if node.attributes.get("transB", 0) else v[1]
    y = node.attributes.get("alpha", 1.0) * (a @ b)
    return y + node.attributes.get("beta", 1.0) * v[2] if len(v) > 2 and v[2] is not None else y


def _batch_norm(node: Node, v: list[Any]) -> Any:
    if node.attributes.get("training_mode", 0):
        raise NotImplementedError("batch normalisation in training mode")
    return F.batch_norm(v[0], v[3], v[4], v[1], v[2], training=False, eps=node.attributes.get("epsilon", 1e-5))


def _clip(node: Node, v: list[Any]) -> Any:
    low, high = (b[0] if isinstance(b, list) else b for b in (node.argument(v, 1, "min"), node.argument(v, 2, "max")))
    return v[0] if low is None and high is None else torch.clamp(v[0], low, high)


def _softmax(function: Callable[..., Any]) -> Operator:
    def apply(node: Node, v: list[Any]) -> Any:
        if node.opset >= 13:
            return function(v[0], node.attributes.get("axis", -1))
        axis = node.attributes.get("axis", 1)  # until opset 12 all axes from here on are one
        flat = v[0].flatten(axis % v[0].ndim) if v[0].ndim > 1 else v[0]
        return function(flat, -1).reshape(v[0].shape)

    return apply


def _reshape(node: Node, v: list[Any]) -> Any:
    shape = list(node.argument(v, 1, "shape"))
    if not node.attributes.get("allowzero", 0):
        shape = [v[0].shape[axis] if length == 0 else length for axis, length in enumerate(shape)]
    return v[0].reshape(shape)


def _squeeze(node: Node, v: list[Any]) -> Any:
    axes = node.argument(v, 1, "axes")
    return v[0].squeeze() if axes is None else v[0].squeeze(tuple(axes))


def _unsqueeze(node: Node, v: list[Any]) -> Any:
    axes, x = node.argument(v, 1, "axes"), v[0]
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _flatten(node: Node, v: list[Any]) -> Any:
    axis = node.attributes.get("axis", 1) % (v[0].ndim + 1)
    return v[0].reshape(math.prod(v[0].shape[:axis]), -1)


def _expand(node: Node, v: list[Any]) -> Any:
    return v[0].expand(torch.broadcast_shapes(tuple(v[0].shape), tuple(node.argument(v, 1))))


def _concat(node: Node, v: list[Any]) -> Any:
    axis = node.attributes["axis"] % v[0].ndim
    batch = max(x.shape[0] for x in v)
    if axis and any(x.shape[0] != batch for x in v):  # a constant, made for one picture
        v = [x.expand(batch, *x.shape[1:]) for x in v]
    return torch.cat(v, axis)


def _split(node: Node, v: list[Any]) -> Any:
    axis, parts = node.attributes.get("axis", 0), len(node.outputs)
    sizes = node.argument(v, 1, "split")
    if sizes is None:
        share = math.ceil(v[0].shape[axis] / parts)
        sizes = [share] * (parts - 1) + [v[0].shape[axis] - share * (parts - 1)]
    return list(torch.split(v[0], sizes, axis))


def _slice(node: Node, v: list[Any]) -> Any:
    starts, ends = node.argument(v, 1, "starts"), node.argument(v, 2, "ends")
    axes = node.argument(v, 3, "axes") or range(len(starts))
    steps = node.argument(v, 4) or [1] * len(starts)
    x = v[0]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places = range(x.shape[axis])[slice(start, end if end > -(2**31) else None, step)]
        if places.step > 0:
            index = [slice(None)] * x.ndim
            index[axis] = slice(places.start, places.stop, places.step)
            x = x[tuple(index)]
        else:
            x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=x.device))
    return x


def _gather(node: Node, v: list[Any]) -> Any:
    axis = node.attributes.get("axis", 0) % v[0].ndim
    index = v[1].to(v[0].device) % v[0].shape[axis]
    taken = v[0].index_select(axis, index.reshape(-1))
    return taken.reshape(*v[0].shape[:axis], *index.shape, *v[0].shape[axis + 1 :])


def _pad(node: Node, v: list[Any]) -> Any:
    pads, axes = node.argument(v, 1, "pads"), node.argument(v, 3)
    value = node.argument(v, 2, "value", 0.0)
    mode = {"constant": "constant", "edge": "replicate", "reflect": "reflect"}.get(
        node.attributes.get("mode", "constant")
    )
    if mode is None:
        raise NotImplementedError("padding that wraps around")
    if axes is not None:
        whole = [0] * 2 * v[0].ndim
        for place, axis in enumerate(axes):
            whole[axis % v[0].ndim], whole[axis % v[0].ndim + v[0].ndim] = pads[place], pads[place + len(axes)]
        pads = whole
    ordered = _torch_pads(pads)
    if mode != "constant":  # torch pads the last axes only there
        ordered = ordered[: 2 * (v[0].ndim - 2)]
        return F.pad(v[0], ordered, mode=mode)
    return F.pad(v[0], ordered, value=float(value[0] if isinstance(value, list) else value or 0.0))


def _shape(node: Node, v: list[Any]) -> Any:
    lengths = list(v[0].shape)[node.attributes.get("start", 0) : node.attributes.get("end")]
    return torch.tensor(lengths, dtype=torch.int64)


# onnx.TensorProto's codes; halves are computed, and written, in single precision.
_DTYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64, 9: torch.bool,
    10: torch.float32, 11: torch.float64, 16: torch.float32,
}  # fmt: skip


def _cast(node: Node, v: list[Any]) -> Any:
    return v[0].to(_DTYPES[node.attributes["to"]])


def _where(node: Node, v: list[Any]) -> Any:
    return torch.where(v[0].to(v[1].device), v[1], v[2])


def _range(node: Node, v: list[Any]) -> Any:
    return torch.arange(v[0].item(), v[1].item(), v[2].item(), dtype=v[0].dtype)


def _constant_of_shape(node: Node, v: list[Any]) -> Any:
    value = node.attributes.get("value")
    fill = torch.zeros(1) if value is None else torch.from_numpy(value.copy())
    return fill.reshape(1).expand(tuple(node.argument(v, 0))).clone()


def _divide(node: Node, v: list[Any]) -> Any:
    whole = not (v[0].dtype.is_floating_point or v[1].dtype.is_floating_point)
    return torch.div(v[0], v[1], rounding_mode="trunc" if whole else None)


def _reduce(function: Callable[..., Any]) -> Operator:
    def apply(node: Node, v: list[Any]) -> Any:
        axes = node.argument(v, 1, "axes")
        if not axes:
            if node.attributes.get("noop_with_empty_axes", 0):
                return v[0]
            axes = range(v[0].ndim)
        return function(v[0], dim=tuple(axes), keepdim=bool(node.attributes.get("keepdims", 1)))

    return apply


def _layer_norm(node: Node, v: list[Any]) -> Any:
    axis = node.attributes.get("axis", -1) % v[0].ndim
    bias = v[2] if len(v) > 2 else None
    return F.layer_norm(v[0], v[0].shape[axis:], v[1], bias, node.attributes.get("epsilon", 1e-5))


def _prelu(node: Node, v: list[Any]) -> Any:
    return torch.where(v[0] < 0, v[0] * v[1], v[0])


def _depth_to_space(node: Node, v: list[Any]) -> Any:
    n, c, h, w = v[0].shape
    b = node.attributes["blocksize"]
    if node.attributes.get("mode", "DCR") == "DCR":
        x = v[0].reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        x = v[0].reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(n, c // b**2, h * b, w * b)


def _space_to_depth(node: Node, v: list[Any]) -> Any:
    n, c, h, w = v[0].shape
    b = node.attributes["blocksize"]
    return v[0].reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)


def _of_one(function: Callable[[Any], Any]) -> Operator:
    return lambda node, v: function(v[0])


def _of_two(function: Callable[[Any, Any], Any]) -> Operator:
    return lambda node, v: function(v[0], v[1])


def _of_all(function: Callable[[Any, Any], Any]) -> Operator:
    def apply(node: Node, v: list[Any]) -> Any:
        total = v[0]
        for value in v[1:]:
            total = function(total, value)
        return total

    return apply


OPERATORS: dict[str, Operator] = {
    # weights
    "Conv": _conv, "ConvTranspose": _conv_transpose, "Gemm": _gemm, "MatMul": _of_two(torch.matmul),
    "BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm,
    "InstanceNormalization": lambda node, v: F.instance_norm(
        v[0], weight=v[1], bias=v[2], eps=node.attributes.get("epsilon", 1e-5)
    ),
    # activations
    "Relu": _of_one(torch.relu), "Sigmoid": _of_one(torch.sigmoid), "Tanh": _of_one(torch.tanh),
    "LeakyRelu": lambda node, v: F.leaky_relu(v[0], node.attributes.get("alpha", 0.01)),
    "Elu": lambda node, v: F.elu(v[0], node.attributes.get("alpha", 1.0)), "PRelu": _prelu, "Clip": _clip,
    "HardSigmoid": lambda node, v: torch.clamp(
        node.attributes.get("alpha", 0.2) * v[0] + node.attributes.get("beta", 0.5), 0, 1
    ),
    "HardSwish": _of_one(F.hardswish), "SiLU": _of_one(F.silu), "Softplus": _of_one(F.softplus),
    "Swish": lambda node, v: v[0] * torch.sigmoid(node.attributes.get("alpha", 1.0) * v[0]),
    "Mish": _of_one(F.mish),
    "Gelu": lambda node, v: F.gelu(v[0], approximate=node.attributes.get("approximate", "none")),
    "Softmax": _softmax(torch.softmax), "LogSoftmax": _softmax(torch.log_softmax),
    # pooling and scaling
    "MaxPool": _max_pool, "AveragePool": _average_pool, "Resize": resize, "Upsample": upsample,
    "GlobalAveragePool": _global_pool(torch.mean), "GlobalMaxPool": _global_pool(torch.amax),
    "DepthToSpace": _depth_to_space, "SpaceToDepth": _space_to_depth, "Pad": _pad,
    # arithmetic
    "Add": _of_two(torch.add), "Sub": _of_two(torch.sub), "Mul": _of_two(torch.mul), "Div": _divide,
    "Pow": _of_two(torch.pow), "Max": _of_all(torch.maximum), "Min": _of_all(torch.minimum),
    "Sum": _of_all(torch.add), "Exp": _of_one(torch.exp), "Log": _of_one(torch.log), "Sqrt": _of_one(torch.sqrt),
    "Neg": _of_one(torch.neg), "Abs": _of_one(torch.abs), "Floor": _of_one(torch.floor), "Ceil": _of_one(torch.ceil),
    "Erf": _of_one(torch.erf), "Reciprocal": _of_one(torch.reciprocal),
    "ReduceMean": _reduce(torch.mean), "ReduceSum": _reduce(torch.sum), "ReduceMax": _reduce(torch.amax),
    "ReduceMin": _reduce(torch.amin),
    # comparison
    "Equal": _of_two(torch.eq), "Greater": _of_two(torch.gt), "Less": _of_two(torch.lt),
    "Not": _of_one(torch.logical_not),
    "GreaterOrEqual": _of_two(torch.ge), "LessOrEqual": _of_two(torch.le), "And": _of_two(torch.logical_and),
    "Or": _of_two(torch.logical_or), "Where": _where,
    # shape
    "Reshape": _reshape, "Flatten": _flatten, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Expand": _expand,
    "Transpose": lambda node, v: v[0].permute(node.attributes.get("perm", tuple(reversed(range(v[0].ndim))))),
    "Concat": _concat, "Split": _split, "Slice": _slice, "Gather": _gather, "Shape": _shape, "Cast": _cast,
    "Tile": lambda node, v: v[0].repeat(tuple(node.argument(v, 1))), "Range": _range,
    "ConstantOfShape": _constant_of_shape, "Identity": _of_one(lambda x: x), "Dropout": _of_one(lambda x: x),
}  # fmt: skip
