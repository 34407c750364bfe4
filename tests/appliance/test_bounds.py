"""What a person may set is the same wherever it is asked for: settings, trainer, data set and bed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from appliance.site.settings import BedSettings, SynthesisSettings, TuningSettings
from calibration import bounds
from calibration.bed import Bed
from synth.dataset import DatasetSpec
from synth.scenario import Scenario
from tuning.families.family import TuneSettings

WHOLE = st.integers(-2, 2**64)
PARTS = st.floats(-1, 100, allow_nan=False)


def allows(model: type[BaseModel], **values: Any) -> bool:
    try:
        model(**values)
    except ValidationError:
        return False
    return True


def bed_allows(**values: float) -> bool:
    try:
        Bed(**values)
    except ValueError:
        return False
    return True


@given(st.sampled_from(["length", "width", "height", "backrest_deg"]), PARTS)
def test_a_bed_that_may_be_set_may_be_calibrated(name: str, value: float) -> None:
    assert allows(BedSettings, **{name: value}) == bed_allows(**{name: value})


@given(st.sampled_from(["length", "width", "height"]), PARTS)
def test_a_bed_that_was_calibrated_can_be_shown_in_training_images(name: str, value: float) -> None:
    shown = {"height": (value, value)}.get(name, value)
    assert allows(Scenario, name="mine", **{f"bed_{name}_m": shown}) == bed_allows(**{name: value})


@given(PARTS.filter(lambda degrees: degrees >= 5))  # less is flat: a scenario has a share of those
def test_a_backrest_that_may_be_set_can_be_shown(value: float) -> None:
    assert allows(Scenario, name="mine", backrest_deg=(value, value)) == bed_allows(backrest_deg=value)


# What is set, what the trainer calls it, and the value by which the settings mean the model's own.
@pytest.mark.parametrize(
    ("name", "trained", "own", "step"),
    [("epochs", "epochs", None, 1), ("batch", "batch", 0, 1), ("image_size", "longer_side", 0, 32),
     ("freeze", "frozen_layers", -1, 1)],
)  # fmt: skip
def test_what_may_be_set_may_be_trained_with(name: str, trained: str, own: int | None, step: int) -> None:
    edges = {edge + by for pair in vars(bounds).values() if isinstance(pair, bounds.WholeBounds)
             for edge in pair for by in (-1, 0, 1)}  # fmt: skip
    for value in sorted(edge // step * step for edge in edges if edge != own):
        if value != own:
            assert allows(TuningSettings, **{name: value}) == allows(TuneSettings, **{trained: value}), value


@given(PARTS.filter(bool))
def test_a_learning_rate_that_may_be_set_may_be_trained_with(value: float) -> None:
    assert allows(TuningSettings, learning_rate=value) == allows(TuneSettings, learning_rate=value)


@given(st.sampled_from(["count", "seed"]), WHOLE | st.sampled_from([0, 1, 10**6, 10**6 + 1, 2**63 - 1, 2**63]))
def test_a_data_set_that_may_be_set_may_be_made(name: str, value: int) -> None:
    made = {"scenario": "C", "count": 1, "seed": 0} | {name: value}
    assert allows(SynthesisSettings, **{name: value}) == allows(DatasetSpec, **made)
