"""Foreign models come in through one door, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calibration.errors import WardposeError
from tuning.import_model import import_model
from tuning.store.card import read_card
from tuning.store.weights import read_safetensors, read_weights, write_safetensors


@settings(max_examples=25, deadline=None)
@given(
    state=st.dictionaries(
        st.text("abc.", min_size=1, max_size=6),
        hnp.arrays(
            np.float32, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), elements=st.floats(-8, 8, width=16)
        ),
        max_size=4,
    )
)
def test_weights_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, np.ndarray]
) -> None:
    for half in (False, True):
        path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
        write_safetensors(path, state, half=half, metadata={"architecture": "yolo11n"})
        read, metadata = read_safetensors(path)
        assert metadata["architecture"] == "yolo11n" and set(read) == set(state)
        for name, value in state.items():
            np.testing.assert_array_equal(read[name], value)


def test_weights_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="not finite"):
        write_safetensors(tmp_path / "w.safetensors", {"a": np.array([np.nan], np.float32)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", ["person-v5nu.pt", "person-v5nu.safetensors"])
def test_real_weights_are_imported_and_recognised(shared_data: Path, tmp_path: Path, file: str) -> None:
    card = import_model(shared_data / "weights" / file, tmp_path, "person", width=416, height=416)
    expected, _ = read_safetensors(shared_data / "weights/person-v5nu.safetensors")
    assert (card.architecture, card.classes, card.layout, card.width) == ("yolov5n", 1, "yolo", 416)
    assert read_card(tmp_path / "person") == card
    for name, value in read_weights(tmp_path / "person", card).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_an_architecture_that_nobody_knows_is_named_with_those_that_are(shared_data: Path, tmp_path: Path) -> None:
    weights = shared_data / "weights" / "person-v5nu.safetensors"
    with pytest.raises(WardposeError, match="no architecture is called 'yolo99'") as said:
        import_model(weights, tmp_path, "person", architecture="yolo99")
    assert "yolov5n" in said.value.mend
    with pytest.raises(WardposeError, match="the weights are no rt_detr_v2"):
        import_model(weights, tmp_path, "person", architecture="rt_detr_v2")
    assert not list(tmp_path.iterdir())


def test_a_foreign_onnx_detector_is_recognised_by_its_shapes(shared_data: Path, tmp_path: Path) -> None:
    from runtime.engines.onnx_engine import OnnxEngine

    card = import_model(shared_data / "weights/yolox_nano.onnx", tmp_path, "yolox")
    assert (card.layout, card.classes, card.width, card.height) == ("yolox", 80, 416, 416)
    assert OnnxEngine(tmp_path / "yolox" / card.weights).info == card.info


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model.onnx", "model.txt"])
def test_a_file_that_is_no_model_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is no model, whatever its name says")
    with pytest.raises(WardposeError):
        import_model(tmp_path / name, tmp_path / "models", "new")
    assert not list((tmp_path / "models").iterdir())


def test_an_existing_model_is_not_overwritten(tmp_path: Path, random_detector: Path) -> None:
    weights = random_detector / "weights.safetensors"
    import_model(weights, tmp_path, "mine")
    with pytest.raises(WardposeError, match="already here"):
        import_model(weights, tmp_path, "mine")


def test_changed_weights_are_noticed(tmp_path: Path, random_detector: Path) -> None:
    import_model(random_detector / "weights.safetensors", tmp_path, "mine")
    path = tmp_path / "mine" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x01"[-1:])
    with pytest.raises(WardposeError, match="SHA-256"):
        read_weights(tmp_path / "mine", read_card(tmp_path / "mine"))


def test_an_architecture_that_names_a_loader_of_pickles_is_refused(random_detector: Path) -> None:
    from tuning.families.yolo_models import build_detector

    card = read_card(random_detector)
    layers = {"nc": 1, "backbone": [[-1, 1, "torch_safe_load", ["evil.pt"]]], "head": []}
    with pytest.raises(WardposeError, match="refused"):
        build_detector(card.model_copy(update={"architecture_yaml": layers}), None)
    layers = {"nc": 1, "backbone": [[-1, 1, "Conv", [64, 3, 2]]], "head": [], "activation": "__import__('os').abort()"}
    with pytest.raises(WardposeError, match="refused"):
        build_detector(card.model_copy(update={"architecture_yaml": layers}), None)


def open_yolox(path: Path, size: tuple[int, int] | None) -> Path:
    """A YOLOX-shaped graph: one convolution a grid, the picture's size open where `size` is None."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights = [], [numpy_helper.from_array(np.array([0, 7, -1]), "shape")]
    for stride in (8, 16, 32):
        weights.append(
            numpy_helper.from_array(rng.normal(0, 0.01, (7, 3, stride, stride)).astype(np.float32), f"w{stride}")
        )
        nodes += [
            helper.make_node("Conv", ["images", f"w{stride}"], [f"c{stride}"], strides=[stride] * 2),
            helper.make_node("Reshape", [f"c{stride}", "shape"], [f"r{stride}"]),
        ]
    nodes.append(helper.make_node("Concat", ["r8", "r16", "r32"], ["all"], axis=2))
    nodes.append(helper.make_node("Transpose", ["all"], ["raw"], perm=[0, 2, 1]))
    nodes.append(helper.make_node("Sigmoid", ["raw"], ["output"]))
    height, width = size or ("height", "width")
    cells = sum((size[0] // s) * (size[1] // s) for s in (8, 16, 32)) if size else "cells"
    graph = helper.make_graph(
        nodes, "open", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, height, width])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, cells, 7])], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"names": "person, bed"})
    onnx.save(model, str(path))
    return path


def test_an_open_size_is_asked_for_and_then_taken(tmp_path: Path) -> None:
    path = open_yolox(tmp_path / "open.onnx", None)
    with pytest.raises(WardposeError, match=r"size open.*--size"):
        import_model(path, tmp_path / "models", "open")
    card = import_model(path, tmp_path / "models", "open", width=96, height=64)
    assert (card.family, card.layout, card.width, card.height) == ("yolox", "yolox", 96, 64)


def test_a_cut_off_onnx_file_leaves_nothing_behind(tmp_path: Path) -> None:
    whole = open_yolox(tmp_path / "whole.onnx", (64, 96)).read_bytes()
    for part in (0.1, 0.5, 0.97):
        path = tmp_path / "cut.onnx"
        path.write_bytes(whole[: int(part * len(whole))])
        with pytest.raises(WardposeError):
            import_model(path, tmp_path / "models", "cut")
        assert not list((tmp_path / "models").iterdir())
