"""Features come out of a detector's own layers; the maps agree with their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.errors import WardposeError
from synth.features import neighbour_map, picture_features, principal_components
from tests.runtime.onnx_graphs import constant_model, info

pytest.importorskip("onnx")


def convolving_model(path: Path) -> tuple[Path, np.ndarray]:
    """A detector of two convolutions, the first with the most channels, and that one's weights (5, 3)."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    described = info()
    rng = np.random.default_rng(4)
    wide, narrow = rng.normal(size=(5, 3, 1, 1)), rng.normal(size=(2, 5, 1, 1))
    tensors = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in (("wide", wide), ("narrow", narrow))]
    nodes = [
        helper.make_node("Conv", ["images", "wide"], ["deep"]),
        helper.make_node("Conv", ["deep", "narrow"], ["answer"]),
    ]
    shape = [1, 3, described.height, described.width]
    graph = helper.make_graph(
        nodes, "detector", [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 2, *shape[2:]])], tensors,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"wardpose": described.model_dump_json()})
    onnx.save(model, str(path))
    return path, wide[:, :, 0, 0]


def test_features_are_the_statistics_of_the_trunk(tmp_path: Path) -> None:
    model, weights = convolving_model(tmp_path / "model.onnx")
    described = info()
    color = np.zeros((described.height, described.width, 3), np.uint8)
    color[..., 0], color[: described.height // 2, :, 2] = 255, 128
    answers = color.reshape(-1, 3) / np.array(described.std) @ weights.T
    found = picture_features(model, [color, color])
    np.testing.assert_allclose(found[1], np.concatenate([answers.mean(0), answers.std(0)]), rtol=1e-4)


def test_a_network_that_says_nothing_of_itself_is_fed_as_those_of_imagenet(tmp_path: Path) -> None:
    import onnx

    path, weights = convolving_model(tmp_path / "vgg16.onnx")
    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.save(model, str(path))
    color = np.full((info().height, info().width, 3), (200, 100, 50), np.uint8)
    (found,) = picture_features(path, [color])
    given = (np.array([200, 100, 50]) - (123.675, 116.28, 103.53)) / (58.395, 57.12, 57.375)
    np.testing.assert_allclose(found[:5], weights @ given, rtol=1e-4)


def test_a_model_without_convolutions_is_refused(tmp_path: Path) -> None:
    model = constant_model(tmp_path / "constant.onnx", [np.zeros((5, 1), np.float32)], info())
    with pytest.raises(WardposeError, match="no convolutions"):
        picture_features(model, [])


def test_components_are_the_eigenvectors_of_the_correlations() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 7)) + 3
    points, shares = principal_components(features)
    values, vectors = np.linalg.eigh(np.corrcoef(features.T))
    scaled = (features - features.mean(0)) / features.std(0)
    np.testing.assert_allclose(np.abs(points), np.abs(scaled @ vectors[:, [-1, -2]]), atol=1e-8)
    np.testing.assert_allclose(shares, values[[-1, -2]] / values.sum(), rtol=1e-8)


def test_a_map_keeps_neighbours_together() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(1)
    features = np.concatenate([rng.normal(0, 1, (25, 6)), rng.normal(9, 1, (25, 6))])
    points = neighbour_map(features)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.diag(np.full(50, np.inf))
    assert ((distance.argmin(1) < 25) == (np.arange(50) < 25)).mean() > 0.95
    np.testing.assert_array_equal(points, neighbour_map(features))
