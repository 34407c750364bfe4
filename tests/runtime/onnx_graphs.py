"""Tiny ONNX models that compute something known, for tests of the engines and what stands on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from runtime.model_info import METADATA_KEY, ModelInfo


def info(**changes: Any) -> ModelInfo:
    stated: dict[str, Any] = {"name": "tiny", "task": "detect", "layout": "yolo", "width": 64, "height": 64} | changes
    return ModelInfo.model_validate(stated)


def constant_model(
    path: Path, answers: list[NDArray[np.float32]], described: ModelInfo | None, batch: int | None = None
) -> Path:
    """A model that answers each picture with `answers` plus 0 times its mean: constant, yet batched like a real one.

    answers: one array for each output, without the batch axis. batch: a fixed batch size, None for a dynamic one.
    """
    side = (described.height, described.width) if described else (64, 64)
    nodes, outputs, constants = [], [], []
    constants.append(numpy_helper.from_array(np.zeros((), np.float32), "nought"))
    for index, answer in enumerate(answers):
        constants.append(numpy_helper.from_array(answer[None].astype(np.float32), f"answer{index}"))
        constants.append(numpy_helper.from_array(np.array([0, *([1] * answer.ndim)], np.int64), f"shape{index}"))
        constants.append(numpy_helper.from_array(np.array([1, 2, 3], np.int64), f"axes{index}"))
        nodes += [
            helper.make_node("ReduceMean", ["images", f"axes{index}"], [f"mean{index}"], keepdims=1),
            helper.make_node("Mul", [f"mean{index}", "nought"], [f"none{index}"]),
            helper.make_node("Reshape", [f"none{index}", f"shape{index}"], [f"zero{index}"]),
            helper.make_node("Add", [f"zero{index}", f"answer{index}"], [f"output{index}"]),
        ]
        outputs.append(helper.make_tensor_value_info(f"output{index}", TensorProto.FLOAT, [batch, *answer.shape]))
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch or "N", 3, *side])
    return _save(path, helper.make_graph(nodes, "constant", [picture], outputs, constants), described)


def brightness_model(path: Path, described: ModelInfo, batch: int | None = None) -> Path:
    """A model whose one output (N, 3) is the mean of each channel it was fed."""
    picture = helper.make_tensor_value_info(
        "images", TensorProto.FLOAT, [batch or "N", 3, described.height, described.width]
    )
    output = helper.make_tensor_value_info("mean", TensorProto.FLOAT, [batch or "N", 3])
    axes = numpy_helper.from_array(np.array([2, 3], np.int64), "axes")
    node = helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0)
    return _save(path, helper.make_graph([node], "brightness", [picture], [output], [axes]), described)


def colour_model(path: Path, described: ModelInfo, colours: NDArray[np.floating]) -> Path:
    """A `heatmap` model of people whose joints are discs, of nine colours (9, 3) of 0…255: the nose, then pairs.

    Of a pair it takes the disc right of the middle for the left joint, as with somebody who faces the camera and
    stands upright: it knows no others. The input must be 0…255.
    """
    size = (described.height, described.width)
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, *size])
    output = helper.make_tensor_value_info("heatmap", TensorProto.FLOAT, ["N", 17, size[0] // 4, size[1] // 4])
    joints = np.asarray(colours, np.float32)[np.r_[0, np.repeat(np.arange(1, 9), 2)]]
    ramp = (0.3 * np.tanh((np.arange(size[1]) - size[1] / 2) / 8)).astype(np.float32)
    side = np.array([0] + [1, -1] * 8, np.float32)
    constants = [
        numpy_helper.from_array(joints.reshape(1, 17, 3, 1, 1), "colours"),
        numpy_helper.from_array(0.7 + side[None, :, None, None] * ramp, "sides"),
        numpy_helper.from_array(np.array([1], np.int64), "joints"),
        numpy_helper.from_array(np.array([2], np.int64), "channels"),
        numpy_helper.from_array(np.array(1 / 60, np.float32), "sharp"),
        numpy_helper.from_array(np.array(1, np.float32), "one"),
    ]
    nodes = [
        helper.make_node("Unsqueeze", ["images", "joints"], ["each"]),
        helper.make_node("Sub", ["each", "colours"], ["apart"]),
        helper.make_node("Abs", ["apart"], ["distance"]),
        helper.make_node("ReduceSum", ["distance", "channels"], ["total"], keepdims=0),
        helper.make_node("Mul", ["total", "sharp"], ["scaled"]),
        helper.make_node("Sub", ["one", "scaled"], ["near"]),
        helper.make_node("Relu", ["near"], ["map"]),
        helper.make_node("Mul", ["map", "sides"], ["believed"]),
        helper.make_node("AveragePool", ["believed"], ["heatmap"], kernel_shape=[4, 4], strides=[4, 4]),
    ]
    return _save(path, helper.make_graph(nodes, "colour", [picture], [output], constants), described)


def _save(path: Path, graph: onnx.GraphProto, described: ModelInfo | None) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if described is not None:
        helper.set_model_props(model, {METADATA_KEY: described.model_dump_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
