"""Opening models: what an engine accepts, what it refuses and how it says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from calibration.errors import WardposeError
from runtime.engines.engine import open_engine, probe_batch, require_agreement
from runtime.engines.onnx_engine import OnnxEngine
from tests.runtime.onnx_graphs import brightness_model, constant_model, info


def test_the_engine_runs_the_graph_it_was_given(tmp_path: Path) -> None:
    engine = open_engine(brightness_model(tmp_path / "m.onnx", info()))
    batch = np.random.default_rng(1).normal(size=(3, 3, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(engine.run(batch)[0], batch.mean((2, 3)), atol=1e-6)


def test_a_model_of_fixed_batch_takes_any_number_of_pictures(tmp_path: Path) -> None:
    engine = open_engine(brightness_model(tmp_path / "m.onnx", info(), batch=2))
    batch = np.random.default_rng(1).normal(size=(5, 3, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(engine.run(batch)[0], batch.mean((2, 3)), atol=1e-6)


def test_the_description_travels_inside_the_file(tmp_path: Path) -> None:
    described = info(name="mine", channels="bgr", letterbox="top-left")
    assert open_engine(brightness_model(tmp_path / "m.onnx", described)).info == described


def test_a_foreign_model_is_described_by_the_file_beside_it(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "foreign.onnx", [np.zeros((5, 7), np.float32)], None)
    with pytest.raises(WardposeError, match=r"foreign\.onnx\.json"):
        open_engine(path)
    (tmp_path / "foreign.onnx.json").write_text(info(name="foreign").model_dump_json())
    assert open_engine(path).info.name == "foreign"


def test_a_wrong_description_names_its_field(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "foreign.onnx", [np.zeros((5, 7), np.float32)], None)
    (tmp_path / "foreign.onnx.json").write_text(
        '{"name": "x", "task": "detect", "layout": "ssd", "width": 64, "height": 64}'
    )
    with pytest.raises(WardposeError, match="layout"):
        open_engine(path)


def test_a_description_of_another_size_is_refused(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "foreign.onnx", [np.zeros((5, 7), np.float32)], None)
    (tmp_path / "foreign.onnx.json").write_text(info(width=96).model_dump_json())
    with pytest.raises(WardposeError, match="width is 64"):
        open_engine(path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80\x04\x95cos\nsystem\n.", b"\x08\x09" + bytes(200)])
def test_a_file_that_is_no_model_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(WardposeError, match=r"broken\.onnx") as caught:
        open_engine(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "m.onnx", info())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WardposeError):
        open_engine(path)


def test_an_absent_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="no such model file"):
        open_engine(tmp_path / "nothing.onnx")


def test_each_faster_engine_refused_leaves_its_reason(tmp_path: Path) -> None:
    engine = open_engine(brightness_model(tmp_path / "m.onnx", info()))
    if engine.name != "onnxruntime-cpu":
        pytest.skip(f"this box runs {engine.name}")
    assert [line.split(":")[0] for line in engine.why] == ["tensorrt", "onnxruntime-cuda"]


def test_a_preferred_engine_is_used_or_refused_never_swapped(tmp_path: Path) -> None:
    path = brightness_model(tmp_path / "m.onnx", info())
    assert open_engine(path, prefer="onnxruntime-cpu").name == "onnxruntime-cpu"
    with pytest.raises(WardposeError, match="choose one of"):
        open_engine(path, prefer="abacus")
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        with pytest.raises(WardposeError, match="tensorrt is not installed"):
            open_engine(path, prefer="tensorrt")


def test_an_engine_with_other_numbers_does_not_qualify(tmp_path: Path) -> None:
    answer = np.linspace(0, 1, 35, dtype=np.float32).reshape(5, 7)
    reference = OnnxEngine(constant_model(tmp_path / "a.onnx", [answer], info()))
    near = OnnxEngine(constant_model(tmp_path / "b.onnx", [answer + 0.001], info()))
    far = OnnxEngine(constant_model(tmp_path / "c.onnx", [answer * 0.9], info()))
    broken = OnnxEngine(constant_model(tmp_path / "d.onnx", [np.full((5, 7), np.nan, np.float32)], info()))
    assert require_agreement(near, reference) == pytest.approx(0.001, rel=1e-3)
    with pytest.raises(WardposeError, match="differs"):
        require_agreement(far, reference)
    with pytest.raises(WardposeError, match="not finite"):
        require_agreement(broken, reference)


def test_the_probe_is_the_same_every_time() -> None:
    np.testing.assert_array_equal(probe_batch(info()), probe_batch(info()))
    assert probe_batch(info(width=96)).shape == (1, 3, 64, 96)


def test_importing_the_engines_loads_no_runtime() -> None:
    script = (
        "import runtime.pipeline, sys; print(*[m for m in ('onnxruntime', 'tensorrt', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert done.stdout.strip() == ""
