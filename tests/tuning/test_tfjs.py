"""TensorFlow.js graphs become ONNX that computes the same numbers; what is not understood is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.errors import WardposeError
from tests.tuning.tfjs_files import convolution, node, picture, write_graph
from tuning.tfjs.graph import read_graph
from tuning.tfjs.to_onnx import convert, declare_input_size
from tuning.tfjs.writer import INPUT

Floats = NDArray[np.float32]


def run(model: onnx.ModelProto, pictures: Floats) -> list[Floats]:
    """What ONNX Runtime computes for pictures (N, 3, H, W)."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(answer, np.float32) for answer in session.run(None, {INPUT: pictures})]


def ops(model: onnx.ModelProto) -> list[str]:
    return [step.op_type for step in model.graph.node if step.op_type != "Identity"]


def same_convolution(x: Floats, weight: Floats, stride: int, dilation: int, *, depthwise: bool) -> Floats:
    """TensorFlow's SAME convolution as its documentation defines it, on (H, W, C) channels last."""
    kernel, size = weight.shape[0], np.array(x.shape[:2])
    out = -(-size // stride)
    missing = np.maximum((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    before = missing // 2
    x = np.pad(x, [(before[0], missing[0] - before[0]), (before[1], missing[1] - before[1]), (0, 0)])
    answer: Any = 0.0
    for i in range(kernel):
        for j in range(kernel):
            top, left = i * dilation, j * dilation
            part = x[top : top + (out[0] - 1) * stride + 1 : stride, left : left + (out[1] - 1) * stride + 1 : stride]
            if depthwise:
                answer = answer + (part[..., None] * weight[i, j]).reshape(*part.shape[:2], -1)
            else:
                answer = answer + part @ weight[i, j]
    return np.asarray(answer, np.float32)


@settings(max_examples=25, deadline=None)
@given(
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.sampled_from([1, 2, 3]),
    dilation=st.sampled_from([1, 2]),
    size=st.tuples(st.integers(9, 14), st.integers(9, 14)),
    depthwise=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_same_convolution_pads_as_tensorflow_does(
    kernel: int, stride: int, dilation: int, size: tuple[int, int], depthwise: bool, seed: int
) -> None:
    dilation = 1 if stride > 1 else dilation  # TensorFlow allows one of the two
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(kernel, kernel, 3, 2)).astype(np.float32)
    bias = rng.normal(size=6 if depthwise else 2).astype(np.float32)
    step = convolution(
        "out", "input", "weight", stride=stride, dilations=[1, dilation, dilation, 1], inputs=("bias",),
        op="FusedDepthwiseConv2dNative" if depthwise else "_FusedConv2D", fused_ops=["BiasAdd", "Relu6"],
    )  # fmt: skip
    with TemporaryDirectory() as folder:
        graph = read_graph(write_graph(Path(folder), [picture(1, *size, 3), step], {"weight": weight, "bias": bias}))
    x = rng.normal(size=(*size, 3)).astype(np.float32)
    expected = np.clip(same_convolution(x, weight, stride, dilation, depthwise=depthwise) + bias, 0, 6)
    (answer,) = run(convert(graph, outputs={"out": "out"}), x.transpose(2, 0, 1)[None])
    np.testing.assert_allclose(answer[0].transpose(1, 2, 0), expected, atol=1e-5)


def channels_first_graph(folder: Path, side: int = 16) -> Path:
    """As converters from PyTorch write them: channels first, with a Transpose to and fro around each operator."""
    rng = np.random.default_rng(7)
    constants: dict[str, Any] = {
        "to": np.array([0, 2, 3, 1], np.int32), "fro": np.array([0, 3, 1, 2], np.int32),
        "rim": np.array([[0, 0], [0, 0], [1, 1], [1, 1]], np.int32), "below": np.array(-np.inf, np.float32),
        "weight": rng.normal(size=(3, 3, 3, 4)).astype(np.float32), "bias": rng.normal(size=(1, 1, 1, 4)).astype("f4"),
        "half": np.array([side // 4, side // 4], np.int32), "whole": np.array([side // 2, side // 2], np.int32),
        "sizes": np.array([3, 5], np.int32), "channels": np.array(1, np.int32),
        "base": np.array([1, 3, -1], np.int32), "none": np.zeros((0, 1), np.int32), "rank": np.array([3], np.int32),
        "values": np.zeros(0, np.int32), "zero": np.array(0, np.int32), "last": np.array([0, 2, 1], np.int32),
    }  # fmt: skip
    pool = {"ksize": [1, 3, 3, 1], "strides": [1, 2, 2, 1], "padding": "VALID", "data_format": "NHWC"}
    nodes = [
        picture(1, 3, side, side),
        node("Pad", "pad", "input", "rim"), node("Transpose", "a", "pad", "to"),
        convolution("conv", "a", "weight", stride=2, padding="VALID"), node("Add", "biased", "conv", "bias"),
        node("Transpose", "b", "biased", "fro"), node("LeakyRelu", "leaky", "b", alpha=0.1),
        node("PadV2", "rimmed", "leaky", "rim", "below"), node("Transpose", "c", "rimmed", "to"),
        node("MaxPool", "pooled", "c", **pool),
        node("ResizeBilinear", "up", "pooled", "whole", half_pixel_centers=True), node("Transpose", "d", "up", "fro"),
        node("ConcatV2", "both", "d", "leaky", "channels"),
        node("SplitV", "parts", "both", "sizes", "channels"), node("Sigmoid", "scores", "parts:1"),
        node("SparseToDense", "nought", "none", "rank", "values", "zero"), node("AddV2", "shape", "base", "nought"),
        node("Reshape", "flat", "parts", "shape"), node("Transpose", "rows", "flat", "last"),
        node("Identity", "cells", "rows"),
    ]  # fmt: skip
    return write_graph(folder, nodes, constants)


def channels_first_reference(x: Floats) -> tuple[Floats, Floats]:
    """The same graph in torch, on (1, 3, H, W)."""
    import torch
    import torch.nn.functional as F

    rng = np.random.default_rng(7)
    weight, bias = rng.normal(size=(3, 3, 3, 4)).astype(np.float32), rng.normal(size=(1, 1, 1, 4)).astype("f4")
    y = F.conv2d(torch.tensor(x), torch.tensor(weight.transpose(3, 2, 0, 1).copy()), torch.tensor(bias.ravel()), 2, 1)
    leaky = F.leaky_relu(y, 0.1)
    up = F.interpolate(F.max_pool2d(leaky, 3, 2, 1), scale_factor=2, mode="bilinear", align_corners=False)
    both = torch.cat([up, leaky], 1)
    return both[:, :3].flatten(2).numpy(), both[:, 3:].sigmoid().numpy()


def test_transposes_around_every_operator_leave_no_trace(tmp_path: Path) -> None:
    model = convert(read_graph(channels_first_graph(tmp_path)), outputs={"cells": "cells", "scores": "scores"})
    assert ops(model) == ["Conv", "LeakyRelu", "MaxPool", "Resize", "Concat", "Split", "Reshape", "Sigmoid"]
    x = np.random.default_rng(1).normal(size=(1, 3, 16, 16)).astype(np.float32)
    for answer, expected in zip(run(model, x), channels_first_reference(x), strict=True):
        np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_the_same_graph_serves_another_input_size_and_any_batch(tmp_path: Path) -> None:
    model = convert(read_graph(channels_first_graph(tmp_path)), outputs={"cells": "cells"}, input_size=(24, 8))
    x = np.random.default_rng(2).normal(size=(3, 3, 8, 24)).astype(np.float32)
    (answer,) = run(model, x)
    for one, picture_alone in zip(answer, x, strict=True):
        np.testing.assert_allclose(one[None], channels_first_reference(picture_alone[None])[0], atol=1e-5)
    declare_input_size(model, (32, 16))
    (wider,) = run(model, np.zeros((1, 3, 16, 32), np.float32))
    assert wider.shape == (1, 3, 16 * 8)


def test_a_size_that_the_strides_do_not_divide_is_refused(tmp_path: Path) -> None:
    graph = read_graph(channels_first_graph(tmp_path))
    with pytest.raises(WardposeError, match=r"cannot take 24×10; give multiples of 4"):
        convert(graph, outputs={"cells": "cells"}, input_size=(24, 10))


def test_a_picture_unpacked_and_packed_again_keeps_its_batch(tmp_path: Path) -> None:
    axis, scale = np.array([0], np.int32), np.array([0.5, 1.0, 2.0], np.float32)
    nodes = [
        picture(1, 8, 8, 3), node("Cast", "float", "input", SrcT="DT_INT32", DstT="DT_FLOAT"),
        node("Unpack", "one", "float", axis=0, num=1), node("ExpandDims", "again", "one", "axis"),
        node("Squeeze", "bare", "again", squeeze_dims=[0]), node("ExpandDims", "batch", "bare", "axis"),
        node("Sub", "same", "batch", "nought"), node("Mul", "out", "same", "scale"),
    ]  # fmt: skip
    constants = {"axis": axis, "scale": scale, "nought": np.zeros(3, np.float32)}
    model = convert(read_graph(write_graph(tmp_path, nodes, constants)), outputs={"out": "out"})
    assert ops(model) == ["Mul"]
    x = np.random.default_rng(3).normal(size=(2, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(run(model, x)[0], x * scale[:, None, None], atol=1e-6)


def test_a_sum_that_others_read_as_well_is_no_bias(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    weight, bias = rng.normal(size=(1, 1, 3, 2)).astype(np.float32), rng.normal(size=(1, 1, 1, 2)).astype("f4")
    nodes = [picture(1, 8, 8, 3), convolution("conv", "input", "weight"), node("Add", "sum", "conv", "bias"),
             node("AddV2", "out", "sum", "conv")]  # fmt: skip
    model = convert(read_graph(write_graph(tmp_path, nodes, {"weight": weight, "bias": bias})), outputs={"out": "out"})
    x = rng.normal(size=(1, 3, 8, 8)).astype(np.float32)
    expected = 2 * np.einsum("nchw,co->nohw", x, weight[0, 0]) + bias.reshape(1, 2, 1, 1)
    np.testing.assert_allclose(run(model, x)[0], expected, atol=1e-5)


def test_weights_in_half_precision_are_read_as_they_are(tmp_path: Path) -> None:
    weight = np.random.default_rng(5).normal(size=(3, 3, 3, 4)).astype(np.float32)
    path = write_graph(
        tmp_path, [picture(1, 8, 8, 3)], {"weight": weight, "shape": np.array([70000], np.int32)}, half=True
    )
    constants = read_graph(path).constants
    np.testing.assert_array_equal(constants["weight"], weight.astype(np.float16).astype(np.float32))
    assert constants["weight"].dtype == np.float32 and constants["shape"] == 70000


def plain_graph(folder: Path) -> Path:
    weight = np.ones((1, 1, 3, 2), np.float32)
    return write_graph(folder, [picture(1, 8, 8, 3), convolution("out", "input", "weight")], {"weight": weight})


def edited(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        graph = json.loads(path.read_text())
        change(graph)
        path.write_text(json.dumps(graph))

    return apply


def in_topology(**changes: Any) -> Callable[[Path], None]:
    """Alters the convolution's node."""
    return edited(lambda graph: graph["modelTopology"]["node"][1].update(changes))


def in_attributes(**changes: Mapping[str, Any]) -> Callable[[Path], None]:
    return edited(lambda graph: graph["modelTopology"]["node"][1]["attr"].update(changes))


def in_weights(**changes: Any) -> Callable[[Path], None]:
    return edited(lambda graph: graph["weightsManifest"][0]["weights"][0].update(changes))


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut off json": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "no TensorFlow.js graph model"),
    "a layers model": (edited(lambda graph: graph.update(format="layers-model")), "format: Input should be"),
    "another json": (lambda path: path.write_text("[1, 2]"), "no TensorFlow.js graph model"),
    "cut off bin": (lambda path: path.with_suffix(".bin").write_bytes(b"12345678"), r"8 bytes, the graph speaks of 24"),
    "no bin": (lambda path: path.with_suffix(".bin").unlink(), "graph.bin: no such file"),
    "json and bin disagree": (in_weights(shape=[1, 1, 3, 3]), r"24 bytes, the graph speaks of 36"),
    "a negative size": (in_weights(shape=[-1, -2, 3, 1]), "greater than or equal to 0"),
    "a file elsewhere": (edited(lambda g: g["weightsManifest"][0].update(paths=["../graph.bin"])), "no file beside it"),
    "coarse quantisation": (in_weights(quantization={"dtype": "uint8", "scale": 1, "min": 0}), "quantization.dtype"),
    "weights that are no numbers": (
        lambda path: path.with_suffix(".bin").write_bytes(np.full(6, np.nan, np.float32).tobytes()),
        "are not numbers",
    ),
    "an unknown operator": (in_topology(op="NonMaxSuppressionV5"), "not known: NonMaxSuppressionV5"),
    "a missing node": (in_topology(input=["nobody", "weight"]), "no node nobody"),
    "a cycle": (in_topology(input=["out", "weight"]), "depends on itself"),
    "two nodes of a name": (in_topology(name="input"), "two nodes input"),
    "a second output that is not there": (in_topology(input=["input:1", "weight"]), "Conv2D out is used in a way"),
    "weights instead of a picture": (in_topology(input=["weight", "weight"]), "Conv2D out is used in a way"),
    "no weights": (in_topology(input=["input"]), "Conv2D out is used in a way"),
    "channels first inside": (in_attributes(data_format={"s": "TkNIVw=="}), "channels first"),
    "explicit padding": (in_attributes(padding={"s": "RVhQTElDSVQ="}), "EXPLICIT padding"),
    "a stride of nought": (in_attributes(strides={"list": {"i": ["1", "0", "0", "1"]}}), "Conv2D out is used in a way"),
    "an attribute of two kinds": (in_attributes(padding={"s": "U0FNRQ==", "i": "1"}), "padding does not hold"),
    "an attribute that is no text": (in_attributes(padding={"s": "?"}), "padding does not hold"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_understood_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    spoil, words = BAD[name]
    path = plain_graph(tmp_path)
    spoil(path)
    with pytest.raises(WardposeError, match=words) as refused:
        convert(read_graph(path), outputs={"out": "out"})
    assert len(str(refused.value).splitlines()) == 1 and refused.value.mend


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_never_does_more_than_raise_our_error(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = plain_graph(Path(folder))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(32, 126))
        path.write_bytes(bytes(content))
        try:
            convert(read_graph(path), outputs={"out": "out"})
        except WardposeError as error:
            assert len(str(error).splitlines()) == 1
