"""What cannot be trained as the graph it is: named, before any work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from calibration.errors import WardposeError
from tests.tuning.drawn_graphs import YoloLike, draw_graph
from tests.tuning.test_onnx_graph import _convolution, _i, chain, loaded, node
from tuning.families.onnx_graph import OnnxGraph, load_graph


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="cannot be trained through the operators Hardmax, Sin"):
        loaded(chain(node("Hardmax", "x", "a"), node("Sin", "a")), tmp_path)


def test_an_operator_of_another_domain_is_named(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match=r"com\.example\.Relu"):
        loaded(chain(node("Relu", domain="com.example")), tmp_path)


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    model = chain(
        node("DequantizeLinear", "w s", "d"), node("Conv", "x d"),
        constants={"w": np.ones((4, 3, 3, 3), np.int8), "s": np.float32(0.1)},
    )  # fmt: skip
    with pytest.raises(WardposeError, match=r"its weights are quantised \(DequantizeLinear\)"):
        loaded(model, tmp_path)


def test_boxes_chosen_inside_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match=r"chooses its boxes inside \(TopK\): no gradient passes"):
        loaded(chain(node("TopK", "x k", "y i"), constants={"k": _i(2)}), tmp_path)


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(_convolution(), str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(WardposeError, match=r"m\.onnx: its weights lie in other files"):
        load_graph(path)


def test_an_open_size_has_to_be_said(tmp_path: Path) -> None:
    model = _convolution()
    for axis, name in zip(model.graph.input[0].type.tensor_type.shape.dim, ("n", "", "h", "w"), strict=True):
        if name:
            axis.dim_param = name
    with pytest.raises(WardposeError, match="its input size is open"):
        loaded(model, tmp_path)
    said = loaded(model, tmp_path, width=32, height=16)
    assert OnnxGraph(said)(torch.zeros(2, 3, 16, 32))["y"].shape == (2, 4, 16, 32)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_cut_off_is_refused(share: float, tmp_path: Path) -> None:
    content = draw_graph(tmp_path / "m.onnx", YoloLike()).read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: int(share * len(content))])
    with pytest.raises(WardposeError, match=r"cut\.onnx"):
        load_graph(tmp_path / "cut.onnx")


def test_a_model_of_something_else_than_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="not one picture"):
        loaded(chain(node("Relu"), size=(1, 10)), tmp_path)
