"""Checkpoints whose classes are not exactly `person`: the right class, or refused with the names it has.

Like AlexeyAB/darknet#7066 (head before person), roboflow/supervision#1143 (a capital P) and dmlc/gluon-cv#609.
"""

from __future__ import annotations

import pathlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration.errors import WardposeError
from runtime.person_class import person_classes
from tests.fuzz import broken_bytes, damaged
from tuning.import_model import import_model
from tuning.store.card import CARD_FILE, read_card
from tuning.store.checkpoint import read_checkpoint
from tuning.store.weights import read_safetensors, write_safetensors

HEAD = "model.23.cv3.0.2.bias"


@pytest.fixture(scope="module")
def two_classes() -> Any:
    """A YOLO of two classes with random weights, as ultralytics keeps one; class 0 is marked by -3, class 1 by +3."""
    from tuning.families.ultralytics_adapter import ultralytics

    ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel("yolo11n.yaml", nc=2, verbose=False)
    for level in model.model[-1].cv3:
        level[-1].bias.data[:] = torch.tensor([-3.0, 3.0])
    return model


def saved(folder: Path, model: Any, names: Any, **more: Any) -> Path:
    model.names = names
    torch.save({"model": model, "ema": None, "epoch": 3, **more}, folder / "best.pt")
    return folder / "best.pt"


def mark(folder: Path, path: Path, **wish: Any) -> float:
    """The mark of the class that was kept as the person."""
    card = import_model(path, folder / "models", "taken", **wish)
    state, _ = read_safetensors(folder / "models/taken" / card.weights)
    return float(state[HEAD][0])


@pytest.mark.parametrize(
    "names",
    [{0: "head", 1: "person"}, {0: "Head", 1: "Person"}, ["head", "person"], {0: "car", 1: "pedestrian"},
     {0: "helmet", 1: " PERSON "}, {0: "people-xyz", 1: "person"}],
    ids=str,
)  # fmt: skip
def test_the_person_is_found_by_name(tmp_path: Path, two_classes: Any, names: Any) -> None:
    assert mark(tmp_path, saved(tmp_path, two_classes, names)) == 3


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({0: "helmet", 1: "license_plate"}, "knows no person: its classes are 'helmet', 'license_plate'"),
        ({0: "person", 1: "Person"}, "more than one class for people"),
        ({0: "person"}, r"names 1 classes \('person'\) and has 2"),
        ({}, "none of its 2 classes is named.*--person-class"),
        ({"first": "head", "second": "person"}, "none of its 2 classes is named"),
    ],
)
def test_a_class_that_is_not_certain_is_asked(tmp_path: Path, two_classes: Any, names: Any, says: str) -> None:
    path = saved(tmp_path, two_classes, names)
    with pytest.raises(WardposeError, match=says):
        mark(tmp_path, path)
    assert mark(tmp_path, path, person_class="1") == 3


def test_notes_beside_the_weights_are_no_reason_to_refuse(tmp_path: Path, two_classes: Any) -> None:
    """A best figure of numpy's and the folder of the training are what every real checkpoint has."""
    notes = {"best_fitness": np.float64(0.31), "train_args": {"save_dir": pathlib.PurePosixPath("/x")}}
    assert mark(tmp_path, saved(tmp_path, two_classes, ["head", "person"], **notes)) == 3


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["person"], [0]), (["Pedestrian", "bicycle"], [0]), (["people", "person"], [1]), (["face", "head"], []),
        (["human", "pedestrian"], [0, 1]), (["personal computer", "salesperson"], []), ([], []),
    ],
)  # fmt: skip
def test_words_for_people(names: list[str], found: list[int]) -> None:
    assert person_classes(dict(enumerate(names))) == found


STATE = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2], np.int64)}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["pt", "safetensors"]))
def test_damaged_weights_are_themselves_or_one_line(tmp_path: Path, data: st.DataObject, kind: str) -> None:
    whole, path = tmp_path / f"whole.{kind}", tmp_path / f"damaged.{kind}"
    if not whole.exists():
        if kind == "pt":
            torch.save({name: torch.from_numpy(value) for name, value in STATE.items()}, whole)
        else:
            write_safetensors(whole, STATE, metadata={"architecture": "x"})
    path.write_bytes(data.draw(broken_bytes(whole.read_bytes())))
    try:
        state = read_checkpoint(path).state if kind == "pt" else read_safetensors(path)[0]
    except WardposeError as error:
        assert path.name in str(error) and "\n" not in str(error)
        return
    assert all(isinstance(value, np.ndarray) for value in state.values())


def test_a_damaged_card_is_a_card_or_one_line(tmp_path: Path, random_detector: Path) -> None:
    import json

    whole = json.loads((random_detector / CARD_FILE).read_text())

    @settings(max_examples=150, deadline=None)
    @given(data=st.data())
    def each(data: st.DataObject) -> None:
        content = json.dumps(data.draw(damaged(whole))).encode()
        content = data.draw(broken_bytes(content)) if data.draw(st.booleans()) else content
        (tmp_path / CARD_FILE).write_bytes(content)
        try:
            card = read_card(tmp_path)
        except WardposeError as error:
            assert "\n" not in str(error)
            return
        assert card.width > 0 and card.classes > 0

    each()
