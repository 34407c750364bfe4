"""The exported file answers as the trained model does, or is not written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibration.errors import WardposeError
from runtime.engines.onnx_engine import OnnxEngine
from tuning.export import export_onnx, settled_rows


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


@pytest.mark.parametrize(("exchanged", "score", "apart"), [(2, 0.01, 0), (3, 0.01, 1), (1, 0.5, 1)])
def test_which_of_the_last_candidates_a_detr_chose_does_not_matter_and_whom_it_shows_does(
    exchanged: int, score: float, apart: int
) -> None:
    """Two hundred candidates in another order, the last ones exchanged for others."""
    rng = np.random.default_rng(0)
    truth = np.concatenate([rng.random((1, 200, 4)), rng.uniform(0, 0.04, (1, 200, 1))], -1).astype(np.float32)
    truth[0, :5, 4], truth[0, -exchanged:, 4] = 0.9, score
    answer = truth.copy()
    answer[0, -exchanged:, :4] += 3
    kept, same = settled_rows(truth, answer[:, rng.permutation(200)])
    assert (np.abs(kept - same).max(-1) > 1e-6).sum() == apart and (kept[..., 4] >= 0.9).sum() == 5
