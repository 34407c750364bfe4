"""The exported file answers as the trained model does, or is not written."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibration.errors import WardposeError
from runtime.engines.onnx_engine import OnnxEngine
from tuning.export import export_onnx


@pytest.mark.parametrize(("width", "height"), [(96, 96), (128, 64)])
def test_a_detector_is_exported_at_any_multiple_of_32(
    random_detector: Path, drawn_people: Path, tmp_path: Path, width: int, height: int
) -> None:
    pictures = sorted((drawn_people / "images").glob("*.jpg"))[:2]
    report = export_onnx(random_detector, tmp_path / "m.onnx", width=width, height=height, pictures=pictures)
    assert report.max_error < 1e-4 and report.pictures == 2
    info = OnnxEngine(tmp_path / "m.onnx").info
    assert (info.width, info.height, info.layout, info.classes) == (width, height, "yolo", 1)


def test_a_size_the_detector_cannot_take_is_refused(random_detector: Path, tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="multiples of 32"):
        export_onnx(random_detector, tmp_path / "m.onnx", width=100, height=96)


def test_an_export_that_differs_too_much_is_not_written(random_detector: Path, tmp_path: Path) -> None:
    with pytest.raises(WardposeError, match="differs from the trained model"):
        export_onnx(random_detector, tmp_path / "m.onnx", tolerance=0.0)
    assert not list(tmp_path.iterdir())
