"""What a model's description allows, and what it makes of raw scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from runtime.model_info import ModelInfo
from tests.runtime.onnx_graphs import info


def test_a_description_from_before_joint_confidence_still_loads() -> None:
    old = '{"name": "old", "task": "pose", "layout": "simcc", "width": 192, "height": 256, "simcc_split": 2.0}'
    described = ModelInfo.model_validate_json(old)
    assert not described.turned_to_body
    np.testing.assert_allclose(described.probability(np.array([0.0, 0.3, 1.2])), [0, 0.3, 1])


def test_a_description_comes_back_from_its_text() -> None:
    described = info(task="pose", layout="movenet", confidence=((0.1, 0.0), (0.5, 0.6), (0.9, 0.95)), aim="upright")
    assert ModelInfo.model_validate_json(described.model_dump_json()) == described


def test_movenets_crops_are_turned_unless_it_says_otherwise() -> None:
    assert info(task="pose", layout="movenet").turned_to_body
    assert not info(task="pose", layout="movenet", aim="upright").turned_to_body
    assert info(task="pose", layout="simcc", aim="body").turned_to_body


@pytest.mark.parametrize(
    "pairs",
    [
        [(0.1, 0.2)],
        [(0.5, 0.2), (0.1, 0.3)],
        [(0.1, 0.5), (0.5, 0.2)],
        [(0.1, 0.2), (0.1, 0.3)],
        [(0.1, 0.2), (0.5, 1.3)],
        [(-0.1, 0.2), (0.5, 0.3)],
        [(0.1, 0.2), (0.5, float("nan"))],
    ],
)
def test_a_confidence_that_does_not_rise_from_0_to_1_is_refused(pairs: Any) -> None:
    with pytest.raises(ValidationError, match="confidence"):
        info(task="pose", layout="movenet", confidence=pairs)


@given(
    raws=st.lists(st.floats(0, 1), min_size=2, max_size=8, unique=True),
    probabilities=st.lists(st.floats(0, 1), min_size=8, max_size=8),
    scores=st.lists(st.floats(0.001, 1), min_size=1, max_size=20),
)
def test_probabilities_rise_with_raw_scores_and_meet_the_pairs(
    raws: list[float], probabilities: list[float], scores: list[float]
) -> None:
    pairs = tuple(zip(sorted(raws), sorted(probabilities), strict=False))
    described = info(task="pose", layout="movenet", confidence=pairs)
    given_scores = np.sort(np.array([*scores, *(raw for raw, _ in pairs if raw > 0)]))
    answered = described.probability(given_scores)
    assert (np.diff(answered) >= -1e-6).all()
    for raw, probability in pairs:
        if raw > 0:
            np.testing.assert_allclose(described.probability(np.array([raw])), [probability], atol=1e-6)


def test_a_keypoint_without_an_answer_stays_without() -> None:
    described = info(task="pose", layout="movenet", confidence=((0.0, 0.2), (1.0, 0.9)))
    np.testing.assert_allclose(described.probability(np.array([[0.0, 0.5]])), [[0, 0.55]])
