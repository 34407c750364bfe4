"""The whole graphs of YOLOv6-L and -L6, of an eighth of their channels: taken in, trained a step, exported, decoded.
Beside them ultralytics' own graph of that kind.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.yolov6_graph import YoloV6
from runtime.detector_layouts import decode_boxes
from runtime.engines.onnx_engine import OnnxEngine
from tests.tuning.drawn import draw_people
from tests.tuning.drawn_graphs import draw_graph
from tuning.export import export_onnx
from tuning.families.family import TuneSettings, tune
from tuning.import_model import build_model, import_model


@pytest.mark.parametrize(("p6", "cells"), [(False, 256 + 64 + 16), (True, 256 + 64 + 16 + 4)])
def test_the_authors_graph_is_tuned_as_it_is(p6: bool, cells: int, tmp_path: Path) -> None:
    drawn = draw_graph(tmp_path / "yolov6.onnx", YoloV6(3, p6=p6, width=0.125, depth=0.1), width=128, height=128)
    card = import_model(drawn, tmp_path, "own")
    assert (card.family, card.layout, card.person_class) == ("yolov6", "yolov6", 0)
    one_step = TuneSettings(batch=4, threads=1, width=128, height=128, recipe="paper")
    tuned = tune(tmp_path / "own", draw_people(tmp_path / "data", 4), tmp_path / "tuned", one_step)
    assert tuned.made["steps"] == 1 and tuned.sha256 != card.sha256
    assert tuned.made["recipe"]["sides_weight"] > 0 and tuned.made["recipe"]["frozen_share"] == 0
    export_onnx(tmp_path / "tuned", tmp_path / "model.onnx")
    engine = OnnxEngine(tmp_path / "model.onnx")
    boxes, score = decode_boxes(engine.run(np.zeros((1, 3, 128, 128), np.float32)), engine.info)
    assert boxes.shape == (cells, 4) and np.isfinite(boxes).all() and (score > 0).all()


def test_ultralytics_own_is_built_tuned_exported_and_decoded(tmp_path: Path) -> None:
    build_model("yolov6n", tmp_path, "own", width=96, height=64)
    one_step = TuneSettings(batch=4, threads=1, width=96, height=64, recipe="paper")
    tuned = tune(tmp_path / "own", draw_people(tmp_path / "data", 4), tmp_path / "tuned", one_step)
    assert tuned.made["loop"]["learning_rate"] == pytest.approx(0.1 * 1e-4 * 4 / 256)
    export_onnx(tmp_path / "tuned", tmp_path / "model.onnx")
    engine = OnnxEngine(tmp_path / "model.onnx")
    boxes, _ = decode_boxes(engine.run(np.zeros((1, 3, 64, 96), np.float32)), engine.info)
    assert boxes.shape == (96 + 24 + 6, 4) and np.isfinite(boxes).all()
