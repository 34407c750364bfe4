"""A training in several processes takes the steps that one alone would take."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.tuning.drawn import draw_people
from tests.tuning.test_heatmap_pose import built
from tuning.families.family import TuneSettings, tune
from tuning.families.together import tune_together
from tuning.store.card import read_card
from tuning.store.weights import read_weights


@pytest.mark.timeout(280)
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    """Batches of an odd size, the last of one sample: one of the two has fewer, and then none."""
    data, folder = draw_people(tmp_path / "data", 4), built(tmp_path / "base", "rtmpose-t", family="rtmpose")
    asked = TuneSettings(batch=3, threads=1, device="cpu")
    alone = tune(folder, data, tmp_path / "alone", asked)
    both = tune_together(folder, data, tmp_path / "both", asked.model_copy(update={"processes": 2}))
    before, one, two = (
        read_weights(place, read_card(place)) for place in (folder, tmp_path / "alone", tmp_path / "both")
    )
    moved = sum(float(np.abs(one[name] - before[name]).sum()) for name in before)
    apart = sum(float(np.abs(one[name] - two[name]).sum()) for name in before)
    assert apart < 0.02 * moved
    assert both.made["loop"]["processes"] == 2 and alone.made["loop"]["processes"] == 1
    rows = list(csv.DictReader((tmp_path / "both" / "training" / "metrics.csv").open()))
    assert [row["step"] for row in rows] == ["1", "2"]  # the first alone writes
