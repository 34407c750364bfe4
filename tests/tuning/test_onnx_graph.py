"""An ONNX graph as a torch module answers as ONNX Runtime does, is trained, and goes back into its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from calibration.errors import WardposeError
from tests.tuning.drawn_graphs import BINS, YoloLike, Yolov6Like, YoloxLike, draw_graph
from tuning.families.onnx_graph import OnnxGraph, load_graph, with_input_size

FORMS = {
    "yolox": YoloxLike,
    "yolox in pixels": lambda: YoloxLike(pixels=True),
    "yolov6": Yolov6Like,
    "yolov6 with distributions": lambda: Yolov6Like(bins=BINS),
    "yolo": YoloLike,
}
RNG = np.random.default_rng(7)


def session(model: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def by_runtime(model: onnx.ModelProto, picture: Any) -> list[Any]:
    opened = session(model)
    answer: list[Any] = opened.run(None, {opened.get_inputs()[0].name: picture})
    return answer


def by_torch(model: onnx.ModelProto, picture: Any) -> list[Any]:
    graph = OnnxGraph(model)
    with torch.no_grad():
        answer = graph(torch.from_numpy(picture))
    return [answer[name].numpy() for name in graph.outputs]


def assert_agree(model: onnx.ModelProto, picture: Any, tolerance: float = 1e-5) -> None:
    expected, actual = by_runtime(model, picture), by_torch(model, picture)
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=tolerance * max(float(np.abs(other).max()), 1.0), rtol=0)


def chain(
    *nodes: onnx.NodeProto,
    constants: dict[str, Any] | None = None,
    size: tuple[int, ...] = (1, 3, 9, 12),
    opset: int = 17,
) -> onnx.ModelProto:
    """A graph from `x` to `y`."""
    graph = helper.make_graph(
        list(nodes), "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )  # fmt: skip
    domains = {"": opset, **{node.domain: 1 for node in nodes if node.domain}}
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def loaded(model: onnx.ModelProto, folder: Path, **size: int) -> onnx.ModelProto:
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return load_graph(path, **size)


def node(op: str, inputs: str = "x", outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, [name if name != "-" else "" for name in inputs.split()], outputs.split(), **attributes)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.sampled_from([1, 3]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]) | st.lists(st.integers(0, 2), min_size=4, max_size=4),
    bias=st.booleans(),
)  # fmt: skip
def test_any_convolution_answers_as_onnx_runtime_does(
    groups: int, kernel: Any, stride: Any, dilation: Any, pads: Any, bias: bool
) -> None:
    if isinstance(pads, str):
        dilation = (1, 1)  # ONNX Runtime refuses auto_pad with dilations
    padding = {"auto_pad": pads} if isinstance(pads, str) else {"pads": pads}
    constants = {"w": RNG.standard_normal((6, 3 // groups, *kernel), np.float32)}
    if bias:
        constants["b"] = RNG.standard_normal(6, np.float32)
    convolution = node("Conv", "x w b" if bias else "x w", strides=stride, dilations=dilation, group=groups, **padding)
    assert_agree(chain(convolution, constants=constants), RNG.standard_normal((1, 3, 9, 12), np.float32))


@settings(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(["nearest", "linear"]),
    rule=st.sampled_from(["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]),
    rounding=st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
    scales=st.tuples(st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0]), st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0])),
    by_size=st.booleans(),
)
def test_any_resize_answers_as_onnx_runtime_does(
    mode: str, rule: str, rounding: str, scales: tuple[float, float], by_size: bool
) -> None:
    attributes = {"mode": mode, "coordinate_transformation_mode": rule, "nearest_mode": rounding}
    if by_size:
        sizes = np.array([1, 3, int(8 * scales[0]), int(12 * scales[1])], np.int64)
        model = chain(node("Resize", "x - - s", **attributes), constants={"s": sizes}, size=(1, 3, 8, 12))
    else:
        factors = np.array([1, 1, *scales], np.float32)
        model = chain(node("Resize", "x - s", **attributes), constants={"s": factors}, size=(1, 3, 8, 12))
    assert_agree(model, RNG.standard_normal((1, 3, 8, 12), np.float32))


def _i(*values: int) -> Any:
    return np.array(values, np.int64)


STEPS: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "max pool": ([node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])], {}),
    "max pool, ceil": ([node("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)], {}),
    "max pool, wide": ([node("MaxPool", kernel_shape=[5, 5], pads=[2, 2, 2, 2])], {}),
    "average pool": ([node("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 0, 1])], {}),
    "average pool, counted": (
        [node("AveragePool", kernel_shape=[3, 3], strides=[2, 1], pads=[1, 1, 1, 1], count_include_pad=1)], {}
    ),
    "global pool": ([node("GlobalAveragePool")], {}),
    "global maximum": ([node("GlobalMaxPool")], {}),
    "transposed convolution": (
        [node("ConvTranspose", "x w b", strides=[2, 2], pads=[1, 0, 0, 1], output_padding=[1, 1])],
        {"w": RNG.standard_normal((3, 4, 3, 3), np.float32), "b": RNG.standard_normal(4, np.float32)},
    ),
    "batch normalisation": (
        [node("BatchNormalization", "x a b m v", epsilon=1e-3)],
        {k: RNG.random(3, np.float32) + 0.5 for k in "abmv"},
    ),
    "hard swish": ([node("HardSwish")], {}),
    "hard sigmoid": ([node("HardSigmoid", alpha=1 / 6)], {}),
    "clip": ([node("Clip", "x a b")], {"a": np.float32(-0.5), "b": np.float32(0.8)}),
    "clip from below": ([node("Clip", "x a")], {"a": np.float32(-0.5)}),
    "leaky": ([node("LeakyRelu", alpha=0.1)], {}),
    "prelu": ([node("PRelu", "x a")], {"a": RNG.random((3, 1, 1), np.float32)}),
    "x times its sigmoid": ([node("Sigmoid", "x", "s"), node("Mul", "s x")], {}),
    "softmax": ([node("Softmax", axis=1)], {}),
    "gelu": ([node("Div", "x r", "a"), node("Erf", "a", "e"), node("Mul", "e x")], {"r": np.float32(1.414)}),
    "softplus": ([node("Softplus")], {}),
    "pad": ([node("Pad", "x p v")], {"p": _i(0, 1, 2, 0, 0, 0, 1, 3), "v": np.float32(0.5)}),
    "pad, mirrored": ([node("Pad", "x p", mode="reflect")], {"p": _i(0, 0, 2, 1, 0, 0, 1, 3)}),
    "slice": (
        [node("Slice", "x s e a t")],
        {"s": _i(1, -1), "e": _i(2**31 - 1, -(2**31)), "a": _i(2, 3), "t": _i(2, -2)},
    ),
    "gather": ([node("Gather", "x i", axis=1)], {"i": _i(2, -3)}),
    "split and concat": ([node("Split", "x s", "a b", axis=3), node("Concat", "b a", axis=3)], {"s": _i(5, 7)}),
    "reshape with 0 and -1": ([node("Reshape", "x s")], {"s": _i(0, 0, -1)}),
    "transpose": ([node("Transpose", perm=[0, 2, 3, 1])], {}),
    "flatten to a product": (
        [node("Flatten", "x", "f"), node("Gemm", "f w b", transB=1)],
        {"w": RNG.standard_normal((5, 324), np.float32), "b": RNG.standard_normal(5, np.float32)},
    ),
    "matrix product": (
        [node("MatMul", "x w", "p"), node("Add", "p b")],
        {"w": RNG.standard_normal((12, 4), np.float32), "b": RNG.standard_normal(4, np.float32)},
    ),
    "reduce": ([node("ReduceMean", axes=[2, 3], keepdims=1)], {}),
    "lengths computed from the shape": (
        [
            node("Shape", "x", "s"), node("Gather", "s i", "n"), node("Concat", "n m", "t", axis=0),
            node("Reshape", "x t"),
        ],
        {"i": _i(0, 1), "m": _i(-1)},
    ),
    "expand and where": (
        [node("Expand", "c s", "e"), node("Greater", "x e", "g"), node("Where", "g x e")],
        {"c": np.zeros((1, 1, 1, 1), np.float32), "s": _i(1, 3, 9, 12)},
    ),
    "squeeze and unsqueeze": ([node("Unsqueeze", "x a", "u"), node("Squeeze", "u a")], {"a": _i(2)}),
    "depth to space": ([node("SpaceToDepth", "x", "d", blocksize=3), node("DepthToSpace", "d", blocksize=3)], {}),
    "layer norm": ([node("LayerNormalization", "x a")], {"a": RNG.random(12, np.float32)}),
    "exponential": ([node("Exp", "x", "a"), node("Pow", "a p")], {"p": np.float32(1.5)}),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_every_operator_answers_as_onnx_runtime_does(name: str, tmp_path: Path) -> None:
    nodes, constants = STEPS[name]
    model = loaded(chain(*nodes, constants=constants), tmp_path)
    assert_agree(model, RNG.standard_normal((1, 3, 9, 12), np.float32))


@pytest.mark.parametrize("form", FORMS)
def test_a_detector_answers_as_onnx_runtime_does_in_batches_of_any_size(form: str, tmp_path: Path) -> None:
    model = load_graph(draw_graph(tmp_path / "m.onnx", FORMS[form]()))
    pictures = RNG.random((3, 3, 64, 96), np.float32)
    expected = np.concatenate([by_runtime(model, picture[None])[0] for picture in pictures])
    (actual,) = by_torch(model, pictures)
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("width", "height"), [(160, 96), (64, 64)])
def test_a_graph_declared_for_another_size_is_the_one_exported_for_it(
    form: str, width: int, height: int, tmp_path: Path
) -> None:
    model = with_input_size(onnx.load(str(draw_graph(tmp_path / "a.onnx", FORMS[form]()))), width, height)
    exported = load_graph(draw_graph(tmp_path / "b.onnx", FORMS[form](), width=width, height=height))
    picture = RNG.random((1, 3, height, width), np.float32)
    expected, actual = by_runtime(exported, picture)[0], by_runtime(model, picture)[0]
    np.testing.assert_allclose(actual, expected, atol=1e-4)
    assert [axis.dim_value for axis in model.graph.output[0].type.tensor_type.shape.dim] == list(expected.shape)


def test_a_size_between_strides_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="100×64 is no multiple of 32"):
        with_input_size(load_graph(draw_graph(tmp_path / "m.onnx", YoloLike())), 100, 64)


def test_a_graph_whose_constants_belong_to_one_size_says_which() -> None:
    table = RNG.standard_normal((1, 3, 8, 16), np.float32)
    model = chain(node("Add", "x table", name="position"), constants={"table": table}, size=(1, 3, 8, 16))
    with pytest.raises(WardposeError, match=r"made for 16×8 only: its node position \(Add\)"):
        with_input_size(model, 32, 8)


def test_training_goes_into_the_file_and_nowhere_else(tmp_path: Path) -> None:
    model = load_graph(draw_graph(tmp_path / "m.onnx", YoloLike()))
    graph, before = OnnxGraph(model), OnnxGraph(model).state()
    graph.freeze(2)
    optimiser = torch.optim.SGD([p for p in graph.parameters() if p.requires_grad], 1e-2)
    picture = torch.from_numpy(RNG.random((2, 3, 64, 96), np.float32))
    graph(picture)["output"].square().mean().backward()
    optimiser.step()
    written, after = graph.written(), graph.state()
    kept = {name for name in before if np.array_equal(before[name], after[name])}
    frozen = set(graph.convolutions[:2]) | {name.replace("weight", "bias") for name in graph.convolutions[:2]}
    assert kept == frozen and len(after) > len(frozen)
    with torch.no_grad():
        expected = graph(picture)["output"].numpy()
    actual = np.concatenate([by_runtime(written, p[None])[0] for p in picture.numpy()])
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())
    same = [(a, b) for a, b in zip(model.graph.node, written.graph.node, strict=True) if a != b]
    assert not same
    changed = {a.name for a, b in zip(model.graph.initializer, written.graph.initializer, strict=True) if a != b}
    assert changed == set(before) - frozen


def test_an_output_of_sigmoids_comes_as_logits_too(tmp_path: Path) -> None:
    graph = OnnxGraph(load_graph(draw_graph(tmp_path / "m.onnx", YoloLike(classes=2))))
    with torch.no_grad():
        answer = graph(torch.rand(2, 3, 64, 96))
    torch.testing.assert_close(answer["output:logits"][:, 4:].sigmoid(), answer["output"][:, 4:])
    torch.testing.assert_close(answer["output:logits"][:, :4], answer["output"][:, :4])


def test_weights_that_are_laid_out_anew_before_their_use_are_trained(tmp_path: Path) -> None:
    weight = RNG.standard_normal((4, 12), np.float32)
    model = loaded(
        chain(node("Transpose", "w", "t", perm=[1, 0]), node("MatMul", "x t"), constants={"w": weight}), tmp_path
    )
    graph = OnnxGraph(model)
    assert list(graph.state()) == ["w"]
    graph.load_state({"w": weight * 2})
    picture = RNG.random((1, 3, 9, 12), np.float32)
    np.testing.assert_allclose(by_runtime(graph.written(), picture)[0], picture @ (2 * weight.T), rtol=1e-4)


def test_the_mean_over_bins_is_no_weight(tmp_path: Path) -> None:
    graph = OnnxGraph(load_graph(draw_graph(tmp_path / "m.onnx", YoloLike())))
    assert len(graph.convolutions) == 5 + 2 * 3
    assert not any(name.startswith("mean") for name in graph.state())


def test_weights_of_another_graph_are_refused(tmp_path: Path) -> None:
    graph = OnnxGraph(load_graph(draw_graph(tmp_path / "a.onnx", YoloLike(classes=2))))
    other = OnnxGraph(load_graph(draw_graph(tmp_path / "b.onnx", YoloLike(classes=3)))).state()
    with pytest.raises(WardposeError, match="do not fit the graph"):
        graph.load_state(other)


def test_pictures_of_another_size_are_refused(tmp_path: Path) -> None:
    graph = OnnxGraph(load_graph(draw_graph(tmp_path / "m.onnx", YoloLike())))
    with pytest.raises(WardposeError, match="declared for"):
        graph(torch.zeros(1, 3, 96, 96))


def _convolution(**extra: Any) -> onnx.ModelProto:
    return chain(
        node("Conv", "x w", "c", pads=[1, 1, 1, 1]), node("Relu", "c"),
        constants={"w": RNG.standard_normal((4, 3, 3, 3), np.float32)}, **extra,
    )  # fmt: skip


def test_half_precision_is_widened(tmp_path: Path) -> None:
    from onnx import TensorProto

    model = _convolution()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    picture = RNG.random((1, 3, 9, 12), np.float32)
    wide = loaded(model, tmp_path)
    expected = by_runtime(model, picture.astype(np.float16))[0].astype(np.float32)
    assert_agree(wide, picture)
    np.testing.assert_allclose(by_torch(wide, picture)[0], expected, atol=2e-2)
    assert all(tensor.data_type == TensorProto.FLOAT for tensor in OnnxGraph(wide).written().graph.initializer)


@pytest.mark.parametrize("opset", [9, 11, 13, 21, 25])
def test_opsets_old_and_new_answer_as_onnx_runtime_does(opset: int, tmp_path: Path) -> None:
    model = loaded(_convolution(opset=opset), tmp_path)
    if opset > onnxruntime_opset():
        pytest.skip(f"this ONNX Runtime knows opsets up to {onnxruntime_opset()}")
    assert_agree(model, RNG.random((1, 3, 9, 12), np.float32))


def onnxruntime_opset() -> int:
    for opset in range(26, 16, -1):
        try:
            session(chain(node("Relu"), opset=opset))
        except Exception:
            continue
        return opset
    return 16


def test_what_were_attributes_in_opset_9_is_read_there(tmp_path: Path) -> None:
    model = chain(
        node("Upsample", "x s", "u", mode="nearest"),
        node("Slice", "u", "v", starts=[1], ends=[2**31 - 1], axes=[2]),
        node("Pad", "v", "p", pads=[0, 0, 1, 0, 0, 0, 0, 1], value=0.5),
        node("Clip", "p", "c", min=-0.5, max=0.5),
        node("Unsqueeze", "c", "q", axes=[0]), node("Squeeze", "q", "z", axes=[0]),
        node("Split", "z", "a b", axis=1, split=[1, 2]), node("Softmax", "b", "y", axis=1),
        constants={"s": np.array([1, 1, 2, 2], np.float32)}, opset=9,
    )  # fmt: skip
    assert_agree(loaded(model, tmp_path), RNG.standard_normal((1, 3, 9, 12), np.float32))


@pytest.mark.parametrize("opset", [6, 99])
def test_an_opset_that_is_not_known_is_refused(opset: int, tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match=rf"its opset is {opset}, known are 7 to 26"):
        loaded(_convolution(opset=opset), tmp_path)


def test_a_real_yolox_answers_as_onnx_runtime_does(shared_data: Path) -> None:
    model = load_graph(shared_data / "weights/yolox_nano.onnx")
    assert_agree(model, (RNG.random((1, 3, 416, 416)) * 255).astype(np.float32), 1e-4)
