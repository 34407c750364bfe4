"""The bench of the paper's models: a name it does not know is told before any work; one of them goes the whole way."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from benchmarks.families import WHOLE, Whole, run
from calibration.errors import WardposeError
from tuning.families.family import buildable


def test_it_has_every_size_that_the_paper_has_and_can_be_built() -> None:
    assert set(WHOLE) - {"yolov6l6"} <= set(buildable())
    assert {name.partition("-")[0] for name in WHOLE} == {"yolov6l", "yolov6l6", "hrnet", "vitpose"}


def test_a_model_that_is_none_of_them_is_named() -> None:
    with pytest.raises(WardposeError, match="no model of the paper is called 'resnet'"):
        run(["resnet"])


def test_a_model_is_measured_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    smaller: Mapping[str, Whole] = {"vitpose-s": Whole(64, 64, step=False)}
    monkeypatch.setattr("benchmarks.families.WHOLE", smaller)
    found = run(["vitpose-s"], threads=1)["vitpose-s"]
    assert found["export_error"] < 1e-3 and found["decode_error_px"] < 0.01 and found["files"] == 1
    assert found["memory_gb"] > 0.1
